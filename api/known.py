"""/v1/models and /v1/packs: which models and which references this service knows."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime

from fastapi import APIRouter

from api.auth import Reader
from api.problems import responses
from api.schemas import ModelView, PackView
from fingerprints import catalog
from fingerprints.packs import Pack, stale
from verifier.references import for_claim

router = APIRouter(prefix="/v1", tags=["knowledge"])


@router.get("/models", responses=responses(401, 403, 429))
async def models(who: Reader) -> list[ModelView]:
    """The models that claims are resolved against."""
    return [ModelView(name=m.name, vendor=m.vendor, family=m.family, tokenizer=m.tokenizer) for m in catalog.models()]


@router.get("/packs", responses=responses(401, 403, 429))
async def packs(who: Reader) -> list[PackView]:
    """The reference packs that audits are judged by."""
    today = datetime.now(UTC).date()
    return [_view(pack, today) for pack in await asyncio.to_thread(for_claim, None)]


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
