"""Runs a Dockerfile's steps without Docker: each stage in a scratch root of bind mounts, its last command as the user that it names.

`unshare --mount python -m tests.service.scratch CONTEXT WHEELS WORK COMMAND…` builds and becomes the container's process: a read-only
root, no capability, /data and /tmp in memory. The base image is stood in for by this machine's system directories, read-only, and a
fresh virtual environment of this Python in /usr/local. No step reaches the network: pip installs from WHEELS.
"""

from __future__ import annotations

import fnmatch
import json
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Links into /usr where the system has them merged, else directories."""
CHROOT = shutil.which("chroot") or "/usr/sbin/chroot"
ACCOUNTS = ("passwd", "group", "shadow", "gshadow", "login.defs", "nsswitch.conf", "ld.so.cache", "pam.d", "security")


@dataclass
class Stage:
    """One FROM and what follows it."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: str = "0"
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)


def steps(context: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile with their arguments."""
    lines = (context / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [(name, value.strip()) for name, _, value in (line.partition(" ") for line in lines) if name and not name.startswith("#")]


def main() -> None:
    """Build, then become the image's process."""
    context, wheels, work, *command = sys.argv[1:]
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    stages: dict[str, Stage] = {}
    stage = Stage(Path(work))
    for name, value in steps(Path(context)):
        if name == "FROM":
            words = value.split()
            stage = stages[words[2] if len(words) > 2 else "last"] = Stage(_root(Path(work) / f"stage-{len(stages)}", Path(wheels)))
            stage.environment = {
                "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
                "PIP_NO_INDEX": "1",
                "PIP_FIND_LINKS": "/wheels",
            }
        elif name == "RUN":
            print("RUN", value, flush=True)
            run = [CHROOT, "--userspec", stage.user, str(stage.root), "/bin/sh", "-c", f"cd {stage.folder} && {value}"]
            subprocess.run(run, env=stage.environment, check=True)
        elif name == "COPY":
            _copy(Path(context), stages, stage, value)
        elif name == "ENV":
            stage.environment |= dict(word.split("=", 1) for word in shlex.split(value))
        elif name == "WORKDIR":
            stage.folder = value
        elif name == "USER":
            stage.user = value
        elif name == "ENTRYPOINT":
            stage.entrypoint = json.loads(value)
        elif name not in ("VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "CMD"):
            raise ValueError(f"{name} is not known here")
    _become(stage, command)


def _root(root: Path, wheels: Path) -> Path:
    """A root directory as a fresh base image has it."""
    for name in ("usr", "etc", "proc", "dev", "tmp", "wheels", "var", "run"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    _bind(Path("/usr"), root / "usr", read_only=True)
    local = root.with_name(root.name + "-local")
    subprocess.run([sys.executable, "-m", "venv", str(local)], check=True)
    _bind(local, root / "usr/local")
    for name in SYSTEM:
        if (link := Path("/") / name).is_symlink():
            (root / name).symlink_to(os.readlink(link))
        elif link.is_dir():
            (root / name).mkdir()
            _bind(link, root / name, read_only=True)
    for name in ACCOUNTS:
        if (source := Path("/etc") / name).is_dir():
            shutil.copytree(source, root / "etc" / name)
        elif source.exists():
            shutil.copy(source, root / "etc" / name)
    python = Path(sys.base_prefix)
    if not python.is_relative_to("/usr"):
        inside = root / python.relative_to("/")
        inside.mkdir(parents=True)
        _bind(python, inside, read_only=True)
    for name in ("proc", "dev"):
        _bind(Path("/") / name, root / name)
    _bind(wheels, root / "wheels", read_only=True)
    return root


def _copy(context: Path, stages: dict[str, Stage], stage: Stage, value: str) -> None:
    words = shlex.split(value)
    base = context
    if words[0].startswith("--from="):
        base = stages[words.pop(0).removeprefix("--from=")].root
    ignored = [line.removeprefix("**/") for line in (context / ".dockerignore").read_text().splitlines() if line.startswith("**/")]

    def left_out(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if base == context and any(fnmatch.fnmatch(name, pattern) for pattern in ignored)}

    for source in words[:-1]:
        origin, target = base / source.lstrip("/"), stage.root / words[-1].lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if origin.is_dir():
            shutil.copytree(origin, target, symlinks=True, ignore=left_out, dirs_exist_ok=True)
        else:
            shutil.copy(origin, target)


def _become(stage: Stage, command: list[str]) -> None:
    uid, _, gid = stage.user.partition(":")
    subprocess.run(["umount", str(stage.root / "wheels")], check=True)
    for name, options in (("data", f"uid={uid},gid={gid},mode=0700"), ("tmp", "mode=1777")):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(stage.root / name)], check=True)
    subprocess.run(["mount", "--rbind", str(stage.root), str(stage.root)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(stage.root)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(stage.root / "usr/local")], check=True)
    environment = {name: value for name, value in stage.environment.items() if not name.startswith("PIP_")}
    os.chroot(stage.root)
    os.chdir(stage.folder)
    drop = [
        "/usr/bin/setpriv",
        "--reuid",
        uid,
        "--regid",
        gid,
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
        "--bounding-set=-all",
    ]
    os.execve(drop[0], [*drop, *stage.entrypoint, *command], environment)


def _bind(source: Path, target: Path, read_only: bool = False) -> None:
    subprocess.run(["mount", "--rbind" if source == Path("/dev") else "--bind", str(source), str(target)], check=True)
    if read_only:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(target)], check=True)


if __name__ == "__main__":
    main()
