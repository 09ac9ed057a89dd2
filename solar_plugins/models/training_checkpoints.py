"""From which checkpoint an interrupted training can resume.

A process that is killed while it saves leaves a newest checkpoint that cannot be loaded, and
Axolotl's ``auto_resume_from_checkpoints`` takes the newest. So the files inside are checked.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

from solar_plugins.errors import SolarError
from solar_plugins.models import safetensors_header

_PREFIX = "checkpoint-"
_ASIDE = "incomplete-"
_SHARDS = "*optim_states.pt"
"""DeepSpeed's, one for each process."""
_TORCHRUN = "axolotl train RECIPE --launcher torchrun -- --nproc-per-node={saved}"


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` from which training can resume, or None.

    Newer incomplete ones are renamed to ``incomplete-checkpoint-N``, so that nothing
    else uses them.
    """
    newest = newest_in(folder)
    for checkpoint in reversed(checkpoints_in(folder)):
        if checkpoint == newest:
            break
        aside = checkpoint.with_name(_ASIDE + checkpoint.name)
        shutil.rmtree(aside, ignore_errors=True)
        os.rename(checkpoint, aside)
    return newest


def remove_incomplete(folder: Path) -> None:
    """Delete what `newest_whole` renamed; called when the stage is done."""
    for path in folder.glob(f"{_ASIDE}{_PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)


def remove_all(folder: Path) -> None:
    """Delete every checkpoint in `folder` and in the folders of its sDPO steps."""
    for place in (folder, *folder.glob("step_*")):
        for checkpoint in checkpoints_in(place):
            shutil.rmtree(checkpoint, ignore_errors=True)


def newest_in(folder: Path) -> Path | None:
    """The newest checkpoint in `folder` from which training can resume; moves nothing."""
    found = reversed(checkpoints_in(folder))
    return next((path for path in found if why_not_whole(path) is None), None)


def refuse_other_processes(
    checkpoint: Path | None, processes: int, way_out: str = _TORCHRUN
) -> None:
    """Refuse to resume on another number of processes than saved the checkpoint.

    DeepSpeed's ZeRO cannot, and says so once the models are loaded.

    Args:
        checkpoint: Where training would resume, if it does.
        processes: How many there are now.
        way_out: How to start `{saved}` of them.

    Raises:
        SolarError: with both numbers.
    """
    engine = sorted(checkpoint.glob("global_step*")) if checkpoint else []
    saved = len(list(engine[-1].glob(_SHARDS))) if engine else processes
    if checkpoint and saved != processes:
        raise SolarError(
            f"{checkpoint} was saved by {saved} processes under DeepSpeed's ZeRO, and this run "
            f"would resume it on {processes}. Start {saved} ({way_out.format(saved=saved)}), or "
            f"delete {checkpoint.parent}/checkpoint-* to begin there from the start."
        )


def why_not_whole(checkpoint: Path) -> str | None:
    """Why training cannot resume from the checkpoint, or None if it is complete."""
    step = int(checkpoint.name.removeprefix(_PREFIX))
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return "no trainer_state.json"
    except ValueError:
        return "trainer_state.json is cut short"
    if state.get("global_step") != step:
        return f"trainer_state.json is of step {state.get('global_step')}"
    sharded = checkpoint / "pytorch_model_fsdp_0"  # FSDP: torch writes .metadata last
    if sharded.is_dir():
        if not all(
            (path / ".metadata").is_file() for path in (sharded, checkpoint / "optimizer_0")
        ):
            return "FSDP's shards are cut short"
    else:
        try:
            safetensors_header.read_model(checkpoint)
        except SolarError as error:
            return str(error)
    random_states = sorted(checkpoint.glob("rng_state*.pth"))
    if not random_states:
        return "no rng_state.pth"
    engine = sorted(checkpoint.glob("global_step*"))
    scheduler = checkpoint / "scheduler.pt"  # in DeepSpeed's shards if its own file names one
    archives = [*random_states, *([scheduler] if not engine or scheduler.exists() else [])]
    if engine:  # DeepSpeed keeps the optimizer's shards in a folder of its own
        if not (checkpoint / "latest").is_file():
            return "no file 'latest' beside DeepSpeed's shards"
        shards = sorted(engine[-1].glob(_SHARDS))
        if not shards:
            return f"no optimizer states in {engine[-1].name}"
        archives.extend(shards)
    elif not sharded.is_dir():
        archives.append(checkpoint / "optimizer.pt")
    for archive in archives:
        if not archive.is_file():
            return f"no {archive.name}"
        # torch.save writes a zip file, whose table of contents comes last.
        if not zipfile.is_zipfile(archive):
            return f"{archive.name} is cut short"
    return None


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, oldest first."""
    found = [
        path
        for path in folder.glob(f"{_PREFIX}*")
        if path.is_dir() and path.name.removeprefix(_PREFIX).isdigit()
    ]
    return sorted(found, key=lambda path: int(path.name.removeprefix(_PREFIX)))
