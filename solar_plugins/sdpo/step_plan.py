"""What stepwise DPO trains, in which order, and where a restarted run goes on.

sDPO (arXiv 2403.19270, section "Stepwise DPO") splits the preference data into T chunks and runs
DPO T times: at step t the reference model **and** the model that training starts from are the
model that step t-1 left behind, the SFT model for t = 1. SOLAR 10.7B-Instruct's alignment tuning
(arXiv 2312.15166, section 3.2, Table 6) uses it with whole data sets as chunks.

Nothing here is imported but the standard library: a plan is read from plain YAML values.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins import atomic
from solar_plugins.errors import SolarError, nearest
from solar_plugins.sdpo import checkpoints

MARKER = "sdpo_step.json"
EXAMPLE = "`- datasets: [{path: Intel/orca_dpo_pairs, type: chatml.intel, split: train}]`"

STEP_SETTINGS = ("learning_rate", "num_epochs", "rl_beta")
"""Training keys that a step may set for itself; the others are the recipe's, for all steps."""

RECIPE_SETTINGS = (
    "base_model",
    "rl",
    "rl_beta",
    "learning_rate",
    "lr_scheduler",
    "warmup_steps",
    "warmup_ratio",
    "num_epochs",
    "max_steps",
    "micro_batch_size",
    "gradient_accumulation_steps",
    "sequence_len",
    "seed",
    "optimizer",
    "weight_decay",
    "max_grad_norm",
    "bf16",
    "fp16",
    "chat_template",
    "val_set_size",
    "dpo_loss_type",
    "dpo_loss_weights",
    "dpo_label_smoothing",
    "dpo_use_weighting",
)
"""The recipe's keys that decide what a step's weights become: the same on resume, or refused."""


@dataclass(frozen=True)
class Step:
    """One DPO run of the chain, as the recipe gives it.

    Attributes:
        number: 1 for the first.
        datasets: Axolotl dataset entries, as plain YAML values.
        settings: the keys of `STEP_SETTINGS` that this step sets for itself.
    """

    number: int
    datasets: tuple[dict[str, Any], ...]
    settings: dict[str, float] = field(default_factory=dict)

    def note(self, count: int, recipe: dict[str, Any]) -> dict[str, Any]:
        """What names this step of `count` and decides what it trains, as plain JSON values."""
        settings = {key: recipe[key] for key in RECIPE_SETTINGS if recipe.get(key) is not None}
        settings |= self.settings | {"datasets": list(self.datasets)}
        note = {"step": self.number, "of": count, "settings": settings}
        return json.loads(json.dumps(note, default=str))


def folder(output_dir: str | Path, number: int) -> Path:
    """Where step `number` keeps its checkpoints and, in the end, its model."""
    return Path(output_dir) / f"step_{number}"


def parse_steps(block: Any) -> list[Step]:
    """Read the recipe's `sdpo:` block.

    Raises:
        SolarError: an unknown key, no steps, or a step without datasets.
    """
    if not isinstance(block, dict):
        raise SolarError(f"sdpo: {block!r} is no mapping. Write `steps:` with {EXAMPLE} under it.")
    _refuse_unknown(block, ("steps",), "sdpo")
    steps = block.get("steps")
    if not isinstance(steps, list) or not steps:
        raise SolarError(f"sdpo.steps: no steps. List at least one, for example {EXAMPLE}.")
    return [_parse_step(index, value) for index, value in enumerate(steps)]


def _parse_step(index: int, value: Any) -> Step:
    where = f"sdpo.steps[{index}]"
    if not isinstance(value, dict):
        raise SolarError(f"{where}: {value!r} is no mapping. A step looks like {EXAMPLE}.")
    _refuse_unknown(value, ("datasets", *STEP_SETTINGS), where)
    datasets = value.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise SolarError(
            f"{where}.datasets: no dataset for step {index + 1}. A step looks like {EXAMPLE}."
        )
    for position, dataset in enumerate(datasets):
        if not isinstance(dataset, dict) or not dataset.get("path"):
            raise SolarError(
                f"{where}.datasets[{position}]: {dataset!r} names no `path`. "
                f"A step looks like {EXAMPLE}."
            )
    settings = {}
    for key in STEP_SETTINGS:
        if value.get(key) is None:
            continue
        try:
            # YAML 1.1 reads 5e-7 (no point) as text; Axolotl's own keys forgive that too.
            settings[key] = float(value[key])
        except (TypeError, ValueError):
            settings[key] = -1.0
        if settings[key] <= 0:
            raise SolarError(f"{where}.{key}: {value[key]!r}. A number above 0 is needed.")
    return Step(index + 1, tuple(datasets), settings)


