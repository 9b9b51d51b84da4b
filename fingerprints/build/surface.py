"""Fits data/surface.toml from recorded traffic: ``python -m fingerprints.build surface --data ../shared/recorded``.

It takes interactions.jsonl.gz (replies with their headers) and surface.json (counts per provider over more replies), finds the names and
shapes that only one vendor's models or only one host's replies carry, and writes them with their counts. No value of a header and no id may
enter the table, and nothing but the recordings decides who owns a mark.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fingerprints import catalog
from fingerprints.surface import DATA, FIELDS, error_shape

SHAPES = {
    "id": {
        "msg_01…": r"msg_(01|bdrk_|vrtx_)[A-Za-z0-9]{22,24}",
        "toolu_…": r"(srv)?toolu_(01|bdrk_|vrtx_)[A-Za-z0-9]{22,24}",
        "…_bdrk_…": r"(msg|toolu)_bdrk_[A-Za-z0-9]{22,24}",
        "…_vrtx_…": r"(msg|toolu)_vrtx_[A-Za-z0-9]{22,24}",
        "chatcmpl- and 29 letters": r"chatcmpl-[A-Za-z0-9]{29}",
        "chatcmpl- and a number": r"chatcmpl-\d{1,3}",
        "chatcmpl- and a UUID": r"chatcmpl-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}",
        "cmpl- and 29 letters": r"cmpl-[A-Za-z0-9]{29}",
        "resp_ and hex": r"resp_[0-9a-f]{48,}",
        "msg_ and hex": r"msg_[0-9a-f]{48,}",
        "fc_ and hex": r"fc_[0-9a-f]{48,}",
        "rs_ and hex": r"rs_[0-9a-f]{48,}",
        "call_ with two digits": r"call_\d\d_[A-Za-z0-9]{24}",
        "call_- and digits": r"call_-\d{18,20}",
        "gen- and a time": r"gen-\d{10}-[A-Za-z0-9]{20}",
        "time and hex": r"20\d{12}[0-9a-f]{18}",
    },
    "fingerprint": {
        "fp_ollama": r"fp_ollama",
        "fp_ and 10 hex": r"fp_[0-9a-f]{10}",
        "fp_ and 20 hex": r"fp_[0-9a-f]{20}",
        "fp_…_prod…": r"fp_[0-9a-f]{10}_prod\w+",
        "b and a build": r"b\d{4,6}-[0-9a-f]{7,9}",
    },
}
FIRST_PARTY = {
    "openai": "openai", "chatgpt-codex": "openai", "anthropic": "anthropic", "gemini": "google", "vertex": "google", "mistral": "mistral",
    "deepseek": "deepseek", "xai": "xai", "cohere": "cohere", "zai": "zai", "perplexity": "perplexity", "ai21": "ai21", "writer": "writer",
}  # fmt: skip
"""Providers that are a vendor's own API -> the catalog's name of the vendor."""
RELAYS = {"local", "gateway", "portkey", "other-llm", "openrouter", "vercel", "github", "doubleword"}
"""Gateways that pass other vendors' replies through; their replies never make a mark theirs to another's loss."""
EVERYDAY = re.compile(
    r"accept-ranges|content-disposition|expires|pragma|x-frame-options|x-xss-protection|x-powered-by|x-accel-.*|ratelimit.*|traceresponse"
    r"|x-should-retry|access-control-.*|timing-allow-origin|cross-origin-.*|x-(datadog|amz-cf|envoy|kong|b3)-.*|cf-.*|etag|x-cache|nel|report-to"
    r"|x-(ratelimit|max-retry)(-limit|-remaining|-reset|-attempts-reached)?"
)
"""Headers that general web software writes: whoever shows them now, anybody may tomorrow."""
EXCLUSIVE = 0.995
"""Share of a mark's replies that must be its owner's."""
REPLIES, STRONG_REPLIES = 8, 100
"""Least replies with a mark, and as many as make it strong where all are the owner's."""
CARRIED = 0.005
"""Share of another first-party provider's replies (surface.json) above which a header or usage field is no mark."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The marks of one recorded reply."""

    provider: str
    vendor: str | None
    """Catalog vendor of the model that the reply names; None where the catalog has none."""
    repository: str
    headers: tuple[str, ...]
    ids: tuple[str, ...]
    fingerprints: tuple[str, ...]
    body_keys: tuple[str, ...]
    usage_keys: tuple[str, ...]
    error: Mapping[str, Any] | None

    def names(self) -> set[tuple[str, str]]:
        """(where, what) of everything that could be a mark."""
        found = {("header", name) for name in self.headers}
        found |= {("body", key) for key in self.body_keys} | {("usage", key) for key in self.usage_keys}
        for kind, texts in (("id", self.ids), ("fingerprint", self.fingerprints)):
            found |= {(kind, name) for name, pattern in SHAPES[kind].items() for text in texts if re.fullmatch(pattern, text)}
        if self.error is not None:
            found.add(("error", error_shape(self.error)))
        return found


