"""The recipe's `sdpo:` block: what stepwise DPO trains, in which order, and with which reference.

sDPO (arXiv 2403.19270, section "Stepwise DPO") splits the preference data into T chunks and runs
DPO T times: at step t the reference model **and** the model that training starts from are the
model that step t-1 left behind, the SFT model for t = 1. SOLAR 10.7B-Instruct's alignment tuning
(arXiv 2312.15166, section 3, Table 6) uses it with whole data sets as chunks.
"""

from __future__ import annotations

import json
import random
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    StrictBool,
    StrictInt,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes import typed_block
from solar_plugins.watch.args import WatchedArgs

EXAMPLE = "`- datasets: [{path: Intel/orca_dpo_pairs, type: chatml.intel, split: train}]`"

STEP_SETTINGS = (
    *("learning_rate", "num_epochs", "max_steps", "rl_beta", "warmup_steps", "warmup_ratio"),
    *("lr_scheduler", "lr_scheduler_kwargs", "cosine_min_lr_ratio", "cosine_constant_lr_ratio"),
    *("micro_batch_size", "gradient_accumulation_steps", "eval_batch_size", "sequence_len", "seed"),
    *("optimizer", "weight_decay", "max_grad_norm", "adam_beta1", "adam_beta2", "adam_epsilon"),
    *("dpo_loss_type", "dpo_loss_weights", "dpo_label_smoothing", "dpo_use_weighting"),
    *("val_set_size", "test_datasets", "early_stopping_patience", "load_best_model_at_end"),
    *("eval_steps", "eval_strategy", "save_steps", "save_strategy", "save_total_limit"),
    "logging_steps",
)
"""Axolotl's training keys that a step may set for itself; the others are the recipe's, for all."""

CONFLICTING_KEYS = {
    "warmup_ratio": ("warmup_steps",),
    "num_epochs": ("max_steps",),
    "eval_strategy": ("eval_steps",),
    "save_strategy": ("save_steps",),
    "test_datasets": ("val_set_size",),
    "val_set_size": ("test_datasets",),
}
"""Keys of the recipe that Axolotl would follow in place of the step's key, so they are unset."""

_BOOKKEEPING = (
    *("eval_batch_size", "eval_steps", "eval_strategy"),
    *("save_steps", "save_strategy", "save_total_limit", "logging_steps"),
)

WEIGHT_AFFECTING_KEYS = (
    *("base_model", "rl", "bf16", "fp16", "chat_template", "global_batch_size", "flan_filter"),
    *("excess_length_strategy", "adapter", "lora_model_dir", "lora_r", "lora_alpha"),
    *("lora_dropout", "lora_target_modules", "lora_target_linear", "lora_target_parameters"),
    *("lora_modules_to_save", "peft_use_dora", "peft_use_rslora", "peft_init_lora_weights"),
    *("load_in_4bit", "load_in_8bit"),
    *(key for key in STEP_SETTINGS if key not in _BOOKKEEPING),
)
"""The keys that decide what a step's weights become: the same on resume, or refused."""


def _reference(given: Any) -> Any:
    path = given.get("path") if isinstance(given, dict) and len(given) == 1 else None
    if given in ("previous", "fixed") or (path and isinstance(path, str)):
        return given
    hint = nearest(str(given), ("previous", "fixed"))
    if not hint and isinstance(given, str):
        hint = f" Did you mean `reference: {{path: {given}}}`?"
    raise ValueError(
        f"{given!r}. Write previous (the model of the step before), fixed (the model that the run "
        f"starts from) or {{path: MODEL}}.{hint}"
    )


Reference = Annotated[
    Literal["previous", "fixed"] | dict[Literal["path"], str], BeforeValidator(_reference)
]
Policy = Literal["previous", "base"]


