"""The form that asks for an audit: its fields as the body of POST /v1/audits, and every refusal at the field that it is about.

Takes what a form holds, gives what REST takes, so that both are checked by the same rules. What was typed comes back with the errors;
keys never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData

from api.schemas import SubmitAudit
from api.sessions import text
from verifier.endpoint.guard import GuardPolicy
from verifier.errors import TruenameError
from verifier.service.requested import check_addresses, read_request

FIELDS = ("base_url", "model", "wire", "claim", "family", "suite", "reference_url", "reference_model", "webhook")
"""What comes back with an error; keys never do."""
DEFAULTS = {"suite": "standard", "wire": "auto"}

_PLACES = {
    "base_url": ("target", "base_url"),
    "model": ("target", "model"),
    "wire": ("target", "wire"),
    "api_key": ("target", "api_key"),
    "claim": ("claim", "model"),
    "family": ("claim", "family"),
    "suite": ("suite",),
    "reference_url": ("reference", "base_url"),
    "reference_model": ("reference", "model"),
    "reference_key": ("reference", "api_key"),
    "webhook": ("webhook",),
}
"""Field of the form -> place in the body."""
_NEUTRAL = {"base_url": "https://example.com/v1", "model": "m"}
"""An endpoint that nothing is wrong with, beside which one field can be looked at alone."""


@dataclass(slots=True)
class Entered:
    """What somebody typed, and what is wrong with it. A value of `errors` is a key of the pages' catalogue, or an error's own words."""

    values: dict[str, str] = field(default_factory=lambda: dict.fromkeys(FIELDS, "") | DEFAULTS)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    """What is wrong with the whole."""
    once: str = ""
    """Random, and the same each time that one form is sent: sent twice it makes one audit."""

    def value(self, name: str) -> str:
        """What stands in a field."""
        return self.values.get(name, "")


def read(form: FormData) -> tuple[Entered, SubmitAudit | None]:
    """What was typed, and the body that it makes; None where `errors` says what is missing."""
    entered = Entered(values={name: text(form, name) for name in FIELDS}, once=text(form, "once"))
    typed = {name: text(form, name) for name in _PLACES}
    for needed, needing in (("claim", ("family",)), ("reference_url", ("reference_model", "reference_key"))):
        if not typed[needed] and any(typed[name] for name in needing):
            entered.errors[needed] = f"form.needed_{needed}"
    if not typed["model"] and not typed["claim"]:
        entered.errors["claim"] = "form.needed_model"
    try:
        body = SubmitAudit.model_validate(_body(typed))
    except ValidationError as error:
        for each in error.errors(include_input=False, include_context=False):
            name = next((name for name, place in _PLACES.items() if place == each["loc"][: len(place)]), "base_url")
            entered.errors.setdefault(name, _said(str(each["type"])))
        return entered, None
    return entered, body if not entered.errors else None


def blame(entered: Entered, body: SubmitAudit, error: TruenameError, policy: GuardPolicy) -> None:
    """After an error that came when the form was read: every field that is wrong on its own, else the error at the head of the form."""
    for name in _PLACES:
        try:
            _check_alone(body, name, policy)
        except TruenameError as own:
            entered.errors[name] = str(own)
    if not entered.errors:
        entered.problem = str(error)


def like(request: Mapping[str, Any]) -> Entered:
    """A form that asks for the same audit again; its keys have to be given again."""
    entered = Entered()
    for name in FIELDS:
        value: Any = request
        for step in _PLACES[name]:
            value = value.get(step) if isinstance(value, Mapping) else None
        if isinstance(value, str):
            entered.values[name] = value
    return entered


def _body(typed: Mapping[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = {"target": {}}
    for name, value in typed.items():
        if not value:
            continue
        *above, last = _PLACES[name]
        part = body
        for step in above:
            part = part.setdefault(step, {})
        part[last] = value
    if "model" not in body.get("claim", {"model": ""}):
        del body["claim"]  # a family alone, which `errors` names
    if "base_url" not in body.get("reference", {"base_url": ""}):
        del body["reference"]
    return body


def _check_alone(body: SubmitAudit, name: str, policy: GuardPolicy) -> None:
    """Everything neutral but one field."""
    value: Any = body.plain()
    for step in _PLACES[name]:
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None:
        return
    alone: dict[str, Any] = {"target": dict(_NEUTRAL)}
    *above, last = _PLACES[name]
    part = alone
    for step in above:
        part = part.setdefault(step, dict(_NEUTRAL) if step == "reference" else {})
    part[last] = value
    if name == "family" and body.claim is not None:
        alone["claim"]["model"] = body.claim.model
    check_addresses(read_request(alone), policy)


def _said(kind: str) -> str:
    """The sentence for a kind of pydantic's errors."""
    if kind in ("missing", "string_too_short"):
        return "form.needed"
    return "form.too_long" if kind == "string_too_long" else "form.wrong"
