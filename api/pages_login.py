"""/login and /logout: a token in, a session out.

Every login makes a new session under a key that no one has seen, so that a cookie which somebody planted is worth nothing. Refused
tokens are counted by address.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from starlette.responses import RedirectResponse

from api.pages_frame import PageRoute, page
from api.sessions import COOKIE, LOGIN, VISITOR_COOKIE, Posted, SignedIn, Visiting, forget, own_path, remember, text
from api.state import Running
from verifier.service import sessions, tokens

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get(LOGIN)
async def ask(request: Request, who: Visiting, next: str = "/") -> Response:
    """The form; whoever is logged in goes on."""
    if who.token is not None:
        return RedirectResponse(own_path(next), 303)
    answer = page(request, who, "login.html", next=own_path(next), refused=False)
    remember(request, answer, VISITOR_COOKIE, who.visitor)
    return answer


@router.post(LOGIN)
async def enter(request: Request, who: Visiting, form: Posted, service: Running) -> Response:
    """Begin a session with a token that is valid now."""
    address = request.client.host if request.client is not None else ""
    await service.rates.may_log_in(address)
    onward = own_path(text(form, "next"))
    async with service.store.read() as tx:
        token = await tokens.authenticate(tx, SecretStr(text(form, "token")), service.now())
    if token is None:
        await service.rates.refused_login(address)
        return page(request, who, "login.html", status=401, next=onward, refused=True)
    async with service.store.write() as tx:
        await sessions.end(tx, who.key)  # nobody keeps the cookie of the session before
        key = await sessions.begin(tx, token, service.now())
    answer = RedirectResponse(onward, 303)
    remember(request, answer, COOKIE, key)
    return answer


@router.post("/logout")
async def leave(request: Request, who: SignedIn, form: Posted, service: Running) -> Response:
    """End the session, here and in the database."""
    async with service.store.write() as tx:
        await sessions.end(tx, who.key)
    answer = RedirectResponse(LOGIN, 303)
    forget(request, answer)
    return answer
