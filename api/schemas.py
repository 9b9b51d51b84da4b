"""What the REST API takes and gives, as pydantic models: the shapes of the OpenAPI document.

Views are made from the store's rows and never hold a secret; what is taken is checked here before anything else sees it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict

from verifier.service.store.rows import AuditRow, AuditStatus, CatchUp, NotifyOn, Outcome, ScheduleRow, Scope, TokenRow

CLAIMED_AUDIT: JsonDict = {
    "target": {"base_url": "https://api.example.com/v1", "model": "gpt-4o", "api_key": "sk-…"},
    "claim": {"model": "gpt-4o"},
    "suite": "standard",
}
MAX_HEADERS = 20
"""Extra headers, and as many query parameters, that a request may name."""

_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Url = Annotated[str, Field(min_length=1, max_length=2_000)]
_SecretText = Annotated[SecretStr, Field(max_length=4_000)]
_Secrets = Annotated[dict[_Name, _SecretText], Field(max_length=MAX_HEADERS)]
SuiteName = Literal["quick", "standard", "deep"]
WireName = Literal["auto", "openai", "responses", "anthropic", "gemini"]
_Webhook = Annotated[str, Field(max_length=2_000, description="An https URL that is told of the result; see docs/webhooks.md")]


class _Taken(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())


class TargetRequest(_Taken):
    """The endpoint to be asked. Keys, headers and query values are sealed on arrival and never shown again."""

    base_url: _Url = Field(description="Where the API lives", examples=["https://api.example.com/v1"])
    model: _Name | None = Field(default=None, description="The name sent in requests; default: the claim", examples=["gpt-4o"])
    wire: WireName = Field(default="auto", description="The API's flavour")
    api_key: _SecretText | None = Field(default=None, description="Sent to this origin only, sealed until then")
    headers: _Secrets = Field(default_factory=dict, description="Extra request headers; their values are kept as secrets")
    query: _Secrets = Field(default_factory=dict, description="Query parameters of every request, such as Azure's api-version")
    body: dict[str, Any] = Field(default_factory=dict, description="Extra JSON fields of every request; they are not kept secret")


class ClaimRequest(_Taken):
    """What the endpoint is said to serve."""

    model: _Name = Field(examples=["gpt-4o"])
    family: _Name | None = Field(default=None, description="Lineage of a model that the catalog does not know", examples=["llama-3"])


class SubmitAudit(_Taken):
    """POST /v1/audits: an audit; without a claim the endpoint is identified, without a claim and with a reference the two are compared."""

    model_config = ConfigDict(json_schema_extra={"examples": [CLAIMED_AUDIT]})

    target: TargetRequest
    claim: ClaimRequest | None = None
    reference: TargetRequest | None = Field(default=None, description="A live genuine endpoint to compare with; its `model` is needed")
    suite: SuiteName = "standard"
    alpha: float = Field(default=0.01, ge=1e-6, le=0.2, description="Error rate of an accusation")
    max_requests: int | None = Field(default=None, ge=1, le=300)
    max_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    early_stop: bool = True
    seed: int | None = Field(default=None, ge=0, le=2**53 - 1, description="The same questions again; default: drawn at random")
    webhook: _Webhook | None = None

    def plain(self) -> dict[str, Any]:
        """What was given, as the floor below reads it; secrets stay SecretStr."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class CreateSchedule(_Taken):
    """POST /v1/schedules: an audit, and when it runs again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"audit": CLAIMED_AUDIT, "cron": "0 3 * * *", "timezone": "Asia/Seoul", "notify_on": "change"}]}
    )

    audit: SubmitAudit
    cron: str = Field(max_length=100, description="Five fields: minute, hour, day of month, month, day of week", examples=["0 3 * * *"])
    timezone: str = Field(default="UTC", max_length=60, description="A name of the IANA time zone database", examples=["Asia/Seoul"])
    enabled: bool = True
    notify_on: NotifyOn = "change"
    jitter_s: int = Field(default=0, ge=0, le=3_600, description="Each run is put off by a random time up to this many seconds")
    catch_up: CatchUp = Field(default="once", description="After a pause: one run for all that were missed, or none")


class ChangeSchedule(_Taken):
    """PATCH /v1/schedules/{id}: what is to be different. Another audit begins a new e-process."""

    audit: SubmitAudit | None = None
    cron: str | None = Field(default=None, max_length=100)
    timezone: str | None = Field(default=None, max_length=60)
    enabled: bool | None = None
    notify_on: NotifyOn | None = None
    jitter_s: int | None = Field(default=None, ge=0, le=3_600)
    catch_up: CatchUp | None = None


class CreateToken(_Taken):
    """POST /v1/tokens."""

    owner: str | None = Field(default=None, max_length=100, description="Whose rows the token sees; default: the caller's")
    scopes: list[Scope] = Field(min_length=1, max_length=3)
    expires: AwareDatetime | None = Field(default=None, description="With a time zone; default: never")


class Links(BaseModel):
    """Where to go on."""

    self: str
    events: str
    report: str


class Progress(BaseModel):
    """Questions sent so far, and those that may be sent at most."""

    requests: int
    planned: int


class AuditView(BaseModel):
    """An audit and where it stands."""

    id: str = Field(examples=["aud_Jk3f9sQ2mZ0pXvB7nLw1cA"])
    status: AuditStatus
    origin: str
    claim: str | None
    suite: str
    outcome: Outcome | None = Field(description="The verdict, once the audit is done")
    verdict: dict[str, Any] | None = Field(description="The `verdict` of report.json, once the audit is done")
    progress: Progress
    error: str | None = Field(description="Why it failed: what happened and what to do")
    schedule_id: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None
    links: Links

    @classmethod
    def of(cls, row: AuditRow) -> AuditView:
        """The view of a row."""
        return cls(
            id=row.id,
            status=row.status,
            origin=row.origin,
            claim=row.claim,
            suite=row.suite,
            outcome=row.outcome,
            verdict=dict(row.verdict) if row.verdict is not None else None,
            progress=Progress(requests=row.requests, planned=row.planned),
            error=row.error,
            schedule_id=row.schedule_id,
            created=row.created,
            started=row.started,
            finished=row.finished,
            links=links_of(row.id),
        )


class Accepted(BaseModel):
    """An audit that waits for a worker."""

    id: str
    status: AuditStatus
    links: Links
    webhook_secret: str | None = Field(default=None, description="Signs the webhook's notifications; shown this once")


class ScheduleView(BaseModel):
    """A schedule and what its audits have shown so far."""

    id: str
    origin: str
    audit: dict[str, Any] = Field(description="The audit that runs, without its secrets")
    claim: str | None
    cron: str
    timezone: str
    enabled: bool
    notify_on: NotifyOn
    jitter_s: int
    catch_up: CatchUp
    webhook: str | None
    next_due: datetime
    last_run: datetime | None
    last_outcome: Outcome | None
    created: datetime
    webhook_secret: str | None = Field(default=None, description="Signs the webhook's notifications; shown this once")

    @classmethod
    def of(cls, row: ScheduleRow, webhook_secret: str | None = None) -> ScheduleView:
        """The view of a row."""
        return cls(
            id=row.id,
            origin=row.origin,
            audit=dict(row.request),
            claim=row.claim,
            cron=row.cron,
            timezone=row.timezone,
            enabled=row.enabled,
            notify_on=row.notify_on,
            jitter_s=row.jitter_s,
            catch_up=row.catch_up,
            webhook=row.webhook,
            next_due=row.next_due,
            last_run=row.last_run,
            last_outcome=row.last_outcome,
            created=row.created,
            webhook_secret=webhook_secret,
        )


class HistoryEntry(BaseModel):
    """One audit of a schedule."""

    id: str
    finished: datetime | None
    status: AuditStatus
    outcome: Outcome | None
    e_value: float | None
    resolution: str | None
    changed: bool = Field(description="A change point: the outcome differs from that of the audit before it which ended in a verdict")


class Turn(BaseModel):
    """Another vocabulary or model answered than in the audits before."""

    audit_id: str = Field(description="The first audit that shows it")
    at: datetime = Field(description="When that audit ended")
    before: str
    after: str


class History(BaseModel):
    """A schedule's verdicts over time, oldest first."""

    schedule_id: str
    audits: list[HistoryEntry]
    change_points: list[str] = Field(description="Ids of the audits at which the outcome changed")
    turns: list[Turn] = Field(description="When another vocabulary or model began to answer, whatever the outcome")


