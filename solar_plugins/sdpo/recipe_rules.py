"""What cannot be honoured together with stepwise DPO, refused before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from solar_plugins.errors import SolarError
from solar_plugins.sdpo.args import CONFLICTING_KEYS, Step, StepwiseDPOConfig

LIVE = "or write `sdpo: {live_reference: true, …}`, which keeps a reference model in memory"

_ALWAYS = {
    "resume_from_checkpoint": "a restarted sDPO run finds the step and the checkpoint by itself",
    "use_ray": "Ray workers do not share the step folders",
    "streaming": "a stream cannot be read once for the reference and again to train",
    "pretraining_dataset": "a stream cannot be read once for the reference and again to train",
    "processor_type": "its reference pass reads token ids only, and images would be lost",
    "relora": "it merges the adapter while it trains, and the reference with it",
    "rl_adapter_ref_model": "the reference of a step has the adapter of the step before in it",
    "context_parallel_size": "each process would see a part of every answer",
    "depth_up_scaling": "from step 2 on it would grow the model again; a stage before does it once",
}

# PEFT changes the base weights for others, so a step's adapter means nothing on the base as it is
# on disk, where a restarted run (and whoever merges it) would put it.
_BASE_STAYS = (None, True, False, "true", "false", "gaussian", "orthogonal")


def check_recipe(recipe: dict[str, Any], plan: StepwiseDPOConfig, trainer_cls: str) -> None:
    """Refuse what cannot be honoured together with stepwise DPO.

    Args:
        recipe: the Axolotl recipe as plain values, before Axolotl's own validation.
        plan: its parsed `sdpo:` block.
        trainer_cls: the dotted path of our trainer, the one value that `trainer_cls` may have.

    Raises:
        SolarError: the first key that cannot be honoured, with the way out.
    """
    for fault in _faults(recipe, plan, trainer_cls):
        raise SolarError(fault)


def _faults(recipe: dict[str, Any], plan: StepwiseDPOConfig, trainer_cls: str) -> Iterator[str]:
    def found(key: str) -> str:
        return f"{key}: {_yaml(recipe[key])} with an sdpo block"

    if recipe.get("rl") not in ("dpo", "ipo"):
        yield f"rl: {recipe.get('rl')!r} with an sdpo block. Write `rl: dpo` (or ipo)."
    ours = [dataset["path"] for step in plan.steps for dataset in step.datasets]
    if recipe.get("datasets") and _paths(recipe["datasets"]) != ours:
        yield (
            "datasets: given beside sdpo.steps, so it is unclear when to train on them. "
            "Move them into a step, under sdpo.steps[…].datasets."
        )
    adapter = recipe.get("adapter")
    if adapter not in (None, "", False, "lora", "qlora"):
        yield (
            f"{found('adapter')}. Its weights are not known to be carried from step to step; write "
            "lora or qlora, or remove the line (all weights are trained)."
        )
    init = recipe.get("peft_init_lora_weights")
    loftq = _block(recipe, "peft").get("loftq_config")
    if adapter and (loftq or init not in _BASE_STAYS):
        key = "peft.loftq_config" if loftq else f"peft_init_lora_weights: {init}"
        yield (
            f"{key} with an sdpo block; it changes the base weights in memory, and a step's "
            "adapter would be loaded on the unchanged ones when the run goes on. Remove it."
        )
    if recipe.get("trainer_cls") not in (None, trainer_cls):
        yield (
            f"trainer_cls: {recipe['trainer_cls']} cannot take the steps' reference. "
            "Remove the line; StepwiseDPOPlugin brings its own trainer."
        )
    if plan.live_reference:
        if recipe.get("precompute_ref_log_probs"):
            yield "precompute_ref_log_probs: true with sdpo.live_reference: true. Remove one."
        if adapter:
            yield (
                f"sdpo.live_reference: true with adapter: {adapter}. The reference of an adapter "
                "is no model of its own; remove it, its stored log-probabilities cost nothing."
            )
    elif recipe.get("precompute_ref_log_probs") is False:
        why = "sDPO takes each step's reference from the policy"
        yield f"{found('precompute_ref_log_probs')}; {why}. Remove it, {LIVE}."
    elif recipe.get("dpo_use_liger_kernel"):
        why = "Liger's loss cannot take precomputed log-probabilities"
        yield f"{found('dpo_use_liger_kernel')}; {why}. Remove it, {LIVE}."
    for key, why in _ALWAYS.items():
        if recipe.get(key) and (key, recipe[key]) != ("context_parallel_size", 1):
            yield f"{found(key)}; {why}. Remove it."
    for step in plan.steps:
        yield from _step_faults(recipe, step)


def _step_faults(recipe: dict[str, Any], step: Step) -> Iterator[str]:
    own = step.settings
    now = recipe | own

    def where(key: str) -> str:
        return f"{step.where}.{key}" if key in own else key

    if "rl_beta" in own and _block(recipe, "trl").get("beta") is not None:
        yield f"{where('rl_beta')}: trl.beta is set too and would win. Remove trl.beta."
    for key, rivals in CONFLICTING_KEYS.items():
        for rival in rivals:
            # `save_strategy: steps` goes with save_steps.
            if own.get(key) not in (None, "steps") and rival in own:
                yield f"{where(key)}: beside {rival}; only one of them counts. Remove one."
    for key in ("dpo_loss_type", "dpo_loss_weights", "dpo_label_smoothing"):
        if recipe.get("rl") == "ipo" and now.get(key):
            yield (
                f"{where(key)}: {_yaml(now[key])} with rl: ipo, which does not read it. "
                "Remove it, or write rl: dpo."
            )
    patience, evals, saves = map(now.get, ("early_stopping_patience", "eval_steps", "save_steps"))
    numbers = [every for every in (evals, saves) if isinstance(every, int | float) and every > 0]
    if patience and (len(numbers) < 2 or numbers[1] % numbers[0]):
        yield (
            f"{where('early_stopping_patience')}: {patience} with eval_steps: {_yaml(evals)} and "
            f"save_steps: {_yaml(saves)}. Set both, save_steps to a multiple of eval_steps."
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
