"""A pack in memory: read from a stranger's file or from a folder, judged, and written.

Everything is checked before anything is written. A pack that has passed is written under another
name and moved to its place; nothing outside it is touched, and nothing of it is run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from solar_plugins import atomic, project
from solar_plugins.errors import SolarError
from solar_plugins.sharing.lock import Lock, read_lock
from solar_plugins.sharing.trust import archive, file_risks
from solar_plugins.sharing.trust.declared import Declared, declared_in
from solar_plugins.sharing.trust.file_risks import LOCK
from solar_plugins.sharing.trust.risk import Risk, parse_permissions


@dataclass(frozen=True)
class Pack:
    """The files of a pack.

    Attributes:
        source: What messages call it.
        files: Name -> bytes, the lock's among them.
        lock: What ``solar.lock.json`` says; the files are those that it lists.
        risks: What its files ask for that a reader has to allow.
    """

    source: str
    files: dict[str, bytes]
    lock: Lock
    risks: list[Risk]

    @property
    def declared(self) -> Declared:
        """What it will download, run and upload."""
        return declared_in(self.files, self.risks)

    @property
    def data(self) -> bytes:
        """The bytes of its file; the same content gives the same."""
        return archive.to_bytes(self.files, first=LOCK)

    def refused(self, permissions: Iterable[str] = ()) -> list[Risk]:
        """The risks that ``KIND=FILE`` permissions do not cover."""
        allowed = parse_permissions(permissions, self.files)
        return [risk for risk in self.risks if (risk.kind, risk.file) not in allowed]

    def write(self, folder: Path) -> None:
        """Write the files, allowed or not, into the empty `folder`: to read them there."""
        for name, data in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(data)
        (folder / project.MARKER).write_text(project.MARKER_TEXT, encoding="utf-8")


def opened(source: str, files: dict[str, bytes]) -> Pack:
    """The pack that `files` are.

    Raises:
        SolarError: it has no lock, a file is missing, changed or not listed in it, or is not what
            its name says.
    """
    if LOCK not in files:
        raise SolarError(f"{source}: has no {LOCK}. `solar pack` writes one; this is not a pack.")
    lock = read_lock(files[LOCK], source)
    for name in files:
        if name != LOCK and name not in lock.files:
            raise SolarError(f"{source}: {name}: in the pack but not in its {LOCK}.")
    for name, entry in lock.files.items():
        if name not in files:
            raise SolarError(f"{source}: {name}: in {LOCK} but not in the pack.")
        if hashlib.sha256(files[name]).hexdigest() != entry.sha256:
            raise SolarError(f"{source}: {name}: does not have the digest that {LOCK} lists.")
    return Pack(source, files, lock, file_risks.risks_of(files))


def open_pack(data: bytes, source: str) -> Pack:
    """Read a pack; nothing is written and nothing of it is run.

    Raises:
        SolarError: it is broken, not a pack, or holds what no pack may hold.
    """
    return opened(source, archive.from_bytes(data, source))


def open_folder(folder: Path) -> Pack:
    """Read an unpacked pack: the files that its lock lists, as they are now, changed or not.

    Raises:
        SolarError: there is no lock file, or a file is missing or is not plain.
    """
    if not (folder / LOCK).is_file():
        raise SolarError(f"{folder}: has no {LOCK}, so this is not an unpacked pack.")
    lock = read_lock(archive.from_folder(folder, [LOCK])[LOCK], str(folder))
    files = archive.from_folder(folder, [LOCK, *lock.files])
    return Pack(str(folder), files, lock, file_risks.risks_of(files))


def write_folder(pack: Pack, target: Path, permissions: Iterable[str] = ()) -> None:
    """Write the files of `pack` into the new folder `target`, all or none.

    Raises:
        SolarError: something in it is not allowed, or `target` is there already.
    """
    for risk in pack.refused(permissions):
        raise SolarError(f"{risk.text} {risk.permission}")
    refuse_filled(target)
    with atomic.new_directory(target) as folder:
        pack.write(folder)


def refuse_filled(target: Path) -> None:
    """Refuse a place that is a file, a link or a folder with something in it."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise SolarError(f"{target}: is there already. Choose another folder.")
    if target.is_dir() and any(target.iterdir()):
        raise SolarError(f"{target}: is not empty. Choose another folder.")
