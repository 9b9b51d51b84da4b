"""Token accounting on recorded traffic: is a GPT-4o claim told from a false one by 3 completions, and the tokenizer family by 5?

It takes a folder with completions.jsonl.gz (see fingerprints/build/recorded.py) and scores all of it with the constants that ship; with
--develop it fits on half of the projects and scores the other half, over random splits. It must never hand provider, model, ids or headers
to what is tested: only texts, counts, messages and streamed pieces, and for a claim also the API flavour, which an auditor chooses.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fingerprints.accounting import Completion, completion_evidence
from fingerprints.build.accounting import fit
from fingerprints.build.recorded import Recorded, read
from fingerprints.stacks import UNKNOWN, Table, shipped

CLAIM = "gpt-4o"
ACCEPT = 0.0
"""Log odds at which a claim is accepted: even odds, the natural point; not moved to fit any score."""
LEAST_TOKENS = 20
CLAIM_ROWS, FAMILY_ROWS = 3, 5
LEAST_REPOSITORIES = 3
"""Families recorded in fewer repositories are listed and left out of the macro average."""
DRAWS = 8
"""Random choices of 3 or 5 rows from each group; every group counts once, whatever it holds."""
SPLITS = 12
RESAMPLES = 2000
FAMILIES = {
    "claude2": "claude", "claude3": "claude", "claude4.7": "claude", "qwen2.5": "qwen", "qwen3.5": "qwen", "mistral-v1": "mistral",
    "tekken": "mistral", "gemma2": "gemma", "gemma3": "gemma", "deepseek-coder": "deepseek", "deepseek-v2": "deepseek",
    "deepseek-v3": "deepseek", "glm4": "glm", "glm4.7": "glm",
}  # fmt: skip
"""Vocabularies of one tokenizer family; any other vocabulary is a family of its own. Gemini counts with Gemma's."""
UNNAMED = {"mistral": "mistral"}
"""Catalog families whose tokenizer family is certain although the catalog leaves the vocabulary open (v1 or tekken)."""


@dataclass(slots=True)
class Group:
    """Eligible completions of one repository, provider and model, and what was concluded from draws of them."""

    repository: str
    project: str
    model: str
    model_family: str
    family: str | None
    """Tokenizer family by the catalog; None where it knows none."""
    rows: list[Completion]
    odds: list[float] = field(default_factory=list)
    """Log odds of the claim, one a draw."""
    named: list[str] = field(default_factory=list)
    """Tokenizer family named, one a draw; UNKNOWN for an abstention."""


def run(data: Path | None, seed: int, limit: int | None) -> dict[str, Any]:
    """Score a folder with the constants that ship; `limit` lowers the draws per group. Raises FileNotFoundError."""
    groups = _groups(read(data or Path("../shared/recorded")))
    _score(groups, None, random.Random(seed), limit or DRAWS)
    return {"protocol": "shipped constants, data scored whole", "draws": limit or DRAWS} | _result(groups, seed)


