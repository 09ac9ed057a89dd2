"""`solar pack`: one file with everything that is needed to read, check and repeat a chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solar_plugins import atomic
from solar_plugins.chain.chain_file import load_chain
from solar_plugins.sharing import lock, pack_files, run_products
from solar_plugins.sharing.trust import archive, file_risks
from solar_plugins.sharing.trust.file_risks import LOCK, RUN_FOLDER
from solar_plugins.sharing.trust.risk import Risk


@dataclass(frozen=True)
class Pack:
    """A pack in memory.

    Attributes:
        data: The bytes of the file.
        files: Name -> bytes, the lock among them.
        blacked_out: A line for every secret that a run's products held.
        left_out: Local things that recipes name and that the pack does not hold, with the reason.
        risks: What a reader will be asked to allow.
    """

    data: bytes
    files: dict[str, bytes]
    blacked_out: list[str]
    left_out: dict[str, str]
    risks: list[Risk]


def make_pack(chain_file: Path, include: tuple[str, ...] = ()) -> Pack:
    """The pack of a chain; paths count from the working directory.

    The same content gives the same bytes.

    Raises:
        SolarError: the chain does not load, or something of it must not be shared; see `contents`.
    """
    made = pack_files.collect(chain_file, include)
    products, blacked_out = run_products.collect(load_chain(made.chain), made.root)
    if made.tiny and made.tiny != made.chain:
        twin = load_chain(made.tiny)
        more, lines = run_products.collect(twin, made.root, f"{RUN_FOLDER}tiny/")
        products, blacked_out = {**products, **more}, [*blacked_out, *lines]
    files = {**made.files, **products}
    files[LOCK] = lock.write_lock(made, products)
    lock.read_lock(files, made.chain)  # what others would refuse, we do not write
    return Pack(
        data=archive.to_bytes(files, first=LOCK),
        files=files,
        blacked_out=blacked_out,
        left_out=made.left_out,
        risks=file_risks.risks_of(files),
    )


def write_pack(pack: Pack, out: Path) -> None:
    """Write the pack's file, whole or not at all."""
    atomic.write_bytes(out, pack.data)
