"""What a run folder says of its steps: finished ones, checkpoints to resume from, prepared data.

A step's marker and a checkpoint's note are written last, so what a kill left half-written has
none.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.models import training_checkpoints
from solar_plugins.sdpo.args import Step

MARKER = "sdpo_step.json"
CHECKPOINT_NOTE = "sdpo_checkpoint.json"


def folder(output_dir: str | Path, number: int) -> Path:
    """Where step `number` keeps its checkpoints and, in the end, its model."""
    return Path(output_dir) / f"step_{number}"


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None if there is none that can be read as one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return value if isinstance(value, dict) else None


def finished_steps(
    output_dir: str | Path, steps: list[Step], recipe: dict[str, Any]
) -> list[dict[str, Any]]:
    """The markers of the steps that are done, from the first on without a gap.

    A step counts when its marker is there and its reference was the model of the step before, as
    that is now, where that was asked for.

    Raises:
        SolarError: a finished step was trained with other settings than the recipe has now, or
            its weights are no longer as they were saved.
    """
    done: list[dict[str, Any]] = []
    for step in steps:
        where = folder(output_dir, step.number)
        marker = read_json(where / MARKER)
        if marker is None:
            break
        refuse_changes(marker, step.note(len(steps), recipe), where)
        if done and not _follows(marker, done[-1], step):
            break
        for name in marker["files"].items() - _weights_in(where).items():
            raise SolarError(
                f"{where}/{name[0]}: gone or cut short since the step ended. "
                f"Delete {where} to train that step again."
            )
        done.append(marker)
    return done


def _follows(marker: dict[str, Any], before: dict[str, Any], step: Step) -> bool:
    """Whether the step of `marker` was trained on the model that the step before has left."""
    model = before["model_digest"]
    return (step.refers_to != "previous" or marker["reference_digest"] == model) and (
        step.starts_from != "previous" or marker.get("start_digest", model) == model
    )


def refuse_changes(saved: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Refuse to go on from the `saved` note in `where` under another recipe, whose note is `now`.

    Raises:
        SolarError: the number of steps, or a setting of this step, is not the saved one.
    """
    anew = f"delete {where.parent}/step_* (or choose another output_dir) to start anew."
    if saved["of"] != now["of"]:
        raise SolarError(
            f"sdpo.steps: {now['of']} now, but {where} was trained as step {saved['step']} of "
            f"{saved['of']}. Put the steps back to go on, or {anew}"
        )
    for key in sorted(saved["settings"].keys() | now["settings"].keys()):
        before, after = saved["settings"].get(key), now["settings"].get(key)
        if before != after:
            of_the_step = key in ("datasets", "reference", "policy")
            path = f"sdpo.steps[{now['step'] - 1}].{key}" if of_the_step else key
            raise SolarError(
                f"{path}: {_short(after)} now, {_short(before)} when {where} was trained. "
                f"Put it back to go on, or {anew}"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


def write_marker(where: Path, facts: dict[str, Any]) -> None:
    """Declare the model in `where` complete; the last thing a step does.

    Raises:
        SolarError: no weights were written.
    """
    files = _weights_in(where)
    if not files:
        raise SolarError(
            f"{where}: no weights were saved. Under DeepSpeed ZeRO-3 write "
            '"stage3_gather_16bit_weights_on_model_save": true in the DeepSpeed file.'
        )
    atomic.write_json(where / MARKER, {**facts, "files": files})


def _weights_in(where: Path) -> dict[str, int]:
    """Size in bytes by name."""
    files = (*where.glob("*model*.safetensors"), *where.glob("*model*.bin"))
    return {path.name: path.stat().st_size for path in sorted(files)}


def whole_checkpoints(step_folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The checkpoints of a step that training can resume from, newest first, with their notes."""
    found = reversed(training_checkpoints.checkpoints_in(step_folder))
    whole = [path for path in found if training_checkpoints.why_not_whole(path) is None]
    noted = [(path, read_json(path / CHECKPOINT_NOTE)) for path in whole]
    return [(path, note) for path, note in noted if note is not None]


def drop_half_written(prepared: Path) -> list[Path]:
    """Delete the datasets in `prepared` that a killed run did not write to their end; return them.

    Axolotl takes any folder that is not empty for prepared data, and a start after a kill would
    fail on it for ever. `datasets` writes dataset_info.json last.
    """
    if not prepared.is_dir():
        return []
    with FileLock(str(prepared / "datasets_prep.lock")):  # Axolotl's own: its holder may write
        dropped = [
            path
            for path in sorted(prepared.iterdir())
            if any(path.glob("*.arrow")) and read_json(path / "dataset_info.json") is None
        ]
        for path in dropped:
            shutil.rmtree(path)
    return dropped
