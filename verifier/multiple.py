"""Many looks and many endpoints: how accusations stay within one error rate over re-audits and over a batch.

Re-audits of one endpoint carry an e-process from audit to audit; a batch of endpoints is decided by the e-BH procedure. Takes
log e-values, gives log e-values and thresholds. Pure arithmetic; both hold under any dependence between endpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Carried:
    """What earlier audits of the same endpoint and claim left behind.

    The e-process is a mixture over the audit j from which the endpoint may have cheated, with weights w_j = 1/(j (j + 1)): an
    average of e-processes, hence one itself, so that by Ville's inequality it exceeds 1/alpha at any of all future audits with
    probability at most alpha. An endpoint that was honest for long does not hide a later swap: the bets on later starts are
    still whole, at a price of j (j + 1) in evidence.
    """

    looks: int = 0
    """Audits so far."""
    log_sum: float = -math.inf
    """Natural log of the weighted sum, over starts j, of the products of e-values from audit j on."""

    def after(self, log_e: float) -> Carried:
        """The state after one more audit, whose own log e-value is `log_e`."""
        j = self.looks + 1
        return Carried(j, float(np.logaddexp(self.log_sum, -math.log(j * (j + 1.0)))) + log_e)

    @property
    def log_e(self) -> float:
        """Log of the e-process now: the bets that have begun and those on later starts, which stand at 1."""
        return float(np.logaddexp(self.log_sum, -math.log(self.looks + 1.0)))


def rejected(log_es: Sequence[float], alpha: float) -> int:
    """How many hypotheses e-BH rejects: the largest k of K whose k-th largest e-value is at least K / (k alpha).

    Source: Wang and Ramdas, False discovery rate control with e-values (2022): the expected share of false accusations among all
    accusations is at most alpha, whatever the dependence.
    """
    ranked = sorted(log_es, reverse=True)
    return max((k for k, log_e in enumerate(ranked, start=1) if log_e >= math.log(len(ranked) / (k * alpha))), default=0)


def row_alpha(endpoints: int, accused: int, alpha: float) -> float:
    """The error rate at which each row of a batch is decided when `accused` of its `endpoints` rows are."""
    return max(1, accused) * alpha / endpoints
