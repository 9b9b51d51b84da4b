"""The frame of every page: templates, languages, the policy that browsers hold it to, and errors as pages instead of JSON.

Takes a template and its values, gives a response. Nothing of a page runs or loads but the files of /static: no inline script, no inline
style, no other origin, no frame around it. What somebody wrote passes three doors, as in a report: hidden characters become signs, the
template escapes, the policy stops the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse

from api.pages_static import static_url
from api.problems import Problem, of_error
from api.sessions import (
    FORM_TOKEN,
    LANGUAGE_COOKIE,
    LANGUAGE_LIFE_S,
    LoginNeededError,
    Visit,
    language,
    login_address,
)
from verifier.errors import TruenameError
from verifier.report.plots import number, weight
from verifier.report.texts import LANGUAGES, Texts, texts
from verifier.report.visible import visible
from verifier.service.store.rows import AuditRow, Outcome, ScheduleRow

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    # Not no-referrer: browsers would then send "Origin: null" with our own forms. Nobody else is told where a visitor was.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_log = structlog.get_logger()


class PageRoute(APIRoute):
    """A route whose answers carry the pages' headers, and whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's own handler within what every page needs."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                response = await handle(request)
            except LoginNeededError:
                response = RedirectResponse(login_address(request), 303)
            except Problem as problem:
                response = error_page(request, problem)
            except TruenameError as error:
                response = error_page(request, told(error))
            except RequestValidationError:
                response = error_page(request, Problem(404, "not-found", "there is nothing at this address; check it"))
            except HTTPException as error:
                response = error_page(request, Problem(error.status_code, "bad-request", "the request cannot be read; load the page again"))
            for name, value in HEADERS.items():
                response.headers.setdefault(name, value)
            asked = request.query_params.get("lang")
            if asked in LANGUAGES:
                _remember_language(request, response, str(asked))
            return response

        return handled


def page(request: Request, who: Visit, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A filled template."""
    return HTMLResponse(filled(request, who, template, **values), status)


def filled(request: Request, who: Visit, template: str, **values: Any) -> str:
    """A filled template as text, for a page or a part of one."""
    return environment().get_template(template).render(_common(request, who), **values)


def error_page(request: Request, problem: Problem) -> Response:
    """A problem as a page, in the visitor's language."""
    who = getattr(request.state, "visit", None)
    context = {**_common(request, who), "problem": problem, "reason": HTTPStatus(problem.status).phrase}
    return HTMLResponse(environment().get_template("error.html").render(context), problem.status, problem.headers)


def told(error: TruenameError) -> Problem:
    """The problem of an error of ours; what is out of order here goes to the log too."""
    problem = of_error(error)
    if problem.status >= 500:
        _log.error("page failed", problem=str(error))
    return problem


def own(lang: str) -> Texts:
    """The pages' own catalogue."""
    return texts(lang, "api")


@cache
def environment() -> Environment:
    """The pages' templates, and those parts of the report's that they share."""
    made = Environment(
        loader=ChoiceLoader([PackageLoader("api"), PackageLoader("verifier.report")]),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "static": static_url,
        "number": number,
        "weight": weight,
        "moment": moment,
        "badge": badge,
        "form_field": FORM_TOKEN,
    }
    return made


def does(row: AuditRow | ScheduleRow) -> str:
    """What an audit does, as the report's catalogue names it: audit, identify or compare."""
    if row.claim is not None:
        return "audit"
    return "compare" if row.request.get("reference") else "identify"


def badge(row: AuditRow | ScheduleRow, outcome: Outcome, r: Texts) -> str:
    """One or two words for an outcome, as the report says them."""
    return badge_of(does(row), outcome, r)


def badge_of(kind: str, outcome: str, r: Texts) -> str:
    """The same for a kind of audit; the words of a claim's audit where this kind has no such outcome, as a schedule's older audits may."""
    return r.get(f"{kind}.{outcome}.badge", r(f"audit.{outcome}.badge"))


def moment(time: datetime, zone: str = "UTC") -> str:
    """A time for reading, to the minute."""
    local = time.astimezone(UTC if zone == "UTC" else ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M} {zone}"


def _common(request: Request, who: Visit | None) -> Mapping[str, Any]:
    lang = who.lang if who is not None else language(request)
    other = LANGUAGES[1 - LANGUAGES.index(lang)]
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "lang"]
    # A page that answers a form has no address of its own to come back to.
    here = request.url.path if request.method == "GET" else "/"
    return {
        "t": own(lang),
        "r": texts(lang),
        "who": who,
        "path": request.url.path,
        "other": own(other),
        "other_address": f"{here}?{urlencode([*(kept if request.method == 'GET' else []), ('lang', other)])}",
    }


def _shown(value: object) -> object:
    """What every expression of every template passes before it is escaped, as in the report."""
    return visible(value) if type(value) is str else value


def _remember_language(request: Request, response: Response, lang: str) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(LANGUAGE_COOKIE, lang, max_age=LANGUAGE_LIFE_S, httponly=True, samesite="lax", secure=secure, path="/")
