"""Fits data/accounting.toml from recorded traffic: ``python -m fingerprints.build accounting --data ../shared/recorded``.

It takes completions.jsonl.gz (texts with the usage reported for them) and, for dates and endpoint paths, interactions.jsonl.gz beside
it, and writes one row a stack with its counts. No text of a recording may enter the table, and nothing but the recordings: no constant is
copied from documentation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fingerprints.build.recorded import Recorded, read
from fingerprints.stack_likelihood import count
from fingerprints.stacks import DATA, NEW_BASES, NEW_OFFSETS, UNKNOWN, overhead, shape

SEEN_SHARE = 0.1
"""Offsets that fewer of a stack's replies show are noise of the tokenisation, not bookkeeping."""


def fit(records: Sequence[Recorded]) -> dict[str, Any]:
    """The table (see fingerprints.accounting.Table.parse) fitted on these records."""
    usable = [record for record in _distinct(records) if record.model and record.row.text and not record.reasoning]
    known = [record for record in usable if record.vocabulary]
    used: defaultdict[str, set[str]] = defaultdict(set)
    for record in usable:
        used[record.vocabulary or UNKNOWN].add(record.project)
    return {
        "repositories": {name: len(used[name]) for name in sorted(used)},
        "noise": _noise(known),
        "offsets": list(_offsets(known)),
        "overheads": list(_overheads(usable)),
    }


