"""`solar unpack`: read a stranger's pack, list what it does, then refuse it or write it.

Everything is checked in memory. Only when the whole pack has passed is a folder made, under another
name, and moved to its place; nothing outside it is written, and nothing of it is run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solar_plugins import atomic, project
from solar_plugins.errors import SolarError
from solar_plugins.sharing import lock
from solar_plugins.sharing.trust import archive, declared, file_risks
from solar_plugins.sharing.trust.declared import Declared
from solar_plugins.sharing.trust.risk import Risk, parse_permissions, refused


@dataclass(frozen=True)
class Opened:
    """A pack that could be read.

    Attributes:
        source: What messages call it.
        files: Name -> bytes.
        lock: What ``solar.lock.json`` says; the files are those that it describes.
        risks: What its files ask for that has to be allowed.
        declared: What it will download, run and upload.
    """

    source: str
    files: dict[str, bytes]
    lock: dict[str, Any]
    risks: list[Risk]
    declared: Declared

    def refused(self, permissions: Iterable[str] = ()) -> list[Risk]:
        """The risks that ``KIND=FILE`` permissions do not cover."""
        return refused(self.risks, parse_permissions(permissions, self.files))


def open_pack(data: bytes, source: str) -> Opened:
    """Read a pack; nothing is written and nothing of it is run.

    Raises:
        SolarError: it is broken, not a pack, or holds what no pack may hold.
    """
    files = archive.from_bytes(data, source)
    return _opened(source, files, lock.read_lock(files, source))


def open_folder(folder: Path) -> Opened:
    """Read an unpacked pack: the files that its lock lists, as they are now, changed or not.

    Raises:
        SolarError: there is no lock file, or a file is missing or is not plain.
    """
    if not (folder / file_risks.LOCK).is_file():
        raise SolarError(f"{folder}: has no {file_risks.LOCK}, so this is not an unpacked pack.")
    read = archive.from_folder(folder, [file_risks.LOCK])
    found = lock.parse_lock(read[file_risks.LOCK], str(folder))
    files = archive.from_folder(folder, [file_risks.LOCK, *found["files"]])
    return _opened(str(folder), files, found)


def write_folder(pack: Opened, target: Path, permissions: Iterable[str] = ()) -> None:
    """Write the files of `pack` into the new folder `target`, all or none.

    Raises:
        SolarError: something in it is not allowed, or `target` is there already.
    """
    not_allowed = pack.refused(permissions)
    if not_allowed:
        raise SolarError(f"{not_allowed[0].text} {not_allowed[0].permission}")
    refuse_filled(target)
    with atomic.new_directory(target) as folder:
        write_files(pack, folder)


def write_files(pack: Opened, folder: Path) -> None:
    """Write the files of `pack`, allowed or not, into the empty `folder`: to read them there."""
    for name, data in pack.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(data)
    (folder / project.MARKER).write_text(project.MARKER_TEXT, encoding="utf-8")


def refuse_filled(target: Path) -> None:
    """Refuse a place that is a file, a link or a folder with something in it."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SolarError(f"{target}: is there already. Choose another folder.")
    if target.is_dir() and any(target.iterdir()):
        raise SolarError(f"{target}: is not empty. Choose another folder.")


def _opened(source: str, files: dict[str, bytes], locked: dict[str, Any]) -> Opened:
    risks = file_risks.risks_of(files)
    return Opened(source, files, locked, risks, declared.declared_in(files, risks))
