"""What the documentation lists is what the code says, and the other way round."""

from __future__ import annotations

import json
import re

from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"


def source(*folders: str) -> str:
    """The text of all modules below `folders`."""
    return "\n".join(path.read_text(encoding="utf-8") for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py")))


def test_every_reason_code_is_explained() -> None:
    page = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    text = source("verifier")
    codes = set(re.findall(r'found\.append\(\("([a-z-]+)"', text)) | {"named", "not-tested"}
    codes |= {f"{channel}-{word}" for channel in ("counts", "cuts", "edges", "tokens") for word in ("match", "contradict")}
    assert len(codes) > 10
    assert not {code for code in codes if code not in page}


def test_every_finding_code_is_in_the_schema() -> None:
    schema = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    listed = set(schema["properties"]["findings"]["items"]["properties"]["code"]["enum"])
    used = set(re.findall(r'Finding\(\s*"([a-z-]+)"', source("probes", "verifier")))
    assert used and used <= listed


def test_the_readme_names_the_two_commands_and_the_schema_file_is_shipped() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme and "make test" in readme
    assert "docs/report.schema.json" in readme
