"""Files by path or URL, as fsspec reaches them: errors in one line, writes whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, cast

from solar_plugins import atomic
from solar_plugins.errors import SolarError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def located(url: str) -> tuple[AbstractFileSystem, str]:
    """The file system of `url`, and the path in it.

    Raises:
        SolarError: the protocol is unknown, or needs a package that is not installed.
    """
    from fsspec.core import url_to_fs

    with reached(url):
        return url_to_fs(url)


@contextmanager
def reached(url: str, done: str = "read", hint: str = "") -> Iterator[None]:
    """Say in one line that `url` cannot be read (or what else is `done` in the block).

    Raises:
        SolarError: whatever is raised inside; each file system has errors of its own.
    """
    try:
        yield
    except SolarError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise SolarError(
            f"{url}: cannot be {done} ({type(error).__name__}: {reason[:200]}).{hint}"
        ) from error


def local_path(url: str) -> Path | None:
    """Where `url` lies on this machine, or None."""
    from fsspec.implementations.local import LocalFileSystem

    system, path = located(url)
    return Path(path) if isinstance(system, LocalFileSystem) else None


@contextmanager
def opened(url: str) -> Iterator[IO[bytes]]:
    """The file at `url`, for reading."""
    system, path = located(url)
    is_local = local_path(url) is not None
    with nullcontext() if is_local else reached(url):
        file = system.open(path, "rb")
    with file:
        # Lines are slow in fsspec's own buffer.
        yield file if is_local else cast(IO[bytes], io.BufferedReader(file, 2**20))


def names_below(url: str) -> set[str]:
    """The files in and below the folder `url`, by their paths in it; none where it is not there."""
    system, path = located(url)
    with reached(url):
        system.invalidate_cache()
        files = system.find(path) if system.exists(path) else ()
        return {file.removeprefix(path).lstrip("/") for file in files}


def remove(url: str) -> None:
    """Delete the file or the folder at `url`."""
    system, path = located(url)
    with reached(url, "deleted"):
        system.invalidate_cache()
        system.rm(path, recursive=True)


@contextmanager
def new_file(url: str) -> Iterator[IO[bytes]]:
    """`atomic.new_file` on any file system: elsewhere it is uploaded when the block has ended."""
    if here := local_path(url):
        with atomic.new_file(here) as file:
            yield file
        return
    system, path = located(url)
    with TemporaryDirectory() as folder:
        with atomic.new_file(Path(folder) / "part") as file:
            yield file
        with reached(url, "written"):
            system.put_file(f"{folder}/part", path)
