"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_text(path: str | Path, text: str) -> None:
    """`write_bytes` of `text` as UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: object) -> None:
    """`write_text` of `value` as indented JSON; NaN is refused (it is not JSON)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_directory(path: str | Path) -> Iterator[Path]:
    """A folder that appears at `path`, complete, when the block ends without an exception.

    Raises:
        FileExistsError: `path` is there already and not empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        os.chmod(temporary, 0o777 & ~_umask())
        yield temporary
        if path.is_dir():
            path.rmdir() if not any(path.iterdir()) else None
        if path.exists():
            raise FileExistsError(f"{path} exists and is not empty")
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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


@contextmanager
def replaced_directory(path: Path) -> Iterator[Path]:
    """A folder that appears at `path`, complete, when the block ends without an exception.

    A folder that is already at `path` is replaced. Left-overs are removed as in `new_file`.
    """
    partial = _partial(path)
    partial.mkdir()
    try:
        yield partial
        if path.is_dir():
            old = path.parent / f".{path.name}.old.{os.getpid()}.partial"
            os.rename(path, old)
            os.rename(partial, path)
            shutil.rmtree(old)
        else:
            os.rename(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    """Where this process writes what becomes `path`; what dead ones wrote is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in path.parent.glob(f".{path.name}.*.partial"):
        if _is_alive(left_over.name.split(".")[-2]):
            continue
        if left_over.is_dir():
            shutil.rmtree(left_over)
        else:
            left_over.unlink(missing_ok=True)
    return path.parent / f".{path.name}.{os.getpid()}.partial"


def _is_alive(pid: str) -> bool:
    """Whether another process of this number runs."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