class TokenView(BaseModel):
    """A token as lists show it."""

    id: str
    owner: str
    prefix: str
    scopes: list[Scope]
    created: datetime
    expires: datetime | None
    revoked: datetime | None

    @classmethod
    def of(cls, row: TokenRow) -> TokenView:
        """The view of a row."""
        return cls(
            id=row.id,
            owner=row.owner,
            prefix=row.prefix,
            scopes=list(row.scopes),
            created=row.created,
            expires=row.expires,
            revoked=row.revoked,
        )


class MadeToken(TokenView):
    """A token just made."""

    token: str = Field(description="Shown this once")


class AuditPage(BaseModel):
    """Audits, newest first."""

    items: list[AuditView]
    next_cursor: str | None = Field(description="Give it back as `cursor` for the next page")


class SchedulePage(BaseModel):
    """Schedules, newest first."""

    items: list[ScheduleView]
    next_cursor: str | None


class TokenPage(BaseModel):
    """Tokens, newest first."""

    items: list[TokenView]
    next_cursor: str | None


class PriceView(BaseModel):
    """A list price, in US dollars per million tokens. Nothing is judged by it."""

    input: float
    output: float
    as_of: str = Field(description="Month or day when it was read", examples=["2026-11"])


class CostView(BaseModel):
    """What questions cost if every one is asked and answered at full length; early stopping usually ends an audit sooner."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None = Field(description="Null where the model's price is not known")
    price: str = Field(description="Which price that is, in a few words")


class PlanView(CostView):
    """What an audit would ask and cost at most."""

    sides: dict[str, CostView] = Field(description="The target's part and, where there is one, the reference's")
    probes: dict[str, str] = Field(description="What each probe that asks finds out")


class ModelView(BaseModel):
    """A model of the catalog."""

    name: str
    vendor: str
    family: str | None
    tokenizer: str | None = Field(description="None: no vocabulary is known, so counts cannot speak of it")
    price: PriceView | None = Field(description="Null where it is not known; an operator's own table counts before the one that ships")


class PackView(BaseModel):
    """A reference pack that is installed."""

    name: str
    kind: str
    digest: str
    questions: int
    models: list[str]
    expires: str | None
    expired: bool


class KeyView(BaseModel):
    """A public key that signs or has signed reports here."""

    keyid: str
    pem: str
    current: bool


class CheckView(BaseModel):
    """One check of a report."""

    name: str
    state: Literal["held", "failed", "not checked"]
    text: str


class VerificationView(BaseModel):
    """Whether a report holds; `exit_code` is that of `truename verify`."""

    exit_code: int = Field(description="0 holds, 1 does not, 3 holds but could not be judged again, 4 unreadable")
    outcome: str | None = Field(description="The report's verdict, where its signature holds")
    error: str | None
    checks: list[CheckView]


class Health(BaseModel):
    """Whether the service is there."""

    status: Literal["ok"]
    version: str


def links_of(audit_id: str) -> Links:
    """The links of an audit."""
    here = f"/v1/audits/{audit_id}"
    return Links(self=here, events=f"{here}/events", report=f"{here}/report")


def shown(secret: SecretStr | None) -> str | None:
    """A secret in the one answer that may show it."""
    return secret.get_secret_value() if secret is not None else None
