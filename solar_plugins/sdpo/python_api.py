"""Stepwise DPO for people who write Python: TRL's DPOConfig, data sets, and a model.

    >>> from trl import DPOConfig
    >>> from solar_plugins.seams.trl import load_weights
from solar_plugins.seams.trl import load_weights
from solar_plugins.sdpo import StepwiseDPO, TrainingStep
    >>> run = StepwiseDPO(                                          # doctest: +SKIP
    ...     model, tokenizer, DPOConfig("out", beta=0.1, num_train_epochs=1),
    ...     [TrainingStep(easy), TrainingStep(hard, learning_rate=2e-7)],
    ... )
    >>> run.train()                                                 # doctest: +SKIP
    >>> run.facts[0]["first_loss"]                                  # doctest: +SKIP
    0.6931471824645996

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
from solar_plugins.sdpo.step_plan import Step
from solar_plugins.sdpo.step_runner import PlannedStep, StepSequence
from solar_plugins.sdpo.trainer import StepTrainer
from solar_plugins.seams.trl import load_weights

_FIELDS = {field.name for field in dataclasses.fields(DPOConfig)}
_DECISIVE = {
    "learning_rate": "learning_rate",
    "beta": "rl_beta",
    "num_train_epochs": "num_epochs",
    "max_steps": "max_steps",
    "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "max_length": "sequence_len",
    "loss_type": "dpo_loss_type",
    "label_smoothing": "dpo_label_smoothing",
    "lr_scheduler_type": "lr_scheduler",
    "warmup_steps": "warmup_steps",
    "optim": "optimizer",
    "weight_decay": "weight_decay",
    "seed": "seed",
    "bf16": "bf16",
    "fp16": "fp16",
}
"""DPOConfig's fields that decide a step's weights, by the names under which markers keep them."""

_OF_THE_RUN = ("output_dir", "precompute_ref_log_probs", "push_to_hub", "deepspeed", "fsdp")


class TrainingStep:
    """One step: its preference data, and the DPOConfig fields that differ from the run's."""

    def __init__(
        self,
        train_dataset: Dataset,
        eval_dataset: Dataset | dict[str, Dataset] | None = None,
        policy: str = "previous",
        **settings: Any,
    ):
        """Describe a step.

        Args:
            train_dataset: rows in one of the formats that TRL's DPOTrainer takes.
            eval_dataset: the step's evaluation set.
            policy: what training starts from: "previous" (the paper) or "base". The reference is
                the model of the step before, and that of the first step the given model.
            **settings: fields of DPOConfig, for this step only.

        Raises:
            SolarError: no data, an unknown field, or one that the run decides.
        """
        for name in settings:
            if name not in _FIELDS or name in _OF_THE_RUN:
                known = _FIELDS - set(_OF_THE_RUN)
                raise SolarError(
                    f"TrainingStep.{name}: no field of DPOConfig that a step may set."
                    f"{nearest(name, known)}"
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
        self.train_dataset = train_dataset
        self.eval_dataset = eval_dataset
        self.policy = policy
        self.settings = settings


class StepwiseDPO:
    """All steps of stepwise DPO (arXiv 2403.19270) around one model.

    The model is trained in place. `args.output_dir` gets a folder per step and, in the end, the
    last model; no second model is ever in memory.

    Attributes:
        facts: what is known of the finished steps, as in the Axolotl plugin's proof.
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
        """Plan the steps; nothing is computed yet.

        Args:
            model: what the first step starts from, and its reference.
            processing_class: the tokenizer.
            args: TRL's configuration, for all steps.
            steps: at least one.
            peft_config: trains an adapter, e.g. `peft.LoraConfig`; `model` is then a plain model.
            callbacks: as TRL's.
            logps_folder: where reference log-probabilities stay for later runs; None for nowhere
                but the steps' own folders.

        Raises:
            SolarError: no steps, or options that cannot be honoured together.
        """
        if not steps:
            raise SolarError("StepwiseDPO.steps: no steps. Give at least one TrainingStep.")
        if args.use_liger_kernel:
            raise SolarError(
                "DPOConfig.use_liger_kernel: true; Liger's loss cannot take precomputed "
                "log-probabilities. Set it to False."
            )
        self.args = args
        self.steps = steps
        self.facts: list[dict[str, Any]] = []
        self._model, self._tokenizer = model, processing_class
        self._peft_config, self._callbacks = peft_config, callbacks
        self._logps_folder = Path(logps_folder) if logps_folder else None
        self._plans = [
            Step(
                number=number,
                datasets=({"sha256": _digest(step.train_dataset)},),
                settings={
                    _DECISIVE[name]: value
                    for name, value in step.settings.items()
                    if name in _DECISIVE
                },
                policy=step.policy,
                index=number - 1,
            )
            for number, step in enumerate(steps, 1)
        ]

    def train(self) -> PreTrainedModel:
        """Train the steps that are not yet done. Returns the model of the last one.

        Raises:
            SolarError: the finished steps in `args.output_dir` were trained with other settings.
        """
        output_dir = Path(self.args.output_dir)
        recipe = {ours: getattr(self.args, theirs) for theirs, ours in _DECISIVE.items()}
        done = step_records.finished_steps(output_dir, self._plans, recipe)
        todo = self._plans[len(done) :]
        from_done = done and (not todo or todo[0].starts_from() == "previous")
        start = step_records.folder(output_dir, done[-1]["step"]) if from_done else None
        planned = [
            PlannedStep(
                step=plan,
                note=plan.note(len(self.steps), recipe),
                rows=len(self.steps[plan.index].train_dataset),
                optimizer_steps=self._updates(plan.index),
            )
            for plan in todo
        ]
        first = self._trainer((todo or self._plans[-1:])[0].index, self._model, start)
        model = first.model

        def build(index: int) -> StepTrainer:
            return self._trainer(todo[index].index, model, None)

        sequence = first.sequence = StepSequence(output_dir, planned, done, build)
        first.train()
        self.facts = sequence.facts
        first.save_model(str(output_dir), _internal_call=True)
        return model

    def _arguments(self, index: int) -> DPOConfig:
        args = copy.deepcopy(self.args)
        for name, value in self.steps[index].settings.items():
            setattr(args, name, [value] if name == "loss_type" and type(value) is str else value)
        args.output_dir = str(step_records.folder(self.args.output_dir, index + 1))
        args.precompute_ref_log_probs = True
        args.push_to_hub = False
        return args

    def _updates(self, index: int) -> int:
        args = self._arguments(index)
        if args.max_steps > 0:
            return args.max_steps
        per_update = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
        per_epoch = -(-len(self.steps[index].train_dataset) // per_update)
        return int(per_epoch * args.num_train_epochs)

    def _trainer(self, index: int, model: Any, start: Path | None) -> StepTrainer:
        step = self.steps[index]
        trainer = StepTrainer(
            model,
            None,
            self._arguments(index),
            start_adapter=str(start) if start and self._peft_config is not None else None,
            peft_config=self._peft_config if model is self._model else None,
            train_dataset=step.train_dataset,
            eval_dataset=step.eval_dataset,
            processing_class=self._tokenizer,
            callbacks=self._callbacks,
        )
        if start and self._peft_config is None:
            load_weights(trainer, str(start))  # into the model that is there
        trainer.shared_logps = self._logps_folder
        return trainer


def _digest(rows: Dataset) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return digest.hexdigest()