def develop(data: Path, seed: int, limit: int | None, splits: int = SPLITS) -> dict[str, Any]:
    """Fit on a random half of the projects and score the other half, `splits` times; a group's draws are pooled over the splits that
    scored it."""
    records = read(data)
    groups = _groups(records)
    projects = sorted({record.project for record in records})
    per_split = []
    for split in range(splits):
        rng = random.Random(f"{seed}/{split}")
        fitted = set(rng.sample(projects, len(projects) // 2))
        table = Table.parse(fit([record for record in records if record.project in fitted]))
        scored = [replace(group, odds=[], named=[]) for group in groups if group.project not in fitted]
        _score(scored, table, rng, limit or DRAWS)
        outcome = _rates(scored)
        per_split.append({name: outcome[name] for name in ("accept_true_claim", "accept_false_claim", "family_from_5")})
        by_key = {(group.repository, id(group.rows)): group for group in scored}
        for group in groups:
            if part := by_key.get((group.repository, id(group.rows))):
                group.odds += part.odds
                group.named += part.named
    return {"protocol": f"{splits} splits by project, fitted on one half, scored on the other", "splits": per_split} | _result(groups, seed)


def table(result: dict[str, Any]) -> str:
    """Markdown: the figures with 95 % intervals, then families and false claims one by one."""

    def figure(name: str) -> str:
        value, interval = result[name], result["intervals"].get(name)
        return "–" if value is None or interval is None else f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"

    lines = [
        f"{result['protocol']}; eligible: {result['eligible']}; intervals resample projects.",
        "",
        "| figure | value (95 %) |",
        "|---|---|",
        f"| true {CLAIM} claims accepted, {CLAIM_ROWS} completions | {figure('accept_true_claim')} |",
        f"| false {CLAIM} claims accepted | {figure('accept_false_claim')} |",
        f"| family from {FAMILY_ROWS} completions, macro | {figure('family_from_5')} |",
        f"| draws that named no family | {result['abstained']:.4f} |",
        "",
        "| tokenizer family | named right | abstained | groups | repositories | in the macro |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in result["per_family"].items():
        counted = "yes" if row["in_macro"] else "no"
        lines.append(f"| {name} | {row['right']:.3f} | {row['abstained']:.3f} | {row['groups']} | {row['repositories']} | {counted} |")
    lines += ["", f"| model family (claim: {CLAIM}) | accepted | groups |", "|---|---|---|"]
    lines += [f"| {name} | {row['accepted']:.4f} | {row['groups']} |" for name, row in result["claims"].items()]
    return "\n".join(lines)


def eligible(records: Iterable[Recorded]) -> list[Recorded]:
    """Completions of 20 tokens or more, plain messages, no tools, no reasoning, each (model, text) once, of a model that is named."""
    kept: dict[tuple[str, str], Recorded] = {}
    for record in records:
        row = record.row
        if row.completion_tokens >= LEAST_TOKENS and row.text and record.plain and not row.tools and not record.reasoning and record.family:
            kept.setdefault((record.model, row.text), record)
    return list(kept.values())


def _groups(records: Iterable[Recorded]) -> list[Group]:
    members: defaultdict[tuple[str, str, str], list[Recorded]] = defaultdict(list)
    for record in eligible(records):
        members[record.repository, record.provider, record.model].append(record)
    return [
        Group(rows[0].repository, rows[0].project, rows[0].model, rows[0].family, _family(rows[0]), [row.row for row in rows])
        for _, rows in sorted(members.items())
        if len(rows) >= CLAIM_ROWS
    ]


def _family(record: Recorded) -> str | None:
    return FAMILIES.get(record.vocabulary, record.vocabulary) if record.vocabulary else UNNAMED.get(record.family)


def _score(groups: Sequence[Group], constants: Table | None, rng: random.Random, draws: int) -> None:
    constants = constants or shipped()
    for group in groups:
        for _ in range(draws):
            # A relay that poses as OpenAI answers in OpenAI's flavours, whatever its upstream speaks.
            drawn = rng.sample(group.rows, CLAIM_ROWS)
            asked = [replace(row, flavour="responses" if row.flavour == "responses" else "chat") for row in drawn]
            evidence = completion_evidence(asked, CLAIM, constants)
            group.odds.append(evidence.claim_log_odds if evidence.claim_log_odds is not None else -1.0)
            if len(group.rows) >= FAMILY_ROWS:
                # Which rows were asked in one flavour may be known, but not in which: "messages" would give Claude away.
                hidden = [replace(row, flavour=f"({row.flavour})") for row in rng.sample(group.rows, FAMILY_ROWS)]
                best = completion_evidence(hidden, None, constants).best
                group.named.append(FAMILIES.get(best, best))


def _result(groups: Sequence[Group], seed: int) -> dict[str, Any]:
    rates = _rates(groups)
    named = [group for group in groups if _in_family_test(group)]
    intervals = _intervals(groups, seed, rates["macro_families"])
    unlisted = [group for group in groups if group.named and group.family is None and group.model_family != "llama-guard"]
    return rates | {
        "intervals": intervals,
        "abstained": _mean([_share(group.named, UNKNOWN.__eq__) for group in named]) or 0.0,
        "eligible": {
            "completions": sum(len(group.rows) for group in groups),
            "groups_of_3": len(groups),
            "groups_of_5": sum(len(group.rows) >= FAMILY_ROWS for group in groups),
            "repositories": len({group.repository for group in groups}),
        },
        "claims": _claims(groups),
        "no_vocabulary_called": {f"{group.repository} {group.model}": dict(Counter(group.named).most_common()) for group in unlisted},
        "missed": {
            f"{group.repository} {group.model}": dict(Counter(group.named).most_common())
            for group in named
            if set(group.named) != {group.family}
        },
    }


def _rates(groups: Sequence[Group], macro: Sequence[str] | None = None) -> dict[str, Any]:
    tested = [group for group in groups if group.odds]
    true = [_share(group.odds, _accepted) for group in tested if group.model_family == CLAIM]
    false = [_share(group.odds, _accepted) for group in tested if group.family != "o200k"]
    per_family: dict[str, Any] = {}
    for name in sorted({str(group.family) for group in groups if _in_family_test(group)}):
        members = [group for group in groups if group.family == name and _in_family_test(group)]
        repositories = len({group.repository for group in members})
        per_family[name] = {
            "right": _mean([_share(group.named, name.__eq__) for group in members]),
            "abstained": _mean([_share(group.named, UNKNOWN.__eq__) for group in members]),
            "groups": len(members),
            "repositories": repositories,
            "in_macro": name in macro if macro is not None else repositories >= LEAST_REPOSITORIES,
        }
    counted = [name for name, row in per_family.items() if row["in_macro"]]
    return {
        "accept_true_claim": _mean(true),
        "accept_false_claim": _mean(false),
        "family_from_5": _mean([per_family[name]["right"] for name in counted]),
        "macro_families": counted,
        "per_family": per_family,
    }


def _claims(groups: Sequence[Group]) -> dict[str, Any]:
    """Accepted share by model family; GPT-4.1, GPT-5 and gpt-oss share the claim's tokenizer and are neither true nor false here."""
    by_family: defaultdict[str, list[float]] = defaultdict(list)
    for group in groups:
        if group.odds:
            by_family[group.model_family].append(_share(group.odds, _accepted))
    return {name: {"accepted": _mean(shares), "groups": len(shares)} for name, shares in sorted(by_family.items())}


def _intervals(groups: Sequence[Group], seed: int, macro: Sequence[str]) -> dict[str, list[float]]:
    """95 % percentile intervals, projects drawn with replacement; a family that a draw misses is left out of that draw's macro."""
    rng = random.Random(seed)
    by_project: defaultdict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_project[group.project].append(group)
    projects = sorted(by_project)
    samples: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(RESAMPLES):
        rates = _rates([group for project in rng.choices(projects, k=len(projects)) for group in by_project[project]], macro)
        for name in ("accept_true_claim", "accept_false_claim", "family_from_5"):
            if rates[name] is not None:
                samples[name].append(rates[name])
    return {name: [round(values[int(q * (len(values) - 1))], 4) for q in (0.025, 0.975)] for name, values in _sorted(samples).items()}


def _sorted(samples: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {name: sorted(values) for name, values in samples.items()}


def _in_family_test(group: Group) -> bool:
    return bool(group.named) and group.family is not None and group.model_family != "llama-guard"


def _accepted(odds: float) -> bool:
    return odds >= ACCEPT


def _share(values: Sequence[Any], test: Callable[[Any], bool]) -> float:
    return sum(map(test, values)) / len(values)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def main() -> None:
    """`python -m benchmarks.tokens [--develop] --data DIR`: the development protocol, which `python -m benchmarks tokens` does not have."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__)
    parser.add_argument("--develop", action="store_true", help="fit on half of the projects, score the other half")
    parser.add_argument("--data", type=Path, default=Path("../shared/recorded"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="draws per group")
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.develop:
        result = develop(options.data, options.seed, options.limit, options.splits)
    else:
        result = run(options.data, options.seed, options.limit)
    print(json.dumps(result, ensure_ascii=False) if options.json else table(result))


if __name__ == "__main__":
    main()
