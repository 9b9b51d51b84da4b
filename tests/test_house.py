"""The house itself: names that are ours alone, locks that say which files and not where from, and pages of a readable size."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("api", "verifier", "probes", "fingerprints")
MODULES = sorted(file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.py"))
LOCKS = sorted(REPOSITORY.glob("*.lock"))
CONTRACT_TARGETS = {"venv", "demo", "test", "lint", "bench"}
MAX_LINES = 400
HOST_OPTIONS = ("--index-url", "--extra-index-url", "--find-links", "--trusted-host")
MACHINE_PATHS = re.compile(r"(?<![\w.$}-])/(?:opt|work|root|home|srv|mnt)(?:/|\b)")

Pins = dict[str, tuple[str, int]]


def _name(file: Path) -> str:
    return file.relative_to(REPOSITORY).as_posix()


def _pins(lock: Path) -> Pins:
    """Distribution -> (pinned version, number of hashes) of a lock; any other kind of line fails."""
    pins: Pins = {}
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        words = entry.split()
        if not words or words[0].startswith("#"):
            continue
        requirement, hashes = Requirement(words[0]), words[1:]
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), entry
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        pins[canonicalize_name(requirement.name)] = (specifier.version, len(hashes))
    return pins


def _declared() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(each) for each in project["dependencies"]]


def _extras() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(each) for extra in project.get("optional-dependencies", {}).values() for each in extra]


def _needed(requirements: list[Requirement]) -> Iterator[Requirement]:
    """What these requirements need in this environment, themselves included, all the way down."""
    todo, seen = list(requirements), set[str]()
    while todo:
        requirement = todo.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        yield requirement
        name = canonicalize_name(requirement.name)
        if name not in seen:
            seen.add(name)
            todo += [Requirement(each) for each in distribution(name).requires or []]


@pytest.mark.parametrize("package", PACKAGES)
def test_an_import_name_is_ours_alone(package: str) -> None:
    assert set(packages_distributions().get(package, ["truename"])) == {"truename"}
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    assert Path(spec.origin) == REPOSITORY / package / "__init__.py"


def test_a_wheel_holds_the_four_packages_and_no_other() -> None:
    build = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert set(build["wheel"]["packages"]) == set(PACKAGES)


@pytest.mark.parametrize("lock", LOCKS, ids=_name)
def test_a_lock_pins_every_line_with_a_hash(lock: Path) -> None:
    pins = _pins(lock)
    assert pins
    assert {name for name, (_, hashes) in pins.items() if not hashes} == set()


@pytest.mark.parametrize("file", [*LOCKS, *(REPOSITORY / name for name in ("Makefile", "pyproject.toml", ".ci/run"))], ids=_name)
def test_what_installs_us_names_no_host_and_no_machine_path(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if "://" in line or any(option in line for option in HOST_OPTIONS)] == []
    assert [line for line in text.splitlines() if MACHINE_PATHS.search(line)] == []


def test_every_runtime_dependency_is_locked_down_to_the_last() -> None:
    pins = _pins(REPOSITORY / "requirements.lock")
    for requirement in _needed(_declared()):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{requirement} is not in requirements.lock"
        assert requirement.specifier.contains(pins[name][0], prereleases=True), f"{requirement} against {pins[name][0]}"


def test_what_the_lock_pins_is_what_these_tests_run_with() -> None:
    for name, (version, _) in _pins(REPOSITORY / "requirements.lock").items():
        assert distribution(name).version == version


def _imports(file: Path) -> set[str]:
    """Top-level names that a module imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_what_the_installed_packages_import_is_declared_and_locked() -> None:
    """A module that is there only because a development tool brought it would be missing on a user's machine."""
    declared = {canonicalize_name(each.name) for each in (*_declared(), *_extras())}
    demo = set(_pins(REPOSITORY / "requirements-demo.lock"))
    shipped = [file for file in MODULES if (REPOSITORY / "fingerprints/build") not in file.parents]
    owners = packages_distributions()
    for file in shipped:
        for name in _imports(file) - sys.stdlib_module_names - set(PACKAGES):
            found = {canonicalize_name(each) for each in owners.get(name, [])}
            allowed = declared | demo if _name(file) == "verifier/local.py" else declared
            assert found & allowed, f"{_name(file)} imports {name}, which pyproject.toml does not declare"


@pytest.mark.parametrize("file", MODULES, ids=_name)
def test_a_module_opens_with_what_it_is_for(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", [*MODULES, *sorted((REPOSITORY / "benchmarks").rglob("*.py"))], ids=_name)
def test_a_page_can_be_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_makefile_has_the_contracts_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert CONTRACT_TARGETS <= targets
