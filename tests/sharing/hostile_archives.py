"""Hostile and broken archives: the zip itself, the names in it, its lock."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator

from packs import LOCK, SFT, Case, Entry, good_files, lock_of, pack_of, zipped


def cases() -> list[Case]:
    """Every case."""
    return [*_archives(), *_names(), *_locks()]


def entry(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def with_entry(extra: zipfile.ZipInfo | str, data: bytes = b"x") -> bytes:
    """The good pack with one more entry."""
    files = good_files()
    return zipped([(LOCK, lock_of(files)), *files.items(), (extra, data)])


def _archives() -> Iterator[Case]:
    good = pack_of(good_files())
    yield "empty file", b"", "not a pack"
    yield "not a zip", b"hello, this is no zip at all", "not a pack"
    yield "a tar", b"recipes/solar.yml" + b"\0" * 600, "not a pack"
    yield "a gzip", b"\x1f\x8b\x08" + b"\0" * 40, "not a pack"
    yield "truncated", good[: len(good) // 2], "broken"
    yield "only its head", good[:30], "broken"
    yield "no directory", good[: good.rindex(b"PK\x01\x02") - 300], "broken"
    yield "a program before the zip", b"#!/bin/sh\necho hi\n" + good, "not a pack"
    yield "empty zip", zipped([]), LOCK
    yield (
        "wrong checksum",
        good.replace(b"learning_rate: 1.0e-5", b"learning_rate: 9.0e-5"),
        "broken",
    )
    yield (
        "symlink",
        with_entry(entry("recipes/a.yml", stat.S_IFLNK | 0o777), b"/etc/passwd"),
        "link",
    )
    outside = entry("out", stat.S_IFLNK | 0o777)
    files = good_files()
    entries: list[Entry] = [(LOCK, lock_of(files)), (outside, b"../.."), ("out/x.yml", b"a: 1")]
    yield "through a symlinked folder", zipped(entries), "link"
    for kind, word in (
        (stat.S_IFCHR, "device"),
        (stat.S_IFBLK, "device"),
        (stat.S_IFIFO, "pipe"),
        (stat.S_IFSOCK, "socket"),
    ):
        yield f"special file {kind:o}", with_entry(entry("recipes/a.yml", kind | 0o644)), word
    yield (
        "a folder that is a link",
        with_entry(entry("d/", stat.S_IFLNK | 0o777), b""),
        "empty part",
    )
    bomb = b"a" * (12 << 20)
    yield "bomb in one file", zipped([("recipes/a.yml", bomb)], zipfile.ZIP_DEFLATED), "bomb"
    large = [(f"f{i}.txt", b"\0" * 60_000) for i in range(999)]
    yield "many files that grow", zipped(large, zipfile.ZIP_DEFLATED), LOCK
    yield "too many files", zipped([(f"f{i}.txt", b"") for i in range(1001)]), "entries"
    yield "one file too large", zipped([("a.txt", b"ab" * (17 << 20))]), "MiB"
    yield "bzip2", zipped([("a.yml", b"a: 1")], zipfile.ZIP_BZIP2), "method"
    yield "lzma", zipped([("a.yml", b"a: 1")], zipfile.ZIP_LZMA), "method"
    yield "encrypted", _flagged(good, 0x1), "encrypted"
    yield "says it is longer", _with_size(good, 10_000), "broken"
    yield "says it is shorter", _with_size(good, 3), "broken"
    yield "says it is huge", _with_size(good, 0xFFFFFFF0), "MiB"
    yield "overlapping entries", _overlapping(), "broken"
    yield (
        "other names in the entries",
        good.replace(b"recipes/mix.yml", b"recipes/MIX.yml", 1),
        "broken",
    )
    yield "a pack in a pack", with_entry("inner.solar.zip", good), LOCK
    yield "negative offset", good[:-6] + b"\xff\xff\xff\xff\0\0", "broken"


def _names() -> Iterator[Case]:
    for name, word in {
        "../evil.yml": "leads out",
        "recipes/../../evil.yml": "leads out",
        "recipes/..": "leads out",
        "/etc/cron.d/evil": "absolute",
        "//server/share/x.yml": "absolute",
        "C:/evil.yml": "absolute",
        "C:evil.yml": "absolute",
        "..\\evil.yml": "backslash",
        "recipes\\evil.yml": "backslash",
        "recipes//evil.yml": "empty part",
        "./evil.yml": "empty part",
        ".bashrc": "hidden",
        ".git/hooks/post-checkout": "hidden",
        ".solar/stages/cpt.json": "hidden",
        "recipes/.env": "hidden",
        "~/.ssh/authorized_keys": "character",
        "recipes/a\nb.yml": "character",
        "recipes/a\x1b[2Jb.yml": "character",
        "recipes/\u202elmy.a": "character",
        "recipes/a\u200bb.yml": "character",
        "recipes/e\u0301.yml": "character",
        "recipes/\u1112\u1161\u11ab.yml": "NFC",
        "recipes/nul.yml": "every system",
        "recipes/CON": "every system",
        "recipes/a.yml.": "character",
        "recipes/a.yml ": "character",
        "recipes/a:stream.yml": "character",
        "recipes/$HOME.yml": "character",
        "recipes/`id`.yml": "character",
        "-rf.yml": "character",
        "a/" * 12 + "x.yml": "too deep",
        "recipes/" + "x" * 250 + ".yml": "every system",
        "RECIPES/sft.yml": "one file",
        "recipes/SFT.yml": "one file",
        "recipes/\uff53ft.yml": "one file",
        "recipes/sft.yml/x.yml": "a folder",
        "recipes": "a folder",
    }.items():
        yield f"name {name!r}", with_entry(entry(name)), word
    files = good_files()
    entries = [(LOCK, lock_of(files)), *files.items(), ("recipes/sft.yml", b"a: 1")]
    yield "the same name twice", zipped(entries), "one file"
    turkish = [(LOCK, lock_of(files)), ("\u017ft.yml", b"a: 1"), ("st.yml", b"a: 1")]
    yield "long s", zipped(turkish), "one file"
    data = with_entry(entry("recipes/aXb.yml")).replace(b"recipes/aXb.yml", b"recipes/a\0b.yml")
    yield "NUL in a name", data, "no name"


def _locks() -> Iterator[Case]:
    files = good_files()
    yield "no lock", zipped(list(files.items())), LOCK
    yield "lock of nothing", pack_of(files, b"{}"), "format"
    yield "lock that is a list", pack_of(files, b"[]"), "format"
    yield "lock that is no JSON", pack_of(files, b"{'format': 1}"), "not JSON"
    yield "lock in Latin-1", pack_of(files, b'{"name": "\xe9"}'), "UTF-8"
    yield "deep lock", pack_of(files, b"[" * 100_000), "deeper"
    yield "deep lock of mappings", pack_of(files, b'{"a":' * 100_000), "deeper"
    number = b'{"format": ' + b"9" * 5000 + b"}"
    yield "a number of 5000 digits", pack_of(files, number), "not JSON"
    yield "another format", pack_of(files, lock_of(files, format=99)), "format"
    yield "files as a list", pack_of(files, lock_of(files, files=[])), "files"
    yield "files of nothing", pack_of(files, lock_of(files, files={"a": 1})), "files.a"
    yield "without digests", pack_of(files, lock_of(files, files={"a": {}})), "sha256"
    yield "chain elsewhere", pack_of(files, lock_of(files, chain="../other.yml")), "chain"
    yield "tiny elsewhere", pack_of(files, lock_of(files, tiny="/etc/x.yml")), "tiny"
    yield "a number for a name", pack_of(files, lock_of(files, name=3)), "name"
    local = {"source": "local", "sha256": "ab" * 32}
    for name in ("/etc/passwd", "/", "../../secret", "~/.ssh", ".git"):
        models = {"local": {name: local}, "hub": {}}
        yield f"a model at {name}", pack_of(files, lock_of(files, models=models)), "models.local"
    hub = {"source": "hub", "revision": "../../../../etc/passwd", "pinned": None}
    models = {"local": {}, "hub": {"a/b": hub}}
    yield "a revision that climbs", pack_of(files, lock_of(files, models=models)), "revision"
    models = {"local": {}, "hub": {"a/b": {**hub, "revision": 5}}}
    yield "a revision that is a number", pack_of(files, lock_of(files, models=models)), "revision"
    models = {"local": {}, "hub": {"../b\x1b[2J": {**hub, "revision": None}}}
    yield "a name that climbs", pack_of(files, lock_of(files, models=models)), "models.hub"
    stages = {"sft": {"kind": "train", "outputs": {"../../x.safetensors": "ab" * 32}}}
    yield "an output that climbs", pack_of(files, lock_of(files, stages=stages)), "outputs"
    stages = {"../../x": {"kind": "train"}}
    yield "a stage that climbs", pack_of(files, lock_of(files, stages=stages)), "stages"
    more = {**files, "recipes/more.yml": b"base_model: a/b"}
    yield "a file that is not listed", pack_of(more, lock_of(files)), "not in its"
    yield "a listed file that is missing", pack_of(files, lock_of(more)), "not in the pack"
    other = {**files, "recipes/sft.yml": SFT.replace("1.0e-5", "2.0e-5").encode()}
    yield "a file that was changed", pack_of(other, lock_of(files)), "does not have the digest"


def _flagged(data: bytes, flag: int) -> bytes:
    """`data` with a flag set in every entry of its directory and before every file."""
    changed_ = bytearray(data)
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = data.find(signature)
        while at >= 0:
            changed_[at + offset] |= flag
            at = data.find(signature, at + 4)
    return bytes(changed_)


def _with_size(data: bytes, size: int) -> bytes:
    """`data` whose directory gives the last file another length."""
    changed_ = bytearray(data)
    at = data.rindex(b"PK\x01\x02")
    struct.pack_into("<II", changed_, at + 20, min(size, len(data)), size)
    return bytes(changed_)


def _overlapping() -> bytes:
    """Two entries of the directory that share the bytes of one file (a bomb without nesting)."""
    data = b"base_model: a/b\n"
    name = b"recipes/a.yml"
    head = struct.pack(
        "<4sHHHHHIIIHH",
        b"PK\x03\x04",
        20,
        0,
        0,
        0,
        33,
        zlib.crc32(data),
        len(data),
        len(data),
        len(name),
        0,
    )
    body = head + name + data
    directory = io.BytesIO()
    for other in (name, b"recipes/b.yml"):
        directory.write(
            struct.pack(
                "<4sHHHHHHIIIHHHHHII",
                b"PK\x01\x02",
                20,
                20,
                0,
                0,
                0,
                33,
                zlib.crc32(data),
                len(data),
                len(data),
                len(other),
                0,
                0,
                0,
                0,
                0,
                0,
            )
            + other
        )
    listed = directory.getvalue()
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 2, 2, len(listed), len(body), 0)
    return body + listed + end
