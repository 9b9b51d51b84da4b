"""What an audit would ask and cost, before it is queued: the service's `--dry-run`.

Takes a request that was read and the data directory, whose packs and price table speak; gives a plan. It sends nothing and stores nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from verifier import pricing
from verifier.auditing import make_header, probes_for
from verifier.errors import CannotRunError, UsageError
from verifier.prices import prices
from verifier.service.prepare import packs_for
from verifier.service.requested import Requested


def plan(requested: Requested, data_dir: Path) -> pricing.Plan:
    """The questions and their cost, if nothing ends the audit early. It may take a second of processor time.

    Raises UsageError for a request that makes no sense, CannotRunError where the price table is none: that is not the caller's fault.
    """
    try:
        prices(data_dir)
    except UsageError as error:
        raise CannotRunError(error.problem, error.remedy) from error
    resolved = requested.resolved
    settings = replace(resolved.settings, packs=packs_for(resolved, data_dir))
    header = make_header(resolved.target, resolved.claim, settings, resolved.reference)
    return pricing.plan(header, resolved.claim, probes_for(header, resolved.claim, settings.packs), data_dir)
