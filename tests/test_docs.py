"""What the documentation lists is what the code says, and the other way round."""

from __future__ import annotations

import json
import re

import yaml

from docs.cli_reference import page
from tests.conftest import REPOSITORY
from verifier import errors
from verifier.report.model import EXIT_CODES
from verifier.report.texts_verdict import CHANNELS
from verifier.verifying import WORST

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


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == page(), "run `python -m docs.cli_reference --write`"


def test_every_command_of_the_contract_has_a_section() -> None:
    text = page()
    for name in ("audit", "identify", "compare", "enroll", "judge", "verify", "demo", "badge", "serve", "worker", "token create"):
        assert f"\n## truename {name}\n" in text, name
    assert "None" not in text and "<class" not in text


def test_every_exit_code_has_a_row() -> None:
    codes = {*EXIT_CODES.values(), *WORST} | {
        each.exit_code for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.TruenameError)
    }
    assert codes == {int(row) for row in re.findall(r"^\| (\d) \|", page(), re.MULTILINE)}


def test_every_variable_that_the_code_reads_is_documented() -> None:
    pages = "\n".join(path.read_text(encoding="utf-8") for path in DOCS.glob("*.md"))
    read = set(re.findall(r"TRUENAME_[A-Z_]*[A-Z]", source("api", "verifier", "probes", "fingerprints")))
    assert read and not {name for name in read if name not in pages}


def test_every_finding_is_explained_with_its_harmless_explanation() -> None:
    schema = json.loads((DOCS / "report.schema.json").read_text(encoding="utf-8"))
    reading = (DOCS / "reading-a-report.md").read_text(encoding="utf-8")
    assert not {code for code in schema["properties"]["findings"]["items"]["properties"]["code"]["enum"] if f"`{code}`" not in reading}


def test_every_channel_is_explained() -> None:
    concepts = (DOCS / "concepts.md").read_text(encoding="utf-8")
    assert not {name for name in CHANNELS if f"`{name}`" not in concepts}


def test_every_input_and_output_of_the_action_is_documented() -> None:
    action = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
    text = (DOCS / "ci.md").read_text(encoding="utf-8")
    assert not {name for name in (*action["inputs"], *action["outputs"]) if f"`{name}`" not in text}


def test_every_link_between_pages_leads_somewhere_and_every_page_is_linked() -> None:
    linked = set()
    for path in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (DOCS / target).exists(), f"{path.name} links {target}"
                linked.add(target)
    assert {path.name for path in DOCS.glob("*.md")} - linked == {"index.md"}


def test_no_page_names_a_path_of_our_own_machines() -> None:
    for path in DOCS.glob("*.md"):
        assert not re.search(r"(?<![\w.$}~-])/(?:opt|work|root|home|srv|mnt)(?:/|\b)", path.read_text(encoding="utf-8")), path.name
