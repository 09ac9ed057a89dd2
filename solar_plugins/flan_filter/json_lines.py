"""JSON Lines, plain or compressed: lines as they are, beside the objects that they hold."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from solar_plugins.errors import SolarError

ENDINGS = tuple(f"{name}{packed}" for name in (".jsonl", ".json") for packed in ("", ".gz", ".zst"))


def batches(
    file: IO[bytes], source: Path, rows_per_batch: int, bytes_per_batch: int
) -> Iterator[tuple[list[bytes], list[dict], int]]:
    """Batches of lines, each beside the object it holds, and how many were invalid UTF-8.

    Blank lines are left out. Bytes that are no UTF-8 are read as U+FFFD; the line keeps them.

    Raises:
        SolarError: a line is not an object in JSON, or the compressed stream is damaged.
    """
    lines: list[bytes] = []
    rows: list[dict] = []
    invalid = size = 0
    try:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                text = line.decode("utf-8", errors="replace")
                invalid += 1
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise SolarError(f"{source}:{number}: not a line of JSON: {error}") from error
            if not isinstance(row, dict):
                raise SolarError(
                    f"{source}:{number}: not an object. Each line is one row in {{…}}."
                )
            lines.append(line)
            rows.append(row)
            size += len(line)
            if len(lines) == rows_per_batch or size >= bytes_per_batch:
                yield lines, rows, invalid
                lines, rows, invalid, size = [], [], 0, 0
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(source, error) from error
    except OSError as error:
        if error.errno is not None:
            raise  # the disk's own complaint, which names its file
        raise _damaged(source, error) from error
    if lines:
        yield lines, rows, invalid


@contextmanager
def decompressed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    """`raw` as the lines it holds, by the ending of `path`."""
    if path.suffix == ".gz":
        with gzip.open(raw) as file:
            yield cast(IO[bytes], file)
    elif path.suffix == ".zst":
        import pyarrow as pa

        with pa.CompressedInputStream(raw, "zstd") as file:
            yield io.BufferedReader(file)
    else:
        yield raw


@contextmanager
def compressed(raw: IO[bytes], path: Path) -> Iterator[IO[bytes]]:
    """Where lines for `raw` are written, by the ending of `path`."""
    if path.suffix == ".gz":
        # No time of writing in the header: the same rows give the same bytes.
        with gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0, compresslevel=6) as file:
            yield cast(IO[bytes], file)
    elif path.suffix == ".zst":
        import pyarrow as pa

        with pa.CompressedOutputStream(raw, "zstd") as file:
            yield file
    else:
        yield raw


def _damaged(source: Path, error: Exception) -> SolarError:
    reason = " ".join(str(error).split())
    return SolarError(f"{source}: the compressed stream is damaged: {reason}")
