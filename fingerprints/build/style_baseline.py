"""The plain baseline beside which the style model is shown: n-grams of single answers, log-probabilities summed over an audit.

Takes a table of answers, gives outcomes as style_trials does. It exists to show what it does wrong and is never shipped.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import normalize

from fingerprints import style
from fingerprints.build.style_corpora import Mask, Table, draw
from fingerprints.build.style_trials import Outcomes, labelled
from fingerprints.style_features import group_features

CONFIDENCE = 0.97
"""Probability from which it decides: the precision that is asked for."""


def baseline(table: Table, training: Mask, mask: Mask, size: int, times: int, rng: np.random.Generator) -> Outcomes:
    """The plain n-gram baseline: logistic regression on single answers, log-probabilities summed, decided at CONFIDENCE."""
    columns = group_features("words", "word pairs", "letters")
    rows = np.flatnonzero(training & (table.family != "") & np.isin(table.kind, ("raw", "finetune")))
    fitted = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=4, tol=None, random_state=0, class_weight="balanced")
    fitted.fit(normalize(table.values[rows][:, columns]), table.family[rows])
    audits = draw(table, list(table.endpoints(mask & (table.family != "")).values()), size, times, rng)
    tested = np.unique(audits.rows)
    logs = np.log(np.clip(fitted.predict_proba(normalize(table.values[tested][:, columns])), 1e-9, 1))
    total = logs[np.searchsorted(tested, audits.rows)].sum(axis=1)
    shares = np.exp(total - np.logaddexp.reduce(total, axis=1, keepdims=True))
    order = [list(fitted.classes_).index(name) for name in (*style.FAMILIES, "other")]
    best = np.array((*style.FAMILIES, ""))[shares[:, order].argmax(axis=1)]
    said = np.where(shares.max(axis=1) >= CONFIDENCE, best, "")
    return labelled(table, audits.rows[:, 0], said, shares[:, order])
