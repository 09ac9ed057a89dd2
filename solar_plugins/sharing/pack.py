"""`solar pack`: one file with everything that is needed to read, check and repeat a chain."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from solar_plugins import atomic
from solar_plugins.chain.chain_file import Chain, load_chain
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.sharing import lock, pack_files, redact
from solar_plugins.sharing.trust import archive, file_risks
from solar_plugins.sharing.trust.file_risks import LOCK, RUN_FOLDER
from solar_plugins.sharing.trust.risk import Risk

_AUDITS = ("solar/flan_filter.json", "solar/flan_filter_audit.json", "solar/flan_filter_audit.md")


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
    products, blacked_out = _run_products(load_chain(made.chain), made.root)
    if made.tiny and made.tiny != made.chain:
        twin = load_chain(made.tiny)
        more, lines = _run_products(twin, made.root, f"{RUN_FOLDER}tiny/")
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


def _run_products(
    chain: Chain, root: Path, where: str = RUN_FOLDER
) -> tuple[dict[str, bytes], list[str]]:
    """The products of the run of `chain`, safe to share.

    Args:
        root: The folder that paths in them count from afterwards.
        where: The folder in the pack, with its slash.

    Returns:
        Name in the pack -> bytes, and a line for everything that was blacked out.
    """
    folder = RunFolder(chain.output_dir)
    if not (folder.hidden / "run.json").is_file():
        return {}, []
    found: dict[str, bytes] = {}
    for stage in chain.order():
        place = folder.stage(stage.name)
        if stage.kind == "evaluate":
            for model in stage.from_:
                _take(found, place / f"{model}.json", f"{where}results/{stage.name}/{model}.json")
        elif stage.kind == "train":
            for audit in _AUDITS:
                _take(found, place / audit, f"{where}audit/{stage.name}/{Path(audit).name}")
    found.update(_report(chain, where))
    lines = []
    for name, data in found.items():
        text = data.decode("utf-8", errors="replace")
        secrets = redact.secrets_in(text)
        text = redact.without_secrets(text, secrets)
        lines += [f"{name}:{secret.line}: {secret.what}: blacked out" for secret in secrets]
        found[name] = redact.without_local_paths(text, root).encode()
    return found, lines


def _take(found: dict[str, bytes], path: Path, name: str) -> None:
    if path.is_file():
        found[name] = path.read_bytes()


def _report(chain: Chain, where: str) -> dict[str, bytes]:
    """The report of the run as it is now, written anew: an old one may be from halfway."""
    from solar_plugins.report.write import write_report

    with tempfile.TemporaryDirectory() as folder:
        files = write_report(chain.output_dir, folder)
        return {f"{where}{file.name}": file.read_bytes() for file in files}
