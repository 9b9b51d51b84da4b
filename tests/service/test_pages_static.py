"""What the pages load: the scripts are the published ones, the wheel holds them, and only they are served."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import zipfile
from importlib import resources
from pathlib import Path

import pytest

from api.pages_static import FILES, static
from tests.conftest import REPOSITORY
from tests.service.api_client import settings, started

ROW = re.compile(r"\| `([\w.]+)` \| ([\w.-]+ [\d.]+) \| `[^`]+` \| 0BSD \| `([0-9a-f]{64})` \|")


def test_the_scripts_are_the_published_ones_byte_for_byte() -> None:
    sources = (resources.files("api") / "static" / "SOURCES.md").read_text(encoding="utf-8")
    noted = {name: digest for name, _, digest in ROW.findall(sources)}
    scripts = {name: place for name, (_, place, kind) in FILES.items() if kind == "text/javascript"}
    assert noted.keys() == scripts.keys() == {"htmx.min.js", "sse.min.js"}
    for name, place in scripts.items():
        assert hashlib.sha256((resources.files("api") / place).read_bytes()).hexdigest() == noted[name]


def test_every_script_of_the_folder_is_noted() -> None:
    folder = resources.files("api") / "static"
    assert {each.name for each in folder.iterdir()} == {*(Path(place).name for of, place, _ in FILES.values() if of == "api"), "SOURCES.md"}


async def test_files_are_served_for_good_and_nothing_else_is(tmp_path: Path, sqlite_url: str) -> None:
    async with started(settings(tmp_path, sqlite_url)) as api:
        for name, (_, _, kind) in FILES.items():
            answer = await api.client.get(f"/static/{name}?v={static(name).digest}")
            assert answer.content == static(name).data and answer.headers["content-type"].startswith(kind)
            assert "immutable" in answer.headers["cache-control"] and answer.headers["x-content-type-options"] == "nosniff"
        for wrong in ("SOURCES.md", "..%2fapp.py", "../app.py", "%2e%2e/app.py", "", "htmx.min.js.map"):
            assert (await api.client.get(f"/static/{wrong}")).status_code == 404


@pytest.mark.timeout(300)
def test_a_wheel_holds_templates_texts_and_scripts(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = [each for folder in ("static", "templates") for each in (REPOSITORY / "api" / folder).iterdir()]
    wanted += [REPOSITORY / "api" / f"texts_{lang}.toml" for lang in ("en", "ko")] + [REPOSITORY / "verifier/report/templates/report.css"]
    assert {each.relative_to(REPOSITORY).as_posix() for each in wanted} <= held