class Step(BaseModel):
    """One DPO run of the chain.

    Attributes:
        number: 1 for the first that is trained.
        index: its place in the recipe's `sdpo.steps`, from 0.
        settings: the keys of `STEP_SETTINGS` that this step sets for itself.
        reference: the model of the step before (the paper), the run's start or a model.
        policy: what training starts from: the model of the step before, or the run's start.
    """

    number: int
    index: int
    datasets: list[dict[str, Any]]
    settings: dict[str, Any]
    reference: Reference = "previous"
    policy: Policy = "previous"

    @model_serializer
    def _as_written(self) -> dict[str, Any]:
        own = {"datasets": self.datasets, "reference": self.reference, "policy": self.policy}
        return own | self.settings

    @property
    def where(self) -> str:
        """Its YAML path."""
        return f"sdpo.steps[{self.index}]"

    @property
    def reference_path(self) -> str | None:
        """The reference model that the recipe names, if it names one."""
        return self.reference["path"] if isinstance(self.reference, dict) else None

    @property
    def starts_from(self) -> str:
        """Which model the policy is at the start: "base", or "previous" from step 2 on."""
        return "base" if self.number == 1 else self.policy

    @property
    def refers_to(self) -> str:
        """Which model the reference is: "base", "previous" (from step 2 on) or "path"."""
        if self.reference_path:
            return "path"
        return "base" if self.number == 1 or self.reference == "fixed" else "previous"

    def note(self, count: int, recipe: dict[str, Any]) -> dict[str, Any]:
        """What names this step of `count` and decides what it trains, as plain JSON values."""
        given = {**recipe, **self.settings}
        settings = {key: given[key] for key in WEIGHT_AFFECTING_KEYS if given.get(key) is not None}
        settings["datasets"] = self.datasets
        # The paper's choices go without saying: a run that makes them has nothing to compare.
        reference = self.reference_path or self.reference
        choices = {"reference": reference, "policy": self.policy}
        settings |= {key: value for key, value in choices.items() if value != "previous"}
        block = recipe.get("sdpo") or {}
        order = {key: block.get(key) for key in ("order_by", "split")}
        settings |= {key: value for key, value in order.items() if value not in (None, "given")}
        note = {"step": self.number, "of": count, "settings": settings}
        return json.loads(json.dumps(note, default=str))


class StepwiseDPOConfig(BaseModel):
    """`sdpo:`, the steps of stepwise DPO."""

    model_config = {"extra": "forbid"}

    steps: Annotated[
        list[Step], WithJsonSchema({"type": "array", "minItems": 1, "items": {"type": "object"}})
    ] = Field(
        description=(
            "One DPO run each; its reference and its start are the model of the step before "
            "(arXiv 2403.19270). A step has `datasets`, and may have `reference`, `policy` and "
            f"its own {', '.join(STEP_SETTINGS)}."
        ),
    )
    order_by: Literal["given", "random", "reward_accuracy"] = Field(
        default="given",
        description="The order of the steps: as listed, drawn by the seed, or from easy to hard.",
    )
    split: Annotated[StrictInt, Field(ge=2)] | None = Field(
        default=None, description="Cut the data of the one step into so many steps."
    )
    reference: Reference = Field(
        default="previous",
        description="Of the steps that name none: previous (the paper), fixed, or {path: MODEL}.",
    )
    policy: Policy = Field(
        default="previous", description="What the steps that name none start from."
    )
    live_reference: StrictBool = Field(
        default=False, description="Keep a reference model in memory, as plain DPO does."
    )
    reference_batches: Literal["as_trained", "by_length"] = Field(
        default="as_trained",
        description="Batches of the reference pass: the first epoch's, or rows of like length.",
    )

    @model_validator(mode="before")
    @classmethod
    def _number_steps(cls, block: Any) -> Any:
        if not isinstance(block, dict):
            return block  # which pydantic refuses
        _refuse_unknown(block, cls.model_fields, "sdpo")
        block = {key: value for key, value in block.items() if value is not None}
        steps = block.get("steps")
        if not isinstance(steps, list) or not steps:
            raise SolarError(f"sdpo.steps: no steps. List at least one, for example {EXAMPLE}.")
        everyones = {key: block[key] for key in ("reference", "policy") if key in block}
        return block | {"steps": [_numbered(i, step, everyones) for i, step in enumerate(steps)]}

    @model_validator(mode="after")
    def _refuse_conflicts(self) -> StepwiseDPOConfig:
        if self.split and len(self.steps) > 1:
            raise SolarError(
                f"sdpo.split: {self.split} beside {len(self.steps)} steps. Put all datasets into "
                "one step, which is then cut; or take `split` out."
            )
        if not self.split and self.order_by != "given" and len(self.steps) == 1:
            raise SolarError(
                f"sdpo.order_by: {self.order_by} with a single step. List several steps, or cut it "
                "with `split: 2`."
            )
        return self

    @property
    def count(self) -> int:
        """How many steps are trained."""
        return self.split or len(self.steps)

    def in_order(self, order: list[int]) -> list[Step]:
        """The steps as they are trained, by their places in the recipe (or all of one: `split`)."""
        order = [0] * self.split if self.split else order
        return [self.steps[i].model_copy(update={"number": n}) for n, i in enumerate(order, 1)]

    def random_order(self, seed: int) -> list[int]:
        """A seeded order of the steps: the paper's ablation of the easy-to-hard order."""
        order = [*range(len(self.steps))]
        random.Random(seed).shuffle(order)
        return order


