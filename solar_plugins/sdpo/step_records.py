"""Which steps of a run are finished, and whether the recipe is still the one they were trained by.

A step's marker is written last, so a step that was killed has none.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.sdpo import checkpoints
from solar_plugins.sdpo.step_plan import Step

MARKER = "sdpo_step.json"


def folder(output_dir: str | Path, number: int) -> Path:
    """Where step `number` keeps its checkpoints and, in the end, its model."""
    return Path(output_dir) / f"step_{number}"


def finished_steps(
    output_dir: str | Path, steps: list[Step], recipe: dict[str, Any]
) -> list[dict[str, Any]]:
    """The markers of the steps that are done, from the first on without a gap.

    A step counts when its marker is there (it is written last, so a half-written model has none)
    and its reference was the model of the step before, as that is now, where that was asked for.

    Raises:
        SolarError: a finished step was trained with other settings than the recipe has now, or
            its weights are no longer as they were saved.
    """
    done: list[dict[str, Any]] = []
    for step in steps:
        where = folder(output_dir, step.number)
        marker = checkpoints.read_json(where / MARKER)
        if marker is None:
            break
        refuse_changes(marker, step.note(len(steps), recipe), where)
        if done and not follows(marker, done[-1], step):
            break
        damaged = checkpoints.missing_files(where, marker["files"])
        if damaged:
            raise SolarError(
                f"{where}/{damaged[0]}: gone or cut short since the step ended. "
                f"Delete {where} to train that step again."
            )
        done.append(marker)
    return done


def follows(marker: dict[str, Any], before: dict[str, Any], step: Step) -> bool:
    """Whether the step of `marker` was trained on the model that the step before has left."""
    model = before["model_digest"]
    return (step.refers_to() != "previous" or marker["reference_digest"] == model) and (
        step.starts_from() != "previous" or marker.get("start_digest", model) == model
    )


def refuse_changes(saved: dict[str, Any], now: dict[str, Any], where: Path) -> None:
    """Refuse to go on from what `where` holds under another recipe.

    Args:
        saved: the note of the step or of the checkpoint, as it was saved.
        now: the step's note from the recipe as it is now (`Step.note`).
        where: the folder, for the message.

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
    files = checkpoints.files_in(where, "*.safetensors") | checkpoints.files_in(where, "*.bin")
    weights = {name: size for name, size in files.items() if "model" in name}
    if not weights:
        raise SolarError(
            f"{where}: no weights were saved. Under DeepSpeed ZeRO-3 write "
            '"stage3_gather_16bit_weights_on_model_save": true in the DeepSpeed file.'
        )
    atomic.write_json(where / MARKER, {**facts, "files": weights})