def read(folder: Path) -> list[Seen]:
    """Every recorded reply that is no hand-made stand-in. Raises FileNotFoundError where interactions.jsonl.gz is missing."""
    with gzip.open(folder / "interactions.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [_seen(record) for record in map(json.loads, stream) if not record["suspect_synthetic"]]


def fit(replies: list[Seen], totals: Mapping[str, Any]) -> dict[str, Any]:
    """Markers and hosts from the replies; `totals` is surface.json."""
    by_name: defaultdict[tuple[str, str], list[Seen]] = defaultdict(list)
    for reply in replies:
        for name in reply.names():
            by_name[name].append(reply)
    serves: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for reply in replies:
        if reply.vendor and reply.provider not in FIRST_PARTY and reply.provider not in RELAYS:
            serves[reply.provider][reply.vendor] += 1
    for provider, row in totals.items():
        serves[provider].update({found.vendor: n for name, n in row["models"].items() for found in [_find(name)] if found})
    rows = [row for name, members in sorted(by_name.items()) for row in [_marker(name, members, totals)] if row]
    owners = {row["owner"] for row in rows if row["host"]}
    return {"serves": {host: sorted(serves[host]) for host in sorted(owners)}, "markers": rows}


def main(arguments: list[str]) -> int:
    """Fit and compare with the table that ships; 1 where they differ and --write is not given."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build surface", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/recorded"), help="folder with interactions.jsonl.gz and surface.json")
    parser.add_argument("--write", action="store_true", help="replace the table")
    options = parser.parse_args(arguments)
    totals = options.data / "surface.json"
    made = _render(fit(read(options.data), json.loads(totals.read_text(encoding="utf-8"))), hashlib.sha256(totals.read_bytes()).hexdigest())
    same = DATA.exists() and DATA.read_text(encoding="utf-8") == made
    if options.write and not same:
        DATA.write_text(made, encoding="utf-8")
    print(f"surface.toml {len(made) / 1024:.0f} KiB {'as shipped' if same else 'written' if options.write else 'DIFFERS'}")
    return 0 if same or options.write else 1


def _marker(name: tuple[str, str], members: list[Seen], totals: Mapping[str, Any]) -> dict[str, Any] | None:
    """The row of a mark that one vendor, or else one host, owns; None for what nobody owns."""
    where, what = name
    everyday = EVERYDAY.fullmatch(what) if where == "header" else re.fullmatch(r"[a-z]+", what) if where in ("body", "usage") else None
    own = [reply for reply in members if reply.provider not in RELAYS]
    if len(own) < REPLIES or everyday:
        return None
    vendors = Counter(reply.vendor for reply in own if reply.vendor)
    named = vendors.total()
    vendor, of_vendor = vendors.most_common(1)[0] if named else ("", 0)
    providers = Counter(reply.provider for reply in own)
    provider, of_provider = providers.most_common(1)[0]
    party = FIRST_PARTY.get(provider)
    at_home = {FIRST_PARTY.get(one) for one in providers}
    if vendor and of_vendor >= EXCLUSIVE * named and vendor in at_home and named >= REPLIES:
        owner, host, share = vendor, False, of_vendor / named
    elif of_provider >= EXCLUSIVE * len(own) and provider not in RELAYS:
        owner, host, share = (party or provider), party is None, of_provider / len(own)
    else:
        return None
    elsewhere = _carried(where, what, totals, {one for one in totals if FIRST_PARTY.get(one) == owner or one == owner} | set(providers))
    if elsewhere > CARRIED:
        return None
    repositories = len({reply.repository for reply in own})
    strong = not host and share == 1.0 and len(own) >= STRONG_REPLIES and repositories >= 3
    # Fields belong to an API flavour, which whoever speaks it shows: they are counted, and stay weak.
    weak = host or repositories < 2 or where in FIELDS
    strength = "weak" if weak else "strong" if strong else "moderate"
    return {
        "where": where, "what": what, "owner": owner, "host": host, "strength": strength,
        "n": len(own), "share": round(share, 4), "repositories": repositories,
    }  # fmt: skip


def _carried(where: str, what: str, totals: Mapping[str, Any], own: set[str]) -> float:
    """Largest share of another provider's replies that carry the mark, by surface.json."""
    field = {"header": "headers", "usage": "usage"}.get(where)
    if field is None:
        return 0.0
    others = [(row, row[field].get(what, 0)) for one, row in totals.items() if one not in own and one not in RELAYS]
    return max((count / max(1, row["hn"] if where == "header" else row["n"]) for row, count in others), default=0.0)


def _seen(record: dict[str, Any]) -> Seen:
    bodies = list(_bodies(record["response_body"]))
    failed = (record["status"] or 200) >= 400 and len(bodies) == 1
    model = next((found for name in _models(record, bodies) for found in [_find(name)] if found), None)
    usages = [usage for body in bodies for usage in _usages(body)]
    return Seen(
        provider=record["provider"],
        vendor=model.vendor if model else None,
        repository=record["repo"].split("/")[-1],
        headers=tuple(sorted({name.lower() for name in record["response_headers"] or {}})),
        ids=tuple(sorted({value for body in bodies for value in _ids(body)})),
        fingerprints=tuple(sorted({str(body["system_fingerprint"]) for body in bodies if body.get("system_fingerprint")})),
        body_keys=() if failed or not usages else tuple(sorted({key for body in bodies for key in body})),
        usage_keys=tuple(sorted({key for usage in usages for key in flat(usage)})),
        error=bodies[0] if failed else None,
    )


def flat(usage: Mapping[str, Any]) -> Iterator[str]:
    """Fields of a usage object, nested ones dotted."""
    for key, value in usage.items():
        if isinstance(value, Mapping) and value:
            yield from (f"{key}.{inner}" for inner in value)
        else:
            yield key


def _bodies(body: Any) -> Iterator[dict[str, Any]]:
    """The JSON objects of a reply: one, or one for each streamed event."""
    if isinstance(body, dict):
        events = body.get("__eventstream__")
        yield from [body] if events is None else (event["data"] for event in events if isinstance(event.get("data"), dict))
    elif isinstance(body, list):
        yield from (part for part in body if isinstance(part, dict))
    elif isinstance(body, str):
        for line in body.splitlines():
            try:
                event = json.loads(line.removeprefix("data:").strip())
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _models(record: dict[str, Any], bodies: list[dict[str, Any]]) -> Iterator[str]:
    """Names in order of trust: an Azure deployment may be called anything, so what was asked for comes last and never for Azure."""
    for body in bodies[:2]:
        for holder in (body, body.get("message"), body.get("response")):
            if isinstance(holder, dict):
                yield from (holder[key] for key in ("model", "modelVersion") if isinstance(holder.get(key), str))
    if isinstance(record["responded_model"], str):
        yield record["responded_model"]
    if record["provider"] != "azure" and isinstance(record["requested_model"], str):
        yield record["requested_model"]


def _usages(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for holder in (body, body.get("message"), body.get("response")):
        if isinstance(holder, dict):
            yield from (holder[key] for key in ("usage", "usageMetadata") if isinstance(holder.get(key), dict))


def _ids(value: Any, depth: int = 8) -> Iterator[str]:
    """Every id in a body, at any depth, the caller's own echoes included."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            if key in ("id", "call_id", "item_id") and isinstance(inner, str):
                yield inner
            else:
                yield from _ids(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _ids(inner, depth - 1)


@cache
def _find(name: str) -> catalog.Model | None:
    return catalog.find(name)


def _render(table: dict[str, Any], source: str) -> str:
    lines = [
        "# Marks that recorded replies carry, made by `python -m fingerprints.build surface --write`; edit nothing by hand.",
        "#   shapes   regular expressions (whole string) for ids and fingerprints",
        "#   serves   host -> vendors whose models it was recorded to serve",
        "#   markers  a header or field name, or a shape; owner: a vendor of models, or a `host`; `share` of `n` replies are the owner's",
        f'source = {{ file = "surface.json", sha256 = "{source}" }}',
    ]
    for kind, shapes in SHAPES.items():
        lines += ["", f"[shapes.{kind}]", *(f"{json.dumps(name, ensure_ascii=False)} = '{pattern}'" for name, pattern in shapes.items())]
    lines += ["", "[serves]", *(f"{json.dumps(host)} = {json.dumps(vendors)}" for host, vendors in table["serves"].items())]
    for row in table["markers"]:
        lines += ["", "[[markers]]", *(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in row.items())]
    return "\n".join(lines) + "\n"
