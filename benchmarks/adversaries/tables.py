"""The adversary benchmark's figures as Markdown. Takes what `run` gives; computes nothing new but shares."""

from __future__ import annotations

from typing import Any


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    parts = [_honest(result["honest"]), _cheats(result["cheats"]), _mixtures(result["mixtures"]), _switches(result["switches"])]
    parts += [_siblings(result["siblings"]), _empty(result["empty"]), _rest(result)]
    return "\n\n".join(part for part in parts if part)


def _honest(honest: dict[str, Any]) -> str:
    if not honest["audits"]:
        return ""
    share, interval = honest["consistent_full_feature"], honest["consistent_full_feature_interval"]
    spread = f" ({interval[0]:.2f} to {interval[1]:.2f}, resampling models)" if interval else ""
    cleared = (
        f"Full-feature endpoints consistent: {_percent(share)} of {honest['full_feature_audits']}{spread}." if share is not None else ""
    )
    lines = [
        f"Honest endpoints: {honest['accused']} of {honest['audits']} accused (one-sided 95 % bound "
        f"{100 * honest['accused_upper_95']:.2f} %, audits taken as independent; {honest['models']} models). {cleared}",
        "",
        "| honest arm | audits | accused | consistent | inconclusive | median requests | median tokens |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {row['audits']} | {row['accused']} | {row.get('consistent', 0)} | {row.get('inconclusive', 0)} | "
            f"{_number(row['median_requests'])} | {_number(row['median_tokens'])} |"
            for name, row in honest["arms"].items()
        ),
    ]
    return "\n".join(lines)


def _cheats(cheats: dict[str, Any]) -> str:
    if not cheats:
        return ""
    lines = [
        "| cheating arm | audits | inconsistent | bound below | over casts | consistent | family named | of models | vendor | median "
        "requests | median tokens |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in cheats.items():
        interval = row["inconsistent_interval"]
        spread = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else "–"
        lines.append(
            f"| {name} | {row['audits']} | {row['inconsistent']} | {row['inconsistent_lower_95']:.3f} | {spread} | {row['consistent']} | "
            f"{_percent(row['family_named_share'])} | {row['model_family_named']} | {row['vendor_named']} | "
            f"{_number(row['median_requests'])} | {_number(row['median_tokens'])} |"
        )
    lines += [
        "",
        "Audits are those in which another model answered anything. Names and medians are of the audits that accuse: “family named” at the "
        "level that the verdict speaks for (the tokenizer family, where it stopped there), then the family of models and the vendor of the "
        "likeliest candidate. “Bound below” is the one-sided 95 % bound of the share with audits taken as independent; “over casts” "
        "resamples pairs of claimed and true models.",
    ]
    return "\n".join(lines)


def _mixtures(mixtures: dict[str, Any]) -> str:
    if not mixtures:
        return ""
    lines = [
        "| mixture | audits | share stated | interval covers the share | and the one drawn | median width |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['audits']} | {row['stated']} | {row['covered']} | {row['covered_as_drawn']} | {_share(row['median_width'])} |"
        for name, row in mixtures.items()
    ]
    return "\n".join(lines)


def _switches(switches: dict[str, Any]) -> str:
    return "\n".join(
        f"{name}: both switches dated within {row['within_requests']} requests in {row['both_dated']} of {row['audits']} audits "
        f"({row['dated']} of {row['true']} switches; {row['false_dates']} dates are no switch)."
        for name, row in switches.items()
    )


def _siblings(siblings: dict[str, Any]) -> str:
    if not siblings:
        return ""
    lines = [
        "| sibling | audits | inconsistent | inconclusive | consistent | of which at model | sibling likeliest | style or choices differ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['audits']} | {row.get('inconsistent', 0)} | {row.get('inconclusive', 0)} | {row.get('consistent', 0)} | "
        f"{row['consistent_at_model']} | {row['sibling_named']} | {row['mismatch_found']} |"
        for name, row in siblings.items()
    ]
    return "\n".join(lines)


def _empty(empty: dict[str, Any]) -> str:
    return "\n".join(
        f"{name}: {', '.join(f'{outcome} {n}' for outcome, n in row.items() if outcome != 'audits')} of {row['audits']}."
        for name, row in empty.items()
    )


def _rest(result: dict[str, Any]) -> str:
    again = result["judged_again"]
    lines = [f"{again['same']} of {again['transcripts']} transcripts, some of every arm, give the same conclusions again from their bytes."]
    if "suite_seeds" in result:
        sets = ", ".join(f"{n} in {suite}" for suite, n in result["suite_seeds"].items())
        lines.append(f"Sets of questions shared by all arms: {sets}.")
    lines += [f"{name} rests on: {what}." for name, what in result["rests_on"].items()]
    if result.get("real"):
        lines += ["", "Real local models behind real gateways:", "", "| arm | audits | outcomes | median requests |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {row['audits']} | {', '.join(f'{outcome} {n}' for outcome, n in row['outcomes'].items())} | "
            f"{_number(row['median_requests'])} |"
            for name, row in result["real"].items()
        ]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:g}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
