"""/static: the few files that pages load, under addresses that change with their bytes, so that browsers may keep them for good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from fastapi import APIRouter, Response

from api.problems import Problem

router = APIRouter(include_in_schema=False)

FILES = {
    "report.css": ("verifier.report", "templates/report.css", "text/css"),
    "pages.css": ("api", "static/pages.css", "text/css"),
    "icon.svg": ("api", "static/icon.svg", "image/svg+xml"),
    "htmx.min.js": ("api", "static/htmx.min.js", "text/javascript"),
    "sse.min.js": ("api", "static/sse.min.js", "text/javascript"),
}
"""Name -> package, place in it, media type. No other file is ever read."""
DIGEST_CHARS = 16


@dataclass(frozen=True, slots=True)
class Static:
    """A file as it is served."""

    data: bytes
    media_type: str
    digest: str


@cache
def static(name: str) -> Static:
    """A file of FILES. Raises KeyError."""
    package, place, media_type = FILES[name]
    data = resources.files(package).joinpath(place).read_bytes()
    return Static(data, media_type, hashlib.sha256(data).hexdigest()[:DIGEST_CHARS])


def static_url(name: str) -> str:
    """The address of a file in its present form."""
    return f"/static/{name}?v={static(name).digest}"


@router.get("/static/{name}")
async def serve(name: str) -> Response:
    """One file; what asks for the form that it has now may keep it."""
    if name not in FILES:
        raise Problem(404, "not-found", "there is no such file")
    found = static(name)
    return Response(found.data, media_type=found.media_type, headers={"Cache-Control": "public, max-age=31536000, immutable"})
