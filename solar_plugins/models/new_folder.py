"""A model's folder that is there whole or not at all, even when its writer is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from solar_plugins.errors import SolarError


def check_out(out: str | Path, base: str | Path, key: str = "--out") -> None:
    """Require that a model may be written to `out`.

    Raises:
        SolarError: something is there already, or it lies in the base's folder.
    """
    out = Path(out)
    check_outside(out, base, key)
    if out.is_symlink() and not out.exists():
        raise SolarError(f"{key}: {out} is a link to nothing. Name another folder.")
    if out.exists() and not out.is_dir():
        raise SolarError(f"{key}: {out} is a file. Name a folder that is not there yet.")
    if out.is_dir() and any(out.iterdir()):
        raise SolarError(
            f"{key}: {out} is there already and not empty, and nothing is overwritten. "
            "Name another folder, or remove this one."
        )


def check_outside(out: str | Path, base: str | Path, key: str = "--out") -> None:
    """Require that `out` does not lie in the base's own folder, which stays as it is.

    Raises:
        SolarError: it does.
    """
    inside, base = Path(out).resolve(), Path(base)
    if base.is_dir() and base.resolve() in (inside, *inside.parents):
        raise SolarError(
            f"{key}: {out} lies in the base's own folder, which stays as it is. "
            "Name a folder outside it."
        )


@contextmanager
def new_model_folder(out: str | Path, wait: bool = False) -> Iterator[Path]:
    """A hidden folder beside `out` that takes its name when the block ends without an exception.

    The hidden folder has one name, so that what a killed run left there is found, emptied and used
    again. Whoever writes holds a lock on it, which the kernel drops with the process.

    Args:
        out: the folder that is to appear. It is not there, or empty.
        wait: wait for another process that writes the same folder, instead of refusing.

    Raises:
        SolarError: another process is writing the same folder.
        FileExistsError: `out` is there, perhaps since another process wrote it.
        OSError: the disk is full, or nothing can be written there.
    """
    out = Path(out).resolve()  # a link to an empty folder stays a link
    hidden = out.parent / f".{out.name}.unfinished"
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = _locked(hidden, wait)
    try:
        try:
            if out.is_dir() and any(out.iterdir()):
                raise FileExistsError(errno.EEXIST, "is there already and not empty", str(out))
            _empty(hidden)
            yield hidden
            _sync(hidden, *hidden.rglob("*"))
            os.rename(hidden, out)  # onto an empty folder too, but never onto a full one
            _sync(out.parent)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
    finally:
        os.close(lock)


def _locked(folder: Path, wait: bool) -> int:
    """Make `folder` if it is not there, and lock it; the lock lives as long as the descriptor."""
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            raise SolarError(
                f"{folder}: another process is writing there. Wait for it, or stop it."
            ) from None
        try:  # whoever held it before may have given the folder its final name, or removed it
            if os.path.samestat(os.fstat(descriptor), os.stat(folder)):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _sync(*paths: Path) -> None:
    """See to it that what was written is there after a power cut, too."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
