"""`solar verify`: a pack or an unpacked folder against its lock, and on request by running it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.chain.run.record import DONE
from solar_plugins.chain.run.run_folder import RunFolder, sha256
from solar_plugins.errors import SolarError
from solar_plugins.sharing import lock
from solar_plugins.sharing.lock import LockedInput, LockedStage
from solar_plugins.sharing.unpack import Pack

_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class LockDifference:
    """One thing that is not as the lock says.

    Attributes:
        what: One line.
        matters: Whether it makes `solar verify` fail. What is not here yet, or cannot be known,
            does not; nor do versions, which only make it likely that weights differ.
    """

    what: str
    matters: bool = True


def against_lock(pack: Pack, folder: Path | None) -> Iterator[LockDifference]:
    """What differs between a pack, or the folder that it was unpacked to, and the lock.

    Args:
        folder: Where it was unpacked; None for a pack that was not.
    """
    for name, file in pack.lock.files.items():
        if hashlib.sha256(pack.files[name]).hexdigest() != file.sha256:
            yield LockDifference(f"{name}: changed since it was packed.")
    here = lock.versions()
    for name, version in pack.lock.versions.items():
        if version != here.get(name):
            yield LockDifference(f"{name}: {version} then, {here.get(name)} here.", matters=False)
    for inputs in (pack.lock.models, pack.lock.datasets):
        for name, entry in (*inputs.hub.items(), *inputs.local.items()):
            yield from _input(name, entry, folder)
    if folder is not None:
        yield from _outputs(folder, pack.lock.chain, pack.lock.stages)
        if pack.lock.tiny and pack.lock.tiny_stages:
            yield from _outputs(folder, pack.lock.tiny, pack.lock.tiny_stages)


def _input(name: str, entry: LockedInput, folder: Path | None) -> Iterator[LockDifference]:
    if entry.source == "hub":
        if entry.revision is None:  # one that is known is what `solar run` reads
            yield LockDifference(f"{name}: its revision is not in the lock.", matters=False)
    elif folder is None:
        yield LockDifference(f"{name}: lies beside the pack, not in it.", matters=False)
    elif (digest := lock.digest_of(folder / name)) is None:
        yield LockDifference(f"{name}: not here yet; it is not part of the pack.", matters=False)
    elif digest != entry.sha256:
        yield LockDifference(f"{name}: other content than then.")


def _weights(stages: dict[str, LockedStage]) -> Iterator[tuple[str, str, str]]:
    """Stage, name and digest of every file of weights that a run made."""
    for stage, entry in stages.items():
        for name, digest in entry.outputs.items():
            if name.endswith(_WEIGHTS):
                yield stage, name, digest


def _outputs(
    folder: Path, chain_file: str, stages: dict[str, LockedStage]
) -> Iterator[LockDifference]:
    """Weights of a run in the folder, if there is one, against those of the run that was packed."""
    chain = load_chain(folder / chain_file, check_files=False)
    run = RunFolder(folder / chain.output_dir)
    records = {stage: run.read_record(stage) for stage in stages if stage in chain.stages}
    for stage, name, digest in _weights(stages):
        record = records.get(stage)
        if record is None or record.state != DONE or name not in record.outputs:
            continue
        yield from _weights_differ(
            run.output_dir, f"{stage}/{name}", digest, "gone since it was made here"
        )


def _weights_differ(folder: Path, name: str, digest: str, gone: str) -> Iterator[LockDifference]:
    if not (folder / name).is_file():
        yield LockDifference(f"{name}: {gone}.")
    elif sha256(folder / name) != digest:
        yield LockDifference(f"{name}: other weights than in the packed run.")


def rerun(
    pack: Pack, folder: Path, run: Callable[[Path, str, Path], int] | None = None
) -> Iterator[LockDifference]:
    """Run the chain at tiny size in a new place and compare its weights with the lock's.

    Args:
        folder: Where the pack is unpacked; local models and data are looked for there.
        run: Runs a chain of `folder` into another output folder and returns the exit status;
            `solar run` in a process of its own by default.

    Raises:
        SolarError: the pack has no chain at tiny size, its run was not packed, or it fails.
    """
    chain = pack.lock.tiny
    if chain is None:
        raise SolarError(f"{pack.source}: has no chain at tiny size (tiny/). Nothing was run.")
    recorded = list(_weights(pack.lock.tiny_stages or pack.lock.stages))
    if not recorded:
        found = f"{chain} was not run before it was packed: nothing to compare with"
        raise SolarError(f"{pack.source}: {found}. Nothing was run.")
    with tempfile.TemporaryDirectory() as place:
        output_dir = Path(place) / "outputs"
        status = (run or solar_run)(folder, chain, output_dir)
        if status != 0:
            raise SolarError(f"{chain}: solar run ended with exit status {status}, see above.")
        for stage, name, digest in recorded:
            yield from _weights_differ(output_dir, f"{stage}/{name}", digest, "was not made")


def solar_run(folder: Path, chain: str, output_dir: Path) -> int:
    """`solar run` of this installation, in a process of its own; returns its exit status."""
    command = [sys.executable, "-c", "from solar_plugins.cli import main; main()", "run", chain]
    command += ["--set", f"output_dir={output_dir}"]
    return subprocess.run(command, cwd=folder, check=False).returncode
