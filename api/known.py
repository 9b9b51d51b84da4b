"""/v1/models, /v1/packs and /v1/plan: which models, references and prices this service knows, and what an audit would cost by them."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

import structlog
from fastapi import APIRouter

from api.auth import Reader, Submitter
from api.problems import responses
from api.schemas import CostView, ModelView, PackView, PlanView, PriceView, SubmitAudit
from api.state import Running
from fingerprints import catalog
from fingerprints.packs import Pack, stale
from verifier.errors import UsageError
from verifier.prices import Price, prices
from verifier.references import for_claim
from verifier.report.plan import cost_json
from verifier.service.planning import plan
from verifier.service.requested import check_addresses, read_request

router = APIRouter(prefix="/v1", tags=["knowledge"])
_PLANS = asyncio.Semaphore(2)
"""Plans made at a time: each takes a processor for a moment, which running audits need."""

_log = structlog.get_logger()


@router.get("/models", responses=responses(401, 403, 429))
async def models(who: Reader, service: Running) -> list[ModelView]:
    """The models that claims are resolved against, and what they cost where that is known."""
    try:
        table = await asyncio.to_thread(prices, service.settings.data_dir)
    except UsageError as error:
        _log.error("the price table cannot be used", problem=str(error))
        table = {}
    return [
        ModelView(name=m.name, vendor=m.vendor, family=m.family, tokenizer=m.tokenizer, price=_price(table.get(m.name.casefold())))
        for m in catalog.models()
    ]


@router.post("/plan", responses=responses(400, 401, 403, 413, 422, 429, 503))
async def planned(body: SubmitAudit, service: Running, who: Submitter) -> PlanView:
    """What POST /v1/audits would ask with this body and cost at most. Nothing is sent, queued or kept."""
    requested = read_request(body.plain())
    check_addresses(requested, service.policy)
    async with _PLANS:
        made = await asyncio.to_thread(plan, requested, service.settings.data_dir)
    sides = {side: CostView(**cost_json(cost)) for side, cost in made.sides.items()}
    return PlanView(**cost_json(made.total), sides=sides, probes=made.goals)


@router.get("/packs", responses=responses(401, 403, 429))
async def packs(who: Reader) -> list[PackView]:
    """The reference packs that audits are judged by."""
    today = datetime.now(UTC).date()
    return [_view(pack, today) for pack in await asyncio.to_thread(for_claim, None)]


def _price(price: Price | None) -> PriceView | None:
    return None if price is None else PriceView(input=price.input, output=price.output, as_of=price.as_of)


def _view(pack: Pack, today: date) -> PackView:
    return PackView(
        name=pack.name,
        kind=pack.kind,
        digest=pack.digest,
        questions=len(pack.questions),
        models=[model.name for model in pack.models],
        expires=pack.expires,
        expired=stale(pack, today) is not None,
    )