class StepwiseDPOArgs(WatchedArgs):
    """What StepwiseDPOPlugin adds to an Axolotl recipe."""

    sdpo: StepwiseDPOConfig | None = None


def parse(block: Any) -> StepwiseDPOConfig:
    """Read the recipe's `sdpo:` block.

    Raises:
        SolarError: an unknown key, no steps, a step without datasets, or a value out of range.
    """
    write = {"": f"Write `steps:` with {EXAMPLE} under it."}
    return typed_block.read(StepwiseDPOConfig, block, "sdpo", write)


def _numbered(index: int, step: Any, everyones: dict[str, Any]) -> dict[str, Any]:
    where = f"sdpo.steps[{index}]"
    if not isinstance(step, dict):
        raise SolarError(f"{where}: {step!r} is no mapping. A step looks like {EXAMPLE}.")
    _refuse_unknown(step, ("datasets", "reference", "policy", *STEP_SETTINGS), where)
    given = {key: value for key, value in (everyones | step).items() if value is not None}
    settings = {key: given.pop(key) for key in STEP_SETTINGS if key in given}
    for key in ("learning_rate", "num_epochs", "rl_beta"):
        if key in settings:
            settings[key] = _above_zero(settings[key], f"{where}.{key}")
    for key, entries in (("datasets", given.get("datasets")), *settings.items()):
        if key not in ("datasets", "test_datasets"):
            continue
        if not isinstance(entries, list) or not entries:
            raise SolarError(
                f"{where}.{key}: no dataset for step {index + 1}. A step looks like {EXAMPLE}."
            )
        for place, entry in enumerate(entries):
            if not isinstance(entry, dict) or not entry.get("path"):
                raise SolarError(
                    f"{where}.{key}[{place}]: {entry!r} names no `path`. "
                    f"A step looks like {EXAMPLE}."
                )
    return {**given, "settings": settings, "index": index, "number": index + 1}


def _above_zero(given: Any, where: str) -> float:
    try:
        # YAML 1.1 reads 5e-7 (no point) as text; Axolotl's own keys forgive that too.
        number = float(given)
    except (TypeError, ValueError):
        number = -1.0
    if not number > 0:
        raise SolarError(f"{where}: {given!r}. A number above 0 is needed.")
    return number


def _refuse_unknown(block: dict[str, Any], known: Any, where: str) -> None:
    for key in block:
        if key not in known:
            raise SolarError(
                f"{where}.{key}: unknown key.{nearest(str(key), known)} "
                f"Known here: {', '.join(known)}."
            )
