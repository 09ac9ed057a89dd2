"""The file that a pack is: a zip with the same bytes for the same content.

Entries are stored as they are, sorted, with one fixed time: what a compressor writes depends on its
version, and a pack is text of a few hundred kilobytes. Reading takes compressed entries too, within
limits that hold before anything is unpacked.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from solar_plugins.errors import SolarError
from solar_plugins.sharing.trust.names import check_name, printable, refuse_collisions

SUFFIX = ".solar.zip"

MAX_PACK_BYTES = 32 << 20
MAX_TOTAL_BYTES = 64 << 20
MAX_FILE_BYTES = 16 << 20
MAX_FILES = 1000
MAX_RATIO = 200
"""Text that Deflate shrinks to less than 1/200 is filled up, not written."""
_TOO_LARGE = f"more than {MAX_FILE_BYTES >> 20} MiB. A pack holds no weights and no large data."

_TIME = (1980, 1, 1, 0, 0, 0)
_ENTRY = b"PK\x01\x02"
# What zipfile raises on a broken archive; NotImplementedError is a RuntimeError.
_BROKEN: tuple[type[Exception], ...] = (OSError, RuntimeError, ValueError, LookupError)
_BROKEN += (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ArithmeticError)


def to_bytes(files: Mapping[str, bytes], first: str) -> bytes:
    """The archive of `files`; the entry `first` leads, so that a reader finds the lock at once."""
    refuse_collisions(files, "pack")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files, key=lambda name: (name != first, name)):
            check_name(name, "pack")
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, files[name])
    return buffer.getvalue()


def from_bytes(data: bytes, source: str) -> dict[str, bytes]:
    """The files in the archive `data`; nothing is written.

    Args:
        source: What messages call the pack.

    Raises:
        SolarError: it is not a zip, is broken, passes a limit, or has an entry that is not a plain
            file with a plain relative name.
    """
    if len(data) > MAX_PACK_BYTES:
        raise SolarError(f"{source}: more than {MAX_PACK_BYTES >> 20} MiB. A pack holds text only.")
    if not data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise SolarError(f"{source}: not a pack. `solar pack` writes a zip file ({SUFFIX}).")
    # Counted before zipfile reads the directory, which would make an object of every entry.
    if data.count(_ENTRY) > MAX_FILES:
        raise SolarError(f"{source}: more than {MAX_FILES} entries. A pack has a few dozen.")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if _is_file(entry, source)]
            if sum(entry.file_size for entry in entries) > MAX_TOTAL_BYTES:
                raise SolarError(f"{source}: unpacks to more than {MAX_TOTAL_BYTES >> 20} MiB.")
            refuse_collisions([entry.filename for entry in entries], source)
            return {entry.filename: _read(archive, entry, source) for entry in entries}
    except SolarError:
        raise
    except _BROKEN as error:
        raise SolarError(f"{source}: a broken zip file ({printable(error)}).") from None


def from_folder(folder: Path, names: list[str]) -> dict[str, bytes]:
    """The files `names` of a folder, as if it were the archive.

    Raises:
        SolarError: one is missing, is a link or no plain file, or is too large.
    """
    files = {}
    for name in names:
        check_name(name, str(folder))
        path = folder / name
        fault = None
        if any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents):
            fault = "a link. A pack has plain files."
        elif not path.is_file():
            fault = "no such file, but the lock lists it."
        elif path.stat().st_size > MAX_FILE_BYTES:
            fault = _TOO_LARGE
        if fault:
            raise SolarError(f"{folder}: {printable(name)!r}: {fault}")
        files[name] = path.read_bytes()
    return files


def _is_file(entry: zipfile.ZipInfo, source: str) -> bool:
    """Whether the entry is a file; a folder is none, and anything else is refused."""
    name = entry.orig_filename
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name.endswith("/") and kind in (0, stat.S_IFDIR) and entry.file_size == 0:
        check_name(name.rstrip("/"), source)
        return False
    check_name(name, source)
    check_name(entry.filename, source)  # newer zipfile takes another name from an extra field
    fault = None
    if kind not in (0, stat.S_IFREG):
        what = "a link" if stat.S_ISLNK(kind) else "no plain file (a device, a pipe, a socket)"
        fault = f"{what}. A pack has plain files."
    elif entry.flag_bits & 0x1:
        fault = "encrypted. A pack can be read by all."
    elif entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        fault = f"compressed by method {entry.compress_type}. Stored and Deflate are read."
    elif entry.file_size > MAX_FILE_BYTES:
        fault = _TOO_LARGE
    elif entry.file_size > max(MAX_RATIO * entry.compress_size, 1 << 16):
        fault = f"grows to more than {MAX_RATIO} times its size. That is a zip bomb, not text."
    if fault:
        raise SolarError(f"{source}: {printable(name)!r}: {fault}")
    return True


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, source: str) -> bytes:
    """The content; zipfile reads no further than the size that the directory declares."""
    with archive.open(entry) as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) != entry.file_size:
        raise SolarError(f"{source}: {printable(entry.filename)!r}: not as long as it says.")
    return content
