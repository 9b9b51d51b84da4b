"""Strangers' programs: each in an environment of its own, as nobody, with an empty environment, and with no network but loopback.

Takes lock files and commands, gives folders of programs and what a command printed. A peer never sees our variables, our home or our
keys; where this process is not root it runs as our user, and where namespaces are not allowed it keeps the network: `confined` says
which of the two hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.real import environments

NOBODY = "nobody"
TIMEOUT_S = 300.0
"""Of one run of a peer. The slowest took 131 s on a busy machine, asking a dead endpoint again and again."""
KEPT_OUTPUT = 400_000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one command."""

    code: int | None
    """Exit code; None where it was stopped at TIMEOUT_S."""
    out: str
    folder: Path
    """Its working directory, with whatever it wrote."""


@dataclass(frozen=True, slots=True)
class Programs:
    """Where a peer's programs are."""

    python: str
    path: str = ""
    """PYTHONPATH that `python` needs; empty for an environment of its own."""


def installed(lock: Path, scratch: Path) -> Programs:
    """What `lock` names, runnable by nobody. Raises OSError or subprocess.SubprocessError where it cannot be made."""
    made = environments.made(lock).parent
    if os.geteuid() != 0:
        return Programs(str(made / "bin" / "python"))
    # Root's cache, and often root's Python, are closed to others. pip stays behind: the copy installs nothing.
    packages = next(made.glob("lib/python*/site-packages"))
    copy = scratch / lock.stem
    shutil.copytree(packages, copy, ignore=shutil.ignore_patterns("pip", "pip-*", "setuptools*", "__pycache__"))
    return Programs(python_for_others(scratch / "python"), str(copy))


def python_for_others(folder: Path) -> str:
    """A copy of the interpreter with its standard library, in `folder`."""
    base, version = Path(sys.base_prefix), f"python{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / version
    if not python.exists():
        python.parent.mkdir(parents=True)
        shutil.copy2(base / "bin" / version, python)
        left_out = shutil.ignore_patterns("site-packages", "dist-packages", "test", "config-*", "__pycache__", "idlelib", "ensurepip")
        shutil.copytree(base / "lib" / version, folder / "lib" / version, ignore=left_out)
        for library in (base / "lib").glob("libpython*.so*"):
            shutil.copy2(library, folder / "lib", follow_symlinks=False)
    return str(python)


def open_to_others(folder: Path) -> Path:
    """The folder, given to whom peers run as."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        user = pwd.getpwnam(NOBODY)
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def run(programs: Programs, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Ran:
    """Run `python -m` with the arguments, the module first, in `folder`, which keeps what was printed."""
    clean = {"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8", "NO_COLOR": "1"} | dict(variables)
    clean |= {"PYTHONDONTWRITEBYTECODE": "1"}
    if programs.path:
        clean |= {"PYTHONPATH": programs.path, "LD_LIBRARY_PATH": str(Path(programs.python).parents[1] / "lib")}
    command = [programs.python, "-m", *arguments]
    nobody = pwd.getpwnam(NOBODY) if os.geteuid() == 0 else None
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
            user=nobody.pw_uid if nobody else None,
            group=nobody.pw_gid if nobody else None,
            extra_groups=[] if nobody else None,
        )
        try:
            code: int | None = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    text = (folder / "stdout").read_text(encoding="utf-8", errors="replace")[-KEPT_OUTPUT:]
    return Ran(code, text, folder)


def confined(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules where there is no network but loopback, or plainly where namespaces are not allowed."""
    own = [sys.executable, "-m", module, *arguments]
    unshare = shutil.which("unshare")
    if unshare is None:
        return own
    apart = [unshare, "--net", *(() if os.geteuid() == 0 else ("--map-current-user",))]
    tried = subprocess.run([*apart, sys.executable, "-c", ""], capture_output=True, timeout=60, check=False)
    return [*apart, *own] if tried.returncode == 0 else own


def raise_loopback() -> bool:
    """Bring loopback up in a new network namespace; whether it is the only interface there is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        name = b"lo".ljust(16, b"\0")
        flags = struct.unpack("16sh", fcntl.ioctl(asked, SIOCGIFFLAGS, struct.pack("16sh", name, 0)))[1]
        if not flags & IFF_UP:
            fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sh", name, flags | IFF_UP))
    return [interface for _, interface in socket.if_nameindex()] == ["lo"]