def main(arguments: list[str]) -> int:
    """Fit and compare with the table that ships; 1 where they differ and --write is not given."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build accounting", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/recorded"), help="folder with completions.jsonl.gz")
    parser.add_argument("--write", action="store_true", help="replace the table")
    options = parser.parse_args(arguments)
    records = read(options.data)
    made = render(fit(records), hashlib.sha256((options.data / "completions.jsonl.gz").read_bytes()).hexdigest(), len(records))
    same = DATA.exists() and DATA.read_text(encoding="utf-8") == made
    if options.write and not same:
        DATA.write_text(made, encoding="utf-8")
    print(f"accounting.toml {len(made) / 1024:.0f} KiB {'as shipped' if same else 'written' if options.write else 'DIFFERS'}")
    return 0 if same or options.write else 1


def render(table: dict[str, Any], source: str, rows: int) -> str:
    """The table as TOML, one line a stack."""
    lines = [
        "# Bookkeeping constants of recorded stacks, made by `python -m fingerprints.build accounting --write`; edit nothing by hand.",
        '#   noise      vocabulary ("" for the rest) -> probability that a count is 0, 1, 2, 3 tokens off its stack\'s constant',
        "#   offsets    completion_tokens minus the tokens of the text: `tokens` the commonest, `share` of `n` distinct replies show it,",
        "#              `seen` lists [tokens, replies] that a tenth or more show; `length`: cut at the limit",
        "#   overheads  prompt_tokens minus the tokens of the contents: around the `first` user message, a `system` message, each",
        "#              further `turn`, around a `raw` prompt; a field that is missing was never seen; `shapes` were",
        "# `repositories`: independent sources; dates are those of the replies that carry one.",
        "",
        f'source = {{ file = "completions.jsonl.gz", sha256 = "{source}", rows = {rows} }}',
        "",
    ]
    for section in ("repositories", "noise"):
        lines += ["", f"[{section}]", *(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in table[section].items())]

    for section in ("offsets", "overheads"):
        lines += ["", *(f"[[{section}]]\n{_cells(row)}" for row in table[section])]
    return "\n".join(lines) + "\n"


def _cells(row: dict[str, Any]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in row.items() if value is not None)


def _distinct(records: Iterable[Recorded]) -> list[Recorded]:
    """One record of each (stack, prompt, reply): cassettes repeat themselves and forks repeat each other."""
    seen: dict[Any, Recorded] = {}
    for record in records:
        seen.setdefault((record.provider, record.row.flavour, record.model, record.row), record)
    return list(seen.values())


def _groups(records: Iterable[Recorded], key: Callable[[Recorded], tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], list[Recorded]]]:
    groups: defaultdict[tuple[Any, ...], list[Recorded]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    yield from sorted(groups.items())


def _offset(record: Recorded) -> int:
    return record.row.completion_tokens - count(str(record.vocabulary), record.row.text)


def _offsets(records: Sequence[Recorded]) -> Iterator[dict[str, Any]]:
    stacks = _groups(records, lambda r: (r.provider, r.row.flavour, str(r.vocabulary), r.family, r.row.tools, r.row.length))
    for (provider, flavour, vocabulary, family, tools, length), members in stacks:
        seen = Counter(map(_offset, members))
        tokens, top = (0, seen[0]) if length else _mode(seen)  # a reply that was cut has no end to count
        kept = sorted([offset, n] for offset, n in seen.items() if n >= SEEN_SHARE * len(members) and n * 2 > 1 + (len(members) > 3))
        if top == 0 or tokens not in NEW_OFFSETS or (2 * top < len(members) and len(members) > 3):
            continue  # no constant: hidden reasoning, or another tokenizer than the catalog says
        yield {
            "provider": provider,
            "flavour": flavour,
            "vocabulary": vocabulary,
            "family": family,
            "tools": tools,
            "length": length,
            "tokens": tokens,
            "seen": kept,
            **_support(members, top),
        }


def _mode(seen: Counter[Any]) -> tuple[Any, int]:
    """The commonest value, the smallest of equals, and how often it was seen."""
    value = min(seen, key=lambda key: (-seen[key], key))
    return value, seen[value]


def _support(members: Sequence[Recorded], top: int) -> dict[str, Any]:
    dates = sorted(record.date for record in members if record.date)
    return {
        "n": len(members),
        "share": round(top / len(members), 3),
        "repositories": len({record.project for record in members}),
        "first_seen": dates[0] if dates else "",
        "last_seen": dates[-1] if dates else "",
    }


def _overheads(records: Sequence[Recorded]) -> Iterator[dict[str, Any]]:
    """One row for all models of a family that one provider frames alike."""
    priced = [record for record in records if record.row.prompt_tokens is not None and record.row.messages]
    rows: defaultdict[tuple[Any, ...], list[tuple[str, list[Recorded], int, set[str]]]] = defaultdict(list)
    for (provider, flavour, vocabulary, family, model), members in _groups(
        priced, lambda r: (r.provider, r.row.flavour, r.vocabulary or UNKNOWN, r.family, r.model)
    ):
        template, fitting, shapes = _template(members)
        if any(value is not None for value in template) and all(0 <= (base or 0) < NEW_BASES for base in (template[0], template[3])):
            rows[provider, flavour, vocabulary, family, template].append((model, members, fitting, shapes))
    for (provider, flavour, vocabulary, family, template), parts in sorted(rows.items(), key=lambda item: str(item[0])):
        members = [record for _, some, _, _ in parts for record in some]
        yield {
            "provider": provider,
            "flavour": flavour,
            "vocabulary": vocabulary,
            "family": family,
            "models": [model for model, *_ in parts],
            **dict(zip(("first", "system", "turn", "raw"), template, strict=True)),
            "shapes": sorted(set().union(*(shapes for *_, shapes in parts))),
            **_support(members, sum(fitting for _, _, fitting, _ in parts)),
        }


def _template(members: Sequence[Recorded]) -> tuple[tuple[int | None, ...], int, set[str]]:
    """Modes by shape solved for (first, system, turn, raw), how many members they fit exactly, and the shapes that had a mode."""
    by_shape: defaultdict[tuple[int, int, int], Counter[int]] = defaultdict(Counter)
    for record in members:
        content = sum(count(record.vocabulary or "o200k", text) for _, text in record.row.messages)
        by_shape[shape(role for role, _ in record.row.messages)][int(record.row.prompt_tokens or 0) - content] += 1
    modes = {form: mode for form, seen in by_shape.items() for mode, n in [_mode(seen)] if n >= 2 and 2 * n >= seen.total()}
    first, raw = modes.get((0, 1, 0)), modes.get((0, 0, 1))
    system = None if first is None or (1, 1, 0) not in modes else modes[1, 1, 0] - first
    turn = next(
        (
            (modes[form] - modes[form[0], 1, 0]) // (form[1] - 1)
            for form in ((0, 3, 0), (1, 3, 0), (0, 5, 0), (0, 2, 0))
            if form in modes and (form[0], 1, 0) in modes
        ),
        None,
    )
    if first is None and (1, 1, 0) in modes:
        first, system = modes[1, 1, 0], 0
    fitting = sum(
        n for form, seen in by_shape.items() for tokens, n in seen.items() if tokens == overhead((first, system, turn, raw), form)
    )
    return (first, system, turn, raw), fitting, {f"{systems}+{turns}+{raws}" for systems, turns, raws in modes}


def _noise(records: Sequence[Recorded]) -> dict[str, list[float]]:
    """How far counts stray from their stack's constants, per vocabulary where 100 replies or more say, and for all ("")."""
    away: defaultdict[str, Counter[int]] = defaultdict(Counter)
    stacks = _groups(records, lambda r: (r.project, r.provider, r.row.flavour, str(r.vocabulary), r.model, r.row.tools, r.row.length))
    for _, members in stacks:
        seen = Counter(map(_offset, members))
        mode, top = _mode(seen)
        if len(members) < 4 or 2 * top < len(members) or members[0].row.length:
            continue
        for offset, n in seen.items():
            for name in ("", str(members[0].vocabulary)):
                away[name][min(abs(offset - mode), 4)] += n
    return {
        name: [round((seen[step] + prior) / (seen.total() + 1.0), 4) for step, prior in enumerate((0.9, 0.04, 0.02, 0.01))]
        for name, seen in sorted(away.items())
        if not name or seen.total() >= 100
    }
