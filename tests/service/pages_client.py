"""A visitor of the web page without a browser: keeps cookies, reads forms out of pages and sends them as a browser would.

With it, audits that were asked for by the form, and ones that end.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.service.api_client import Api
from tests.service.rows import FILES, VERDICT
from verifier.service.store import runs
from verifier.service.store.rows import ReportFiles

ORIGIN = "http://service"
TYPED = {"base_url": "https://api.example.com/v1", "claim": "gpt-4o"}
"""What the form needs at least."""


@dataclass
class Form:
    """A form of a page and what its fields hold."""

    action: str
    fields: list[tuple[str, str]] = field(default_factory=list)

    def value(self, name: str) -> str:
        """What one field holds."""
        return dict(self.fields)[name]


class Page(HTMLParser):
    """What a test asks of a page: its forms, links, words and elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self._select = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.append((tag, given))
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "select":
            self._select = given["name"]
        elif tag == "option" and "selected" in given:
            self.forms[-1].fields.append((self._select, given["value"]))
        elif tag == "input" and "name" in given and (given.get("type") != "checkbox" or "checked" in given):
            self.forms[-1].fields.append((given["name"], given.get("value", "")))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """The words alone."""
        return " ".join(" ".join(self.words).split())

    def form(self, action: str) -> Form:
        """The form that is sent to `action`."""
        return next(form for form in self.forms if form.action == action)

    def of(self, tag: str) -> Iterator[dict[str, str]]:
        """The attributes of every element of a kind."""
        return (attributes for name, attributes in self.elements if name == tag)


@dataclass
class Visitor:
    """Somebody with a browser of their own."""

    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """Open an address."""
        return await self.client.get(path, headers=headers)

    async def page(self, path: str, status: int = 200, **headers: str) -> Page:
        """Open an address and read the page."""
        answer = await self.get(path, **headers)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return Page(answer.text)

    async def send(self, path: str, action: str, headers: dict[str, str] | None = None, **typed: Any) -> httpx.Response:
        """Open `path`, fill its form for `action` and send it as Chromium would. A value of None is a field that is left out."""
        found = (await self.page(path)).form(action)
        return await self.post(action, {**dict(found.fields), **typed}, headers)

    async def post(self, action: str, fields: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        """Send fields to an address."""
        given = {name: value for name, value in fields.items() if value is not None}
        sent = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"} | (headers or {})
        return await self.client.post(action, data=given, headers=sent)

    async def log_in(self, token: str, onward: str = "/") -> httpx.Response:
        """Paste a token into the form."""
        return await self.send(f"/login?next={onward}", "/login", token=token)


@contextlib.asynccontextmanager
async def visitor(api: Api, who: str | None = None, base_url: str = ORIGIN) -> AsyncIterator[Visitor]:
    """A visitor of the application; logged in with the token of `who` ("alice:submit") where it is named."""
    transport = httpx.ASGITransport(api.app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as client:
        made = Visitor(client)
        if who is not None:
            answer = await made.log_in(api.tokens[who])
            assert answer.status_code == 303, answer.text
        yield made


async def finished(api: Api, audit_id: str, outcome: Any = "consistent", files: ReportFiles = FILES, **found: Any) -> None:
    """A queued audit that ends with a verdict, which holds what `found` says."""
    async with api.service.store.write() as tx:
        claimed = await runs.claim(tx, audit_id, "worker", api.service.now())
        assert claimed is not None
        verdict = VERDICT | {"outcome": outcome} | found
        now = api.service.now()
        assert await runs.complete(tx, claimed.run.id, outcome=outcome, verdict=verdict, files=files, requests=15, now=now)


async def submitted(api: Api, who: str = "alice:submit", **typed: str) -> str:
    """Submit an audit by the form; its id."""
    async with visitor(api, who) as someone:
        answer = await someone.send("/", "/audits", **(TYPED | typed))
        assert answer.status_code == 303, Page(answer.text).text
        return str(answer.headers["location"]).removeprefix("/audits/")