def _refuse_unknown(block: dict[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in block:
        if key not in known:
            raise SolarError(
                f"{where}.{key}: unknown key.{nearest(str(key), known)} "
                f"Known here: {', '.join(known)}."
            )


def check_recipe(recipe: dict[str, Any], steps: list[Step], trainer_cls: str) -> None:
    """Refuse what cannot be honoured together with stepwise DPO.

    Args:
        recipe: the Axolotl recipe as plain values, before Axolotl's own validation.
        steps: its parsed `sdpo.steps`.
        trainer_cls: the dotted path of our trainer, the one value that `trainer_cls` may have.

    Raises:
        SolarError: the first key that cannot be honoured, with the way out.
    """
    if recipe.get("rl") not in ("dpo", "ipo"):
        raise SolarError(f"rl: {recipe.get('rl')!r} with an sdpo block. Write `rl: dpo` (or ipo).")
    ours = [dataset["path"] for step in steps for dataset in step.datasets]
    given = recipe.get("datasets")
    if given and [dict(dataset).get("path") for dataset in given] != ours:
        raise SolarError(
            "datasets: given beside sdpo.steps, so it is unclear when to train on them. "
            "Move them into a step, under sdpo.steps[…].datasets."
        )
    if recipe.get("adapter"):
        raise SolarError(
            f"adapter: {recipe['adapter']} with an sdpo block. An adapter's reference would be the "
            "base model in every step, which is right for the first only. Remove `adapter` (all "
            "weights are trained), or merge the adapter first and start from the merged model."
        )
    if recipe.get("trainer_cls") not in (None, trainer_cls):
        raise SolarError(
            f"trainer_cls: {recipe['trainer_cls']} cannot take the steps' reference. "
            "Remove the line; StepwiseDPOPlugin brings its own trainer."
        )
    if recipe.get("resume_from_checkpoint"):
        raise SolarError(
            f"resume_from_checkpoint: {recipe['resume_from_checkpoint']} with an sdpo block. "
            "Remove the line: a restarted sDPO run finds the step and the checkpoint by itself."
        )
    for key, value, why in (
        ("precompute_ref_log_probs", False, "sDPO takes each step's reference from the policy"),
        ("dpo_use_liger_kernel", True, "Liger's loss cannot take precomputed log-probabilities"),
        ("use_ray", True, "Ray workers do not share the step folders"),
        ("streaming", True, "a stream cannot be read once for the reference and again to train"),
    ):
        if recipe.get(key) is value:
            raise SolarError(f"{key}: {str(value).lower()} with an sdpo block; {why}. Remove it.")
    if recipe.get("depth_up_scaling"):
        raise SolarError(
            "depth_up_scaling: in the same recipe as sdpo; from step 2 on the model would be grown "
            "again. Grow it in continued pretraining, and start sDPO from what that trains."
        )
    if (recipe.get("trl") or {}).get("beta") is not None:
        for step in steps:
            if "rl_beta" in step.settings:
                raise SolarError(
                    f"sdpo.steps[{step.number - 1}].rl_beta: trl.beta is set too and would win. "
                    "Remove trl.beta and write rl_beta."
                )


def finished_steps(
    output_dir: str | Path, steps: list[Step], recipe: dict[str, Any]
) -> list[dict[str, Any]]:
    """The markers of the steps that are done, from the first on without a gap.

    A step counts when its marker is there (it is written last, so a half-written model has none)
    and its reference was the model of the step before, as that is now.

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
        if done and done[-1]["model_digest"] != marker["reference_digest"]:
            break
        damaged = checkpoints.missing_files(where, marker["files"])
        if damaged:
            raise SolarError(
                f"{where}/{damaged[0]}: gone or cut short since the step ended. "
                f"Delete {where} to train that step again."
            )
        done.append(marker)
    return done


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
            path = f"sdpo.steps[{now['step'] - 1}].{key}" if key == "datasets" else key
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
