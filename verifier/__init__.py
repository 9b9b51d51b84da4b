"""What we conclude: the endpoint client, the audit, the decision and the report.

from verifier import audit, audit_async, judge, load_report
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from verifier.auditing import audit, audit_async, judge
    from verifier.options import Settings
    from verifier.report.model import Report, load_report

__all__ = ["Report", "Settings", "audit", "audit_async", "judge", "load_report"]


def __getattr__(name: str) -> Any:
    """Load the public names on first use, so that importing the package (as `truename --help` does) stays quick."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'verifier' has no attribute {name!r}")
    module = {"Report": "verifier.report.model", "load_report": "verifier.report.model", "Settings": "verifier.options"}.get(name)
    return getattr(import_module(module or "verifier.auditing"), name)
