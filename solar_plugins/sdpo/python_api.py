"""Stepwise DPO for people who write Python: TRL's DPOConfig, data sets, and a model.

    run = StepwiseDPO(
        model, tokenizer, DPOConfig("out", beta=0.1, num_train_epochs=1),
        [TrainingStep(easy), TrainingStep(hard, learning_rate=2e-7)],
    )
    run.train()
    run.facts[0]["first_loss"]  # 0.6931471824645996

Started again after a kill, the same lines go on where the run was.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from trl import DPOConfig

from solar_plugins.errors import SolarError, nearest
from solar_plugins.sdpo import step_records
from solar_plugins.sdpo.args import Policy, Step
from solar_plugins.sdpo.step_runner import StepSequence
from solar_plugins.sdpo.trainer import StepTrainer
from solar_plugins.seams.trl import load_weights

_AXOLOTLS_NAMES = {
    "beta": "rl_beta",
    "num_train_epochs": "num_epochs",
    "per_device_train_batch_size": "micro_batch_size",
    "max_length": "sequence_len",
    "loss_type": "dpo_loss_type",
    "label_smoothing": "dpo_label_smoothing",
    "lr_scheduler_type": "lr_scheduler",
    "optim": "optimizer",
}
_SAME_NAMES = ("learning_rate", "max_steps", "gradient_accumulation_steps", "warmup_steps")
_WEIGHT_AFFECTING = _AXOLOTLS_NAMES | {
    name: name for name in (*_SAME_NAMES, "weight_decay", "seed", "bf16", "fp16")
}
"""DPOConfig's fields that decide a step's weights, by the names under which markers keep them."""

_OF_THE_RUN = ("output_dir", "precompute_ref_log_probs", "push_to_hub", "deepspeed", "fsdp")
_OF_A_STEP = {field.name for field in dataclasses.fields(DPOConfig)} - {*_OF_THE_RUN}


class TrainingStep:
    """One step: its preference data (as TRL's DPOTrainer takes them) and what it sets for itself.

    Args:
        policy: what training starts from: "previous" (the paper) or "base". The reference is
            the model of the step before, and that of the first step the given model.
        **settings: fields of DPOConfig, for this step only.

    Raises:
        SolarError: no data, an unknown field, or one that the run decides.
    """

    def __init__(
        self,
        train_dataset: Dataset,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        policy: Policy = "previous",
        **settings: Any,
    ):
        for name in settings.keys() - _OF_A_STEP:
            raise SolarError(
                f"TrainingStep.{name}: no field of DPOConfig that a step may set."
                f"{nearest(name, _OF_A_STEP)}"
            )
        if not isinstance(train_dataset, Dataset):
            raise SolarError(
                f"TrainingStep.train_dataset: {type(train_dataset).__name__}. A datasets.Dataset "
                "is needed: its rows are read for the reference, and again to train."
            )
        if len(train_dataset) == 0:
            raise SolarError("TrainingStep.train_dataset: no rows. Give each step some.")
        if policy not in ("previous", "base"):
            raise SolarError(f"TrainingStep.policy: {policy!r}. Write 'previous' or 'base'.")
        self.train_dataset, self.eval_dataset = train_dataset, eval_dataset
        self.policy, self.settings = policy, settings


class StepwiseDPO:
    """All steps of stepwise DPO (arXiv 2403.19270) around one model.

    The model is trained in place. `args.output_dir` gets a folder per step and, in the end, the
    last model; no second model is ever in memory.

    Args (`args` and `callbacks` are TRL's, for all steps):
        model: what the first step starts from, and its reference.
        processing_class: the tokenizer.
        peft_config: trains an adapter, e.g. `peft.LoraConfig`; `model` is then a plain model.
        logps_folder: where reference log-probabilities stay for later runs; None for nowhere
            but the steps' own folders.

    Attributes:
        facts: what is known of the finished steps, as in the Axolotl plugin's proof.

    Raises:
        SolarError: no steps, or options that cannot be honoured together.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        processing_class: PreTrainedTokenizerBase,
        args: DPOConfig,
        steps: list[TrainingStep],
        peft_config: Any = None,
        callbacks: list[TrainerCallback] | None = None,
        logps_folder: str | Path | None = None,
    ):
        if not steps:
            raise SolarError("StepwiseDPO.steps: no steps. Give at least one TrainingStep.")
        if args.use_liger_kernel:
            raise SolarError(
                "DPOConfig.use_liger_kernel: true; Liger's loss cannot take precomputed "
                "log-probabilities. Set it to False."
            )
        self.args, self.steps = args, steps
        self.facts: list[dict[str, Any]] = []
        self._model, self._tokenizer = model, processing_class
        self._peft_config, self._callbacks = peft_config, callbacks
        self._logps_folder = Path(logps_folder) if logps_folder else None

    def train(self) -> PreTrainedModel:
        """Train the steps that are not yet done. Returns the model of the last one.

        Raises:
            SolarError: the finished steps in `args.output_dir` were trained with other settings.
        """
        output_dir = Path(self.args.output_dir)
        recipe = {ours: getattr(self.args, theirs) for theirs, ours in _WEIGHT_AFFECTING.items()}
        plans = [_plan(index, step) for index, step in enumerate(self.steps)]
        sequence = StepSequence(
            output_dir, plans, recipe, self._size, lambda step: self._trainer(step, first.model)
        )
        first = self._trainer(sequence.entry, self._model, sequence.starts_in)
        first.sequence = sequence
        first.train()
        self.facts = sequence.facts
        first.save_model(str(output_dir), _internal_call=True)
        return first.model

    def _arguments(self, index: int) -> DPOConfig:
        args = copy.deepcopy(self.args)
        for name, value in self.steps[index].settings.items():
            setattr(args, name, [value] if name == "loss_type" and type(value) is str else value)
        args.output_dir = str(step_records.folder(self.args.output_dir, index + 1))
        args.precompute_ref_log_probs = True
        args.push_to_hub = False
        return args

    def _size(self, plan: Step) -> tuple[int, int]:
        args, rows = self._arguments(plan.index), len(self.steps[plan.index].train_dataset)
        per_update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        updates = int(-(-rows // per_update) * args.num_train_epochs)
        return rows, args.max_steps if args.max_steps > 0 else updates

    def _trainer(self, plan: Step, model: Any, start: Path | None = None) -> StepTrainer:
        step, has_adapter = self.steps[plan.index], self._peft_config is not None
        trainer = StepTrainer(
            model,
            None,
            self._arguments(plan.index),
            start_adapter=str(start) if start and has_adapter else None,
            peft_config=self._peft_config if model is self._model else None,
            train_dataset=step.train_dataset,
            eval_dataset=step.eval_dataset,
            processing_class=self._tokenizer,
            callbacks=self._callbacks,
        )
        if start and not has_adapter:
            load_weights(trainer, str(start))  # into the model that is there
        trainer.shared_logps = self._logps_folder
        return trainer


def _plan(index: int, step: TrainingStep) -> Step:
    digest = hashlib.sha256()
    for row in step.train_dataset:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    data, own = [{"sha256": digest.hexdigest()}], step.settings
    settings = {ours: own[name] for name, ours in _WEIGHT_AFFECTING.items() if name in own}
    return Step(number=index + 1, index=index, datasets=data, settings=settings, policy=step.policy)
