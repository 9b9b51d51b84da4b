"""What a reader is told, in English and Korean: one catalogue per language, and the report's own sentences in it.

Takes keys and values, gives sentences; the web page keeps a catalogue of its own. A report holds its reasons and findings in
English, because it is signed once; a translation is found by the sentence's pattern, so that its numbers come along. A sentence
without one is said by its code, with the English beside it: nothing is left out because nobody translated it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from verifier.errors import UsageError

LANGUAGES = ("en", "ko")
OF_REPORTS = "verifier.report"
"""The package whose texts_*.toml are a report's."""
LONGEST_PATTERN = 2_000
"""Characters of a sentence beyond which no pattern is tried: longer ones were not written by us, and lazy groups are slow on them."""


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence in the reader's language, and the report's own English words where they say more than it does."""

    text: str
    original: str = ""


@dataclass(frozen=True, slots=True)
class Texts:
    """One language's catalogue. `texts("page.title", id=…)` gives a filled sentence; unknown keys raise KeyError."""

    lang: str
    entries: Mapping[str, str]
    package: str = OF_REPORTS

    def __call__(self, key: str, **values: object) -> str:
        """The sentence under `key`, its places filled."""
        return self.entries[key].format_map(values) if values else self.entries[key]

    def get(self, key: str, default: str) -> str:
        """The sentence under `key`, or `default` where there is none."""
        return self.entries.get(key, default)

    def reason(self, code: str, english: str) -> Said:
        """A reason of the report in this language."""
        return self._said(f"reason.{code}", english)

    def finding(self, code: str, english: str) -> Said:
        """A finding of the report in this language."""
        return self._said(f"finding.{code}", english)

    def sentence(self, english: str) -> Said:
        """Any other sentence of the report in this language; English where there is no translation."""
        return Said(translation(self.lang, english, self.package) or english)

    def _said(self, key: str, english: str) -> Said:
        if self.lang == "en":
            return Said(english)
        if found := translation(self.lang, english, self.package):
            return Said(found)
        return Said(self.entries[key], english) if key in self.entries else Said(english)


@cache
def texts(lang: str, package: str = OF_REPORTS) -> Texts:
    """The catalogue of `lang` that `package` holds. Raises UsageError for a language that there is none for."""
    return Texts(lang, dict(_flat(_table(lang, package))), package)


@lru_cache(maxsize=4096)
def translation(lang: str, english: str, package: str = OF_REPORTS) -> str | None:
    """An English sentence in `lang`, with its own numbers and names; None where the package's catalogue has none for it."""
    whole, patterns = _sentences(lang, package)
    if english in whole or len(english) > LONGEST_PATTERN:
        return whole.get(english)
    for pattern, form in patterns:
        if (found := pattern.fullmatch(english)) and (places := _places(lang, found.groupdict(), package)) is not None:
            return form.format_map(places)
    return None


def _places(lang: str, values: Mapping[str, str], package: str) -> dict[str, str] | None:
    """What stands in a sentence's places, translated where it is a sentence too; None where a `says` place holds something else."""
    inside = {name: translation(lang, value, package) for name, value in values.items()}
    if any(name.startswith("says") and text is None for name, text in inside.items()):
        return None
    return {name: inside[name] or value for name, value in values.items()}


@cache
def _sentences(lang: str, package: str) -> tuple[dict[str, str], tuple[tuple[re.Pattern[str], str], ...]]:
    """The translated sentences in `lang`: those without places, and patterns for the others, in the catalogue's order."""
    pairs = [(str(pair["en"]), str(pair["to"])) for pair in _table(lang, package).get("said", [])]
    return {en: to for en, to in pairs if "{" not in en}, tuple((_pattern(en), to) for en, to in pairs if "{" in en)


@cache
def _table(lang: str, package: str) -> dict[str, Any]:
    if lang not in LANGUAGES:
        raise UsageError(f"there is no language {lang!r}", f"choose {' or '.join(LANGUAGES)}")
    return tomllib.loads((resources.files(package) / f"texts_{lang}.toml").read_text(encoding="utf-8"))


def _flat(table: Mapping[str, Any], above: str = "") -> list[tuple[str, str]]:
    """(dotted key, sentence) of a table of tables."""
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _flat(value, f"{above}{key}.")
        elif isinstance(value, str):
            found.append((above + key, value))
    return found


def _pattern(sentence: str) -> re.Pattern[str]:
    """A sentence with {places} as a pattern whose groups are the places; those named `any…` may be empty."""
    parts = re.split(r"\{([a-z_]+)\}", sentence)
    places = (f"(?P<{part}>.{'*' if part.startswith('any') else '+'}?)" if i % 2 else re.escape(part) for i, part in enumerate(parts))
    return re.compile("".join(places), re.DOTALL)
