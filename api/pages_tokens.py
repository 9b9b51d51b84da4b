"""The page of tokens, for admins: make one, which is shown once; see all; revoke one, which ends its sessions too."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ValidationError
from starlette.responses import RedirectResponse

from api.pages_frame import PageRoute, page
from api.problems import not_found
from api.schemas import CreateToken
from api.sessions import LOGIN, Administering, Posted, Visit, text
from api.state import Running, Service
from verifier.errors import UsageError
from verifier.service import tokens
from verifier.service.store import tokens as rows

router = APIRouter(prefix="/tokens", route_class=PageRoute, include_in_schema=False)

PER_PAGE = 50
Cursor = Annotated[str | None, Query(max_length=500)]


@dataclass(slots=True)
class Wished:
    """A token as somebody asked for it, and what is wrong with that."""

    owner: str = ""
    scopes: tuple[str, ...] = ("read", "submit")
    expires: str = ""
    errors: dict[str, str] = field(default_factory=dict)


@router.get("")
async def page_of_all(request: Request, who: Administering, service: Running, cursor: Cursor = None) -> Response:
    """All tokens, newest first, without the tokens themselves."""
    return await _tokens(request, who, service, Wished(), cursor=cursor)


@router.post("")
async def create(request: Request, who: Administering, form: Posted, service: Running) -> Response:
    """Make a token. It is shown on this page and never again."""
    wished = Wished(text(form, "owner"), tuple(str(each) for each in form.getlist("scope")), text(form, "expires"))
    expires = None
    if wished.expires:
        try:  # through the day that was named
            expires = datetime.combine(date.fromisoformat(wished.expires), time.max, UTC)
        except ValueError:
            wished.errors["expires"] = "form.wrong"
    try:
        body = CreateToken.model_validate({"owner": wished.owner or None, "scopes": wished.scopes, "expires": expires})
    except ValidationError as error:
        wished.errors |= {str(each["loc"][0]): "token.wrong_" + str(each["loc"][0]) for each in error.errors(include_input=False)}
    if wished.errors:
        return await _tokens(request, who, service, wished, 422)
    try:
        async with service.store.write() as tx:
            made = await tokens.create(tx, body.owner or who.caller.owner, body.scopes, service.now(), body.expires)
    except UsageError as error:
        wished.errors["expires" if expires is not None and expires <= service.now() else "owner"] = str(error)
        return await _tokens(request, who, service, wished, 422)
    return page(request, who, "token_made.html", made=made.row, token=made.token.get_secret_value())


@router.post("/{token_id}/revoke")
async def revoke(token_id: Annotated[str, Path(max_length=60)], who: Administering, form: Posted, service: Running) -> Response:
    """Revoke a token, at once and for good."""
    async with service.store.write() as tx:
        if not await rows.revoke(tx, token_id, service.now()):
            raise not_found("token")
    return RedirectResponse(LOGIN if token_id == who.caller.token.id else "/tokens", 303)


async def _tokens(request: Request, who: Visit, service: Service, wished: Wished, status: int = 200, cursor: str | None = None) -> Response:
    async with service.store.read() as tx:
        found = await rows.page(tx, None, cursor=cursor, limit=PER_PAGE)
    now = service.now()
    states = {row.id: "revoked" if row.revoked else "valid" if tokens.valid(row, now) else "expired" for row in found.rows}
    return page(
        request,
        who,
        "tokens.html",
        status=status,
        rows=found.rows,
        states=states,
        wished=wished,
        scopes=tokens.SCOPES,
        next_cursor=found.next_cursor,
        later=bool(cursor),
    )
