"""Where Truename keeps what it may not lose and nobody else should read: one data directory per user.

TRUENAME_DATA_DIR names it; without, it is where the platform keeps a user's data. Directories are 0700 and files 0600; a file is
either whole or not there.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from verifier.errors import CannotRunError

DATA_VARIABLE = "TRUENAME_DATA_DIR"


def data_directory() -> Path:
    """The data directory, which may not exist yet: TRUENAME_DATA_DIR (empty means unset), else the platform's place for it."""
    if named := os.environ.get(DATA_VARIABLE):
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "truename"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "truename"
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "share") / "truename"


def private_directory(path: Path) -> Path:
    """`path` as a directory that only its owner can enter, made where it is missing. Raises CannotRunError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise CannotRunError(
            f"the directory {path} cannot be made ({error.strerror})", f"set {DATA_VARIABLE} to one that can be written"
        ) from error
    return path


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all. Raises CannotRunError."""
    write_whole(path, data, 0o600)


def create_private(path: Path, data: bytes) -> bytes:
    """Write a file that only its owner can read unless it is there, and give what it then holds. Raises CannotRunError.

    Of several processes that try at once, one writes and all of them are given the same bytes.
    """
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o600)
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            Path(temporary).unlink()
        return path.read_bytes()
    except OSError as error:
        raise CannotRunError(f"{path} cannot be made or read ({error.strerror})", f"set {DATA_VARIABLE} to a folder of your own") from error


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file, whole or not at all, over what may be there. Raises CannotRunError."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}-", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise CannotRunError(f"{path} cannot be written ({error.strerror})", "name a folder that exists and can be written") from error


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock on the file `path`, waiting for whoever holds it: another process, or another thread of this one.

    An exclusive lock makes the file (0600) where there is none; a `shared` one, for reading, needs it to be there. The lock goes with
    its holder, however that ends. Raises CannotRunError where the file cannot be opened or made.
    """
    if sys.platform == "win32":
        raise CannotRunError("this system has no file locks that Truename can use", "run Truename in a container or under WSL")
    import fcntl

    try:
        handle = os.open(path, os.O_CLOEXEC | (os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT), 0o600)
    except OSError as error:
        raise CannotRunError(
            f"{path} cannot be locked ({error.strerror})", f"set {DATA_VARIABLE} to a directory that can be written"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
