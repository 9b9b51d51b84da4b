"""Do open answers look more like another referenced model's than like the claimed one's own? For packs of few models, as after enrolment.

Takes sketches of reference answers and of fresh ones to the same questions, gives an e-value. At each question the claimed model's
references and the fresh answer are exchangeable under the null, and each is bet on by how much liker the other model's answers it is; a
share of the answers may be anything. Settings shift whole styles, which that share cannot cover: the bound rests on measured shifts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]

LEAST_SAMPLES = 2
"""Reference answers of the claimed model to a question: with fewer there is no likeness among them to compare with."""
TOLERANCE = 0.10
"""Share of answers that an honest configuration may change at will, as among choices."""
MAX_LOG_E = math.log(1000)
"""In 4,000 trials under other settings of the same weights, English and Korean, none reached 10 (benchmarks shifts; they redraw the
same models). That many can bear out no e-value beyond about 1,000."""
MIN_LOG_E = math.log(0.01)
AHEAD = math.log(3)
"""Log e-value against every other model from which the answers are named after the one that is left."""
_STEEPNESS = 5.0
"""Of a bet in the difference of two cosines; on misguided_attention 10 and 20 told no more rivals and made more of changed settings."""
_STAKE = 4.0
"""Most that one answer may multiply a bet by; its inverse is the least."""


def against(claimed: Sequence[Floats], rivals: Sequence[Sequence[Floats]], fresh: Sequence[Floats]) -> float | None:
    """Natural log of the e-value against "the claimed model wrote `fresh`", within MIN_LOG_E and MAX_LOG_E; None where nothing can be bet.

    Per question: the claimed model's references (n x dimensions), each rival's (any number, none too), and the fresh answers, of which the
    first is read. A product over questions of e-values with references of their own, and so valid at any stopping time; rivals average."""
    logs = [
        math.fsum(told)
        for rival in range(len(rivals[0]) if rivals else 0)
        if (
            told := [
                _log_bet(own, others[rival], new[0])
                for own, others, new in zip(claimed, rivals, fresh, strict=True)
                if len(own) >= LEAST_SAMPLES and len(others[rival]) and len(new)
            ]
        )
    ]
    if not logs:
        return None
    mixed = float(np.logaddexp.reduce(logs)) - math.log(len(logs))
    return min(MAX_LOG_E, max(MIN_LOG_E, mixed - math.log1p(math.exp(MIN_LOG_E))))  # what the lower bound may add to its mean


def _log_bet(own: Floats, other: Floats, fresh: Floats) -> float:
    pool = _unit(np.vstack([own, fresh]))
    among = ((pool @ pool.T).sum(1) - 1) / len(own)
    lead = (pool @ _unit(other).T).mean(1) - among
    factors = np.clip(np.exp(_STEEPNESS * lead), 1 / _STAKE, _STAKE)
    return float(np.log(factors[-1] / ((1 - TOLERANCE) * factors.mean() + TOLERANCE * _STAKE)))


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit
