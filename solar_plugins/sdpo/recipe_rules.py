"""What cannot be honoured together with stepwise DPO, refused before anything is loaded."""

from __future__ import annotations

from typing import Any, cast

from solar_plugins.errors import SolarError
from solar_plugins.sdpo.settings import YIELDS
from solar_plugins.sdpo.step_plan import Step, StepPlan

LIVE = "or write `sdpo: {live_reference: true, …}`, which keeps a reference model in memory"

_ALWAYS = (
    ("use_ray", "Ray workers do not share the step folders"),
    ("streaming", "a stream cannot be read once for the reference and again to train"),
    ("pretraining_dataset", "a stream cannot be read once for the reference and again to train"),
    ("processor_type", "its reference pass reads token ids only, and images would be lost"),
    ("relora", "it merges the adapter while it trains, and the reference with it"),
    ("rl_adapter_ref_model", "the reference of a step has the adapter of the step before in it"),
)

# PEFT changes the base weights for these, so a step's adapter means nothing on the base as it is
# on disk, where a restarted run (and whoever merges it) would put it.
_BASE_STAYS = (None, True, False, "true", "false", "gaussian", "orthogonal")


def check_recipe(recipe: dict[str, Any], plan: StepPlan, trainer_cls: str) -> None:
    """Refuse what cannot be honoured together with stepwise DPO.

    Args:
        recipe: the Axolotl recipe as plain values, before Axolotl's own validation.
        plan: its parsed `sdpo:` block.
        trainer_cls: the dotted path of our trainer, the one value that `trainer_cls` may have.

    Raises:
        SolarError: the first key that cannot be honoured, with the way out.
    """
    if recipe.get("rl") not in ("dpo", "ipo"):
        raise SolarError(f"rl: {recipe.get('rl')!r} with an sdpo block. Write `rl: dpo` (or ipo).")
    ours = [dataset["path"] for step in plan.steps for dataset in step.datasets]
    given = recipe.get("datasets")
    if given and _paths(given) != ours:
        raise SolarError(
            "datasets: given beside sdpo.steps, so it is unclear when to train on them. "
            "Move them into a step, under sdpo.steps[…].datasets."
        )
    _check_adapter(recipe)
    _check_trainer(recipe, plan, trainer_cls)
    for key, why in _ALWAYS:
        if recipe.get(key):
            raise SolarError(f"{key}: {_yaml(recipe[key])} with an sdpo block; {why}. Remove it.")
    if recipe.get("context_parallel_size") not in (None, 1):
        raise SolarError(
            f"context_parallel_size: {recipe['context_parallel_size']} with an sdpo block; each "
            "process would see a part of every answer. Remove it."
        )
    if recipe.get("depth_up_scaling"):
        raise SolarError(
            "depth_up_scaling: in the same recipe as sdpo; from step 2 on the model would be grown "
            "again. Grow it in continued pretraining, and start sDPO from what that trains."
        )
    for step in plan.steps:
        _check_step(recipe, step)


def _check_trainer(recipe: dict[str, Any], plan: StepPlan, trainer_cls: str) -> None:
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
    precompute = recipe.get("precompute_ref_log_probs")
    if plan.live_reference and precompute:
        raise SolarError(
            "precompute_ref_log_probs: true with sdpo.live_reference: true. Remove one of them."
        )
    if plan.live_reference and recipe.get("adapter"):
        raise SolarError(
            f"sdpo.live_reference: true with adapter: {recipe['adapter']}. The reference of an "
            "adapter is no model of its own; remove it, its stored log-probabilities cost nothing."
        )
    if plan.live_reference:
        return
    if precompute is False:
        raise SolarError(
            "precompute_ref_log_probs: false with an sdpo block; sDPO takes each step's reference "
            f"from the policy. Remove it, {LIVE}."
        )
    if recipe.get("dpo_use_liger_kernel"):
        raise SolarError(
            "dpo_use_liger_kernel: true with an sdpo block; Liger's loss cannot take precomputed "
            f"log-probabilities. Remove it, {LIVE}."
        )


def _check_adapter(recipe: dict[str, Any]) -> None:
    adapter = recipe.get("adapter")
    if not adapter:
        return
    if adapter not in ("lora", "qlora"):
        raise SolarError(
            f"adapter: {adapter} with an sdpo block. Its weights are not known to be carried from "
            "step to step; write lora or qlora, or remove the line (all weights are trained)."
        )
    init = recipe.get("peft_init_lora_weights")
    loftq = _block(recipe, "peft").get("loftq_config")
    if loftq or init not in _BASE_STAYS:
        key = "peft.loftq_config" if loftq else f"peft_init_lora_weights: {init}"
        raise SolarError(
            f"{key} with an sdpo block; it changes the base weights in memory, and a step's "
            "adapter would be loaded on the unchanged ones when the run goes on. Remove it."
        )


def _check_step(recipe: dict[str, Any], step: Step) -> None:
    if "rl_beta" in step.settings and _block(recipe, "trl").get("beta") is not None:
        raise SolarError(
            f"{step.where}.rl_beta: trl.beta is set too and would win. "
            "Remove trl.beta and write rl_beta."
        )
    for key, rivals in YIELDS.items():
        for rival in rivals:
            if step.settings.get(key) in (None, "steps"):  # save_strategy: steps, and save_steps
                continue
            if rival in step.settings:
                raise SolarError(
                    f"{step.where}.{key}: beside {rival}, and only one of them counts. Remove one."
                )
    now = recipe | step.settings
    if recipe.get("rl") == "ipo":
        for key in ("dpo_loss_type", "dpo_loss_weights", "dpo_label_smoothing"):
            if now.get(key):
                where = f"{step.where}.{key}" if key in step.settings else key
                raise SolarError(
                    f"{where}: {_yaml(now[key])} with rl: ipo, which does not read it. "
                    "Remove it, or write rl: dpo."
                )
    if now.get("early_stopping_patience"):
        evals, saves = now.get("eval_steps"), now.get("save_steps")
        numbers = all(isinstance(every, int | float) and every > 0 for every in (evals, saves))
        if not numbers or cast(float, saves) % cast(float, evals):
            where = step.where if "early_stopping_patience" in step.settings else ""
            raise SolarError(
                f"{where}{'.' if where else ''}early_stopping_patience: "
                f"{now['early_stopping_patience']} with eval_steps: {_yaml(evals)} and save_steps: "
                f"{_yaml(saves)}. Set both, save_steps to a multiple of eval_steps."
            )


def _paths(datasets: Any) -> Any:
    """The paths of dataset entries, plain or as Axolotl's schema has typed them."""
    try:
        return [dict(dataset).get("path") for dataset in datasets]
    except (TypeError, ValueError):  # no list, or an entry without keys
        return datasets


def _block(recipe: dict[str, Any], key: str) -> dict[str, Any]:
    block = recipe.get(key) or {}
    if not isinstance(block, dict):
        raise SolarError(f"{key}: {_yaml(block)} found. A block of keys is needed; or remove it.")
    return block


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)
