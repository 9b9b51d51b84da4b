"""Who visits a page: a cookie that stands for a token, the language, and the forms that are known to come from our own pages.

Takes requests, gives visits and what their forms hold. The cookie is HttpOnly, SameSite=Strict and, over https, Secure and bound to this
host; it never opens /v1, which takes bearer tokens alone. A form counts only with the token that was put into it and from our own origin.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Request, Response
from pydantic import SecretStr
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from api.auth import Caller
from api.negotiation import preferred
from api.problems import Problem
from api.state import Running
from verifier.report.texts import LANGUAGES
from verifier.service import sessions, tokens
from verifier.service.store.rows import Scope, TokenRow

COOKIE = "truename"
VISITOR_COOKIE = "truename-visitor"
"""What the form at LOGIN is bound to. Not COOKIE: a link from elsewhere comes without that (SameSite), and must not end a session."""
HOST_PREFIX = "__Host-"
"""Over https: browsers take such a cookie only with Secure, for this very host and from no subdomain (RFC 6265bis, 4.1.3)."""
LOGIN = "/login"
LANGUAGE_COOKIE = "truename-lang"
LANGUAGE_LIFE_S = 365 * 24 * 3600
FORM_TOKEN = "form_token"  # noqa: S105 - the name of a field
MAX_FIELDS = 60
MAX_NEXT_CHARS = 2_000
"""Of the path that a login leads back to."""
_SUBTAG = re.compile(r"(?<=[A-Za-z])-[A-Za-z0-9-]+")


class LoginNeededError(Exception):
    """A page that nobody sees without a session."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page."""

    key: SecretStr
    """Value of COOKIE, or a new one where none came."""
    visitor: SecretStr
    """Value of VISITOR_COOKIE, or a new one where none came."""
    token: TokenRow | None
    """What the session stands for; None for somebody who is not logged in."""
    lang: str

    def may(self, scope: Scope) -> bool:
        """Whether the visitor may do what `scope` names."""
        return self.token is not None and tokens.allows(self.token, scope)

    @property
    def caller(self) -> Caller:
        """The visitor as the REST routes know one. Raises LoginNeededError."""
        if self.token is None:
            raise LoginNeededError
        return Caller(self.token)

    def form_token(self, action: str) -> str:
        """The token of a form that is sent to the path `action`."""
        return sessions.form_token(self.bound_to(action), action)

    def bound_to(self, action: str) -> SecretStr:
        """The cookie that forms for `action` are bound to."""
        return self.visitor if action == LOGIN else self.key


async def visit(request: Request, service: Running) -> Visit:
    """The visit that a request is; one that is logged in counts as a call of its token. Raises Problem 429."""
    key, found = _cookie(request, COOKIE), None
    if key is not None:
        async with service.store.read() as tx:
            found = await sessions.token_of(tx, key, service.now())
    if found is not None:
        await service.rates.call(found.id)
    made = Visit(key or sessions.new_key(), _cookie(request, VISITOR_COOKIE) or sessions.new_key(), found, language(request))
    request.state.visit = made  # for the page of an error
    return made


Visiting = Annotated[Visit, Depends(visit)]


def needs(scope: Scope) -> Callable[[Visit], Awaitable[Visit]]:
    """The dependency of a page for visitors with `scope`."""

    async def allowed(who: Visiting) -> Visit:
        if who.token is None:
            raise LoginNeededError
        if not who.may(scope):
            raise Problem(403, "wrong-scope", f"this token may not do this; log in with one that has the scope {scope}")
        return who

    return allowed


async def signed_in(who: Visiting) -> Visit:
    """The dependency of a page for everybody who is logged in."""
    if who.token is None:
        raise LoginNeededError
    return who


Reading = Annotated[Visit, Depends(needs("read"))]
Submitting = Annotated[Visit, Depends(needs("submit"))]
Administering = Annotated[Visit, Depends(needs("admin"))]
SignedIn = Annotated[Visit, Depends(signed_in)]


async def posted(request: Request, who: Visiting) -> FormData:
    """What a form of ours holds. Raises Problem 403 where it is not known to come from one of our pages, 400 where it is no form."""
    if not (_from_here(request) and request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")):
        raise _foreign()
    try:
        form = await request.form(max_files=0, max_fields=MAX_FIELDS)
    except HTTPException:
        raise Problem(400, "bad-request", "the form cannot be read; load the page again") from None
    if not sessions.form_token_holds(who.bound_to(request.url.path), request.url.path, text(form, FORM_TOKEN)):
        raise _foreign()
    return form


Posted = Annotated[FormData, Depends(posted)]


def text(form: FormData, name: str) -> str:
    """One field of a form, without the spaces around it; empty where it is missing."""
    value = form.get(name)
    return value.strip() if isinstance(value, str) else ""


def remember(request: Request, response: Response, name: str, key: SecretStr) -> None:
    """Give the visitor a cookie; it ends with the browser, and COOKIE with the session at the latest."""
    secure = _secure(request)
    response.set_cookie(_named(request, name), key.get_secret_value(), httponly=True, samesite="strict", secure=secure, path="/")


def forget(request: Request, response: Response) -> None:
    """Take COOKIE away."""
    response.delete_cookie(_named(request, COOKIE), httponly=True, samesite="strict", secure=_secure(request), path="/")


def language(request: Request) -> str:
    """The language that is asked for by ?lang=, by its cookie, or by the browser."""
    for asked in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if asked in LANGUAGES:
            return str(asked)
    return preferred(_SUBTAG.sub("", request.headers.get("accept-language", "")), LANGUAGES) or LANGUAGES[0]


def own_path(address: str) -> str:
    """`address` if it is a path of this service, else "/": what ?next= may name, so that nobody is sent elsewhere."""
    if (
        len(address) > MAX_NEXT_CHARS
        or not address.startswith("/")
        or address.startswith("//")
        or "\\" in address
        or any(ord(char) < 0x21 for char in address)
    ):
        return "/"
    parts = urlsplit(address)
    return "/" if parts.scheme or parts.netloc else address


def login_address(request: Request) -> str:
    """Where somebody who is not logged in is sent, and from there back to the page that was asked for."""
    if request.method != "GET":
        return LOGIN
    asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return f"{LOGIN}?next={quote(asked, safe='')}"


def _cookie(request: Request, name: str) -> SecretStr | None:
    given = request.cookies.get(_named(request, name), "")
    return SecretStr(given) if sessions.well_formed(given) else None


def _named(request: Request, name: str) -> str:
    return HOST_PREFIX + name if _secure(request) else name


def _secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _from_here(request: Request) -> bool:
    """Whether the browser says that the form stood on a page of ours; a client that says nothing is held to the form's token alone."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _foreign() -> Problem:
    return Problem(403, "foreign-form", "this form did not come from a page of this session; load the page again and send it from there")
