"""/v1/tokens: make, list and revoke API tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from api.auth import Admin
from api.paging import Cursor, Limit
from api.problems import not_found, responses
from api.schemas import CreateToken, MadeToken, TokenPage, TokenView
from api.state import Running
from verifier.service import tokens
from verifier.service.store import tokens as rows

router = APIRouter(prefix="/v1/tokens", tags=["tokens"])


@router.post("", status_code=201, responses=responses(400, 401, 403, 413, 422, 429, 503))
async def create(body: CreateToken, service: Running, who: Admin) -> MadeToken:
    """Make a token. It is shown in this answer and never again."""
    async with service.store.write() as tx:
        made = await tokens.create(tx, body.owner or who.owner, body.scopes, service.now(), body.expires)
    return MadeToken(**TokenView.of(made.row).model_dump(), token=made.token.get_secret_value())


@router.get("", responses=responses(401, 403, 422, 429, 503))
async def page(
    service: Running,
    who: Admin,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> TokenPage:
    """All tokens, newest first, without the tokens themselves."""
    async with service.store.read() as tx:
        found = await rows.page(tx, None, cursor=cursor, limit=limit)
    return TokenPage(items=[TokenView.of(row) for row in found.rows], next_cursor=found.next_cursor)


@router.delete("/{token_id}", status_code=204, response_class=Response, responses=responses(401, 403, 404, 422, 429, 503))
async def revoke(token_id: Annotated[str, Path(max_length=60)], service: Running, who: Admin) -> Response:
    """Revoke a token, at once and for good."""
    async with service.store.write() as tx:
        if not await rows.revoke(tx, token_id, service.now()):
            raise not_found("token")
    return Response(status_code=204)
