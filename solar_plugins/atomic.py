"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` so that a reader sees the old file or the new one, never a part.

    Raises:
        OSError: the disk is full or the folder cannot be written; the old file is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of `text` as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: object) -> None:
    """`write_text` of `value` as indented JSON; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_directory(
    path: str | Path, wait: bool = False, replace: bool = False, resume: bool = False
) -> Iterator[Path]:
    """A hidden folder that is renamed to `path` when the block ends without an exception.

    The hidden folder always has the same name: the next writer empties and reuses what a killed
    writer left. A writer holds a lock on it, which the kernel releases when the process ends.

    Args:
        path: the folder to create. It is missing or empty, unless it is to be replaced.
        wait: wait for another process that writes the same folder, instead of raising.
        replace: a folder that is already at `path` gives way when the block ends.
        resume: keep what an earlier writer left in the hidden folder, also after an exception.

    Raises:
        BlockingIOError: another process is writing the same folder.
        FileExistsError: `path` is not empty, perhaps because another process has written it.
        OSError: the disk is full, or the parent folder cannot be written.
    """
    path = Path(path).resolve()  # a link to an empty folder stays a link
    hidden, old = (path.parent / f".{path.name}.{what}" for what in ("unfinished", "replaced"))
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = _locked(hidden, wait)
    try:
        try:
            if not replace and path.is_dir() and any(path.iterdir()):
                raise FileExistsError(errno.EEXIST, "exists and is not empty", str(path))
            for entry in () if resume else hidden.iterdir():
                _remove(entry)
            yield hidden
            _sync(hidden, *(entry for entry in hidden.rglob("*") if not entry.is_symlink()))
            if replace and path.is_dir():
                shutil.rmtree(old, ignore_errors=True)
                os.rename(path, old)
            os.rename(hidden, path)  # replaces an empty folder, never a full one
            shutil.rmtree(old, ignore_errors=True)
            _sync(path.parent)
        except BaseException:
            if not resume:
                shutil.rmtree(hidden, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _locked(folder: Path, wait: bool) -> int:
    """Create `folder` unless it exists, and lock it until the returned descriptor is closed."""
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            what = "another process is writing there. Wait for it, or stop it."
            raise BlockingIOError(errno.EAGAIN, what, str(folder)) from None
        try:  # the last holder may have renamed or removed the folder
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _sync(*paths: Path) -> None:
    """Flush files and folders to the disk, so that they survive a power cut."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """An open file that appears at `path`, complete, when the block ends without an exception.

    What a killed process left of an earlier attempt is removed first.
    """
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            yield file
        with partial.open("rb+") as file:  # Arrow's streams close the file that they write to
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    """Where this process writes what becomes `path`; what dead ones wrote is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.partial"):
        if not _is_alive(left_over.name.split(".")[-2]):
            _remove(left_over)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)


def _is_alive(pid: str) -> bool:
    """Whether another process of this number runs."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return int(pid) != os.getpid()
