"""One `axolotl train` of all steps: what is loaded, measured and built, and when.

Before Axolotl loads the policy: the data of all unfinished steps, their order, and the reference
log-probabilities of a reference that the policy will not be (one model at a time, freed again).
Then the policy; `StepSequence` walks the steps around it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axolotl.common.datasets import TrainDatasetMeta
from axolotl.core.trainers.dpo.trainer import AxolotlDPOTrainer
from axolotl.integrations.base import PluginManager
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from axolotl.utils.trainer import setup_trainer

from solar_plugins import atomic
from solar_plugins.errors import SolarError
from solar_plugins.run_record import is_first_process
from solar_plugins.sdpo import difficulty, step_records, weights
from solar_plugins.sdpo.args import CONFLICTING_KEYS, STEP_SETTINGS, Step, StepwiseDPOConfig
from solar_plugins.sdpo.in_axolotl import models, step_data
from solar_plugins.sdpo.step_runner import START, PlannedStep, StepSequence, digest_as_loaded
from solar_plugins.sdpo.trainer import StepTrainer
from solar_plugins.seams.axolotl import mark_as_checked

LOG = get_logger("axolotl.solar_plugins.sdpo")
ORDER = "sdpo_order.json"
LOGPS_FOLDER = "sdpo_reference"


class AxolotlStepTrainer(StepTrainer, AxolotlDPOTrainer):
    """`StepTrainer` with Axolotl's optimizers, schedules and tags.

    Attributes:
        starts_on: the adapter that the next trainer trains on; Axolotl's builder has no room for
            it. None for a new one, and for a model that has its adapter.
    """

    starts_on: str | None = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, start_adapter=type(self).starts_on, **kwargs)


class AxolotlSession:
    """One run of a `recipe` with the block `plan`, whose steps have the typed `settings`.

    `cfg` is Axolotl's validated config, which is made the recipe of one step after the other.
    """

    def __init__(
        self,
        cfg: DictDefault,
        plan: StepwiseDPOConfig,
        recipe: dict[str, Any],
        settings: list[dict[str, Any]],
    ):
        self.cfg, self.plan, self.recipe, self.settings = cfg, plan, recipe, settings
        self.base_model, self.output_dir = cfg.base_model, Path(cfg.output_dir)
        self._of_all = {key: cfg[key] for key in (*STEP_SETTINGS, "batch_size")}
        every = iter(cfg.datasets)
        self._datasets = [[next(every) for _ in step.datasets] for step in plan.steps]
        self.measured: list[dict[str, Any]] = []
        self.sequence: StepSequence | None = None
        self.first: StepTrainer | None = None
        self.current = plan.steps[0]
        AxolotlStepTrainer.by_length = plan.reference_batches == "by_length"
        AxolotlStepTrainer.shared_logps = step_data.prepared_folder(cfg) / LOGPS_FOLDER
        self._loaded: dict[int, TrainDatasetMeta] = {}
        self._chunks: list[list[int]] = []

    # Before the policy is loaded

    def prepare(self) -> TrainDatasetMeta:
        """Everything up to the policy. Returns the data of the first step that is to be trained."""
        for step in self.plan.steps:
            if step.reference_path:
                where = f"{step.where}.reference.path"
                models.check_same_shape(self.cfg, step.reference_path, where)
        # All data are loaded now, so that a fault in the last step's is known before the first is
        # trained; they are memory-mapped files.
        steps = self.in_order()
        self.sequence = sequence = StepSequence(
            self.output_dir, steps, self.recipe, self._size, self.build
        )
        done = len(sequence.done)
        if done and self.recipe.get("auto_resume_from_checkpoints") is False:
            raise SolarError(
                f"auto_resume_from_checkpoints: false, but {self.output_dir} has {done} finished "
                f"steps. Delete {self.output_dir}/step_* (or choose another output_dir) to start "
                "anew, or remove the line to go on from them."
            )
        if not self.plan.live_reference:
            self._compute_references_of_others(sequence.todo)
        self._keep_start(sequence)
        data = self.enter(sequence.entry)
        start = str(sequence.starts_in) if sequence.starts_in else None
        AxolotlStepTrainer.starts_on = self.recipe.get("lora_model_dir")
        if start and self.cfg.adapter:
            AxolotlStepTrainer.starts_on = start
        elif start:
            # The tokenizer stays the base's: it is the same one, and the prepared data are found.
            self.cfg.base_model = self.cfg.base_model_config = start
        if done:
            LOG.info(f"sDPO: {done} of {len(steps)} steps are done already")
        return data

    def load_all(self) -> TrainDatasetMeta:
        """The data of all steps, for `axolotl preprocess`. Returns the first step's."""
        first, *_ = [self._load(step) for step in self.plan.steps]
        return first

    def in_order(self) -> list[Step]:
        """The steps as they are trained: as given, drawn by the seed, or measured."""
        plan, seed = self.plan, self.cfg.seed
        if plan.order_by == "reward_accuracy":
            return plan.in_order(self._measured_order())
        if plan.split:
            rows = len(self._load(plan.steps[0]).train_dataset)
            self._chunks = difficulty.chunks(rows, plan.split, plan.order_by, seed)
        return plan.in_order(
            plan.random_order(seed) if plan.order_by == "random" else [*range(plan.count)]
        )

    def _measured_order(self) -> list[int]:
        keys = ("base_model", "sdpo", "seed", "sequence_len", "chat_template", "lora_model_dir")
        of = json.dumps({key: self.recipe.get(key) for key in keys}, sort_keys=True, default=str)
        path, key = self.output_dir / ORDER, hashlib.sha256(of.encode()).hexdigest()
        found = step_records.read_json(path)
        if found is None or found["key"] != key:
            found = {"key": key, **self.measure()}
            if is_first_process():
                atomic.write_json(path, found)
        self._chunks, self.measured = found["chunks"], found["measured"]
        return found["order"]

    def measure(self) -> dict[str, Any]:
        """How hard each step's data (each chunk's, with `split`) is for the starting model.

        Returns:
            `order`: the places of the steps from easy to hard; `chunks`: with `split`, the rows
            of each; `measured`: `difficulty.measured` of each step or chunk, in that order.
        """
        plan = self.plan
        with models.loaded(self.cfg, self.base_model) as loaded:
            sets = [
                (", ".join(str(d["path"]) for d in step.datasets), self._pairs(loaded, step))
                for step in plan.steps
            ]
        chunks: list[list[int]] = []
        if plan.split:
            name, pairs = sets[0]
            chunks = difficulty.chunks(len(pairs), plan.split, plan.order_by, self.cfg.seed, pairs)
            sets = [
                (f"{name}, chunk {n}", [pairs[i] for i in chunk])
                for n, chunk in enumerate(chunks, 1)
            ]
        found = [difficulty.measured(*one) for one in sets]
        if plan.split:
            return {"order": [0], "chunks": chunks, "measured": found}
        order = difficulty.easy_to_hard([one["reward_accuracy"] for one in found])
        return {"order": order, "chunks": [], "measured": [found[place] for place in order]}

    def _pairs(self, loaded: Any, step: Step) -> list[difficulty.Pair]:
        self._enter_recipe(step)
        data = self._load(step)
        with self._measuring(loaded, data, step.note(self.plan.count, self.recipe)) as trainer:
            logps = trainer.measure(all_rows=True)
        lost = len(data.train_dataset) - len(logps)
        if lost:
            raise SolarError(
                f"{step.where}.datasets: {lost} prompts are longer than sequence_len "
                f"({self.cfg.sequence_len}), so no answer is left of them. Raise it, or take the "
                "rows out."
            )
        return [(chosen, rejected) for chosen, rejected in logps.tolist()]

    def _size(self, step: Step) -> tuple[int, int]:
        data = self.enter(step)
        return len(data.train_dataset), self.cfg.max_steps or data.total_num_steps

    def _compute_references_of_others(self, planned: list[PlannedStep]) -> None:
        """Let each reference that the policy will not be compute its log-probabilities now."""
        wanted: dict[str, list[PlannedStep]] = {}
        for place, one in enumerate(planned):
            # In memory when the step is reached; `StepSequence` goes from one to the other.
            met = {one.step.starts_from, *(["previous"] if place else [])}
            if one.step.refers_to not in met:
                wanted.setdefault(self._path_of(one.step), []).append(one)
        for path, steps in wanted.items():
            LOG.info(
                f"sDPO: {path} computes the reference of steps {[p.step.number for p in steps]}"
            )
            with models.loaded(self.cfg, path) as loaded:
                for one in steps:
                    with self._measuring(loaded, self.enter(one.step), one.note) as trainer:
                        trainer.measure()
                        one.reference_digest = trainer.reference_digest

    def _keep_start(self, sequence: StepSequence) -> None:
        """Store the starting weights for later steps, if the policy will not bring them."""
        path = self.output_dir / START
        returns = any(planned.step.starts_from == "base" for planned in sequence.todo[1:])
        if not returns or not sequence.starts_in or path.is_file():
            return
        with (
            models.loaded(self.cfg, self.base_model) as loaded,
            self._measuring(loaded, self.enter(sequence.entry), {}) as trainer,
        ):
            weights.save_trainable(trainer.model, path, trainer.args.should_save)

    def _path_of(self, step: Step) -> str:
        """The model that a step refers to, on disk."""
        if step.refers_to == "previous":
            return str(step_records.folder(self.output_dir, step.number - 1))
        return step.reference_path or self.base_model

    @contextmanager
    def _measuring(
        self, loaded: Any, data: TrainDatasetMeta, note: dict[str, Any]
    ) -> Iterator[AxolotlStepTrainer]:
        """A trainer around a model beside the policy, which is its own reference."""
        model, peft_config, tokenizer, adapter = loaded
        AxolotlStepTrainer.starts_on = adapter or self.recipe.get("lora_model_dir")
        trainer = self._trainer(data, model, tokenizer, peft_config=peft_config)
        trainer.step = note
        trainer.start_digest = trainer.reference_digest = digest_as_loaded(trainer)
        yield trainer
        trainer.release()
        trainer.model = trainer.model_wrapped = None  # the caller still has the trainer

    def _trainer(
        self, data: TrainDatasetMeta, model: Any, tokenizer: Any, **more: Any
    ) -> AxolotlStepTrainer:
        return setup_trainer(
            cfg=self.cfg,
            train_dataset=data.train_dataset,
            eval_dataset=data.eval_dataset,
            model=model,
            tokenizer=tokenizer,
            processor=None,
            total_num_steps=data.total_num_steps,
            **more,
        )

    # The data and the recipe of one step

    def enter(self, step: Step) -> TrainDatasetMeta:
        """Make the config the recipe of `step`, and return its data."""
        self._enter_recipe(step)
        data = self._load(step)
        return (
            step_data.chunk(self.cfg, data, self._chunks[step.number - 1]) if self._chunks else data
        )

    def _load(self, step: Step) -> TrainDatasetMeta:
        if step.index not in self._loaded:
            self._enter_recipe(step)
            self._loaded[step.index] = step_data.load(self.cfg, step)
        return self._loaded[step.index]

    def _enter_recipe(self, step: Step) -> None:
        """Make the config the recipe of `step`; Axolotl holds one object through a run."""
        self.current = step
        cfg, own, of_all = self.cfg, self.settings[step.index], self._of_all
        rivals = (rival for key in own for rival in CONFLICTING_KEYS.get(key, ()))
        # Axolotl compares val_set_size with 0; the others are unset by None.
        unset = {rival: 0.0 if rival == "val_set_size" else None for rival in rivals}
        values = {**of_all, **unset, **own}
        if "eval_batch_size" not in own and "eval_batch_size" not in self.recipe:
            values["eval_batch_size"] = values["micro_batch_size"]
        for what in ("save", "eval"):
            # Axolotl turned these into a share of all steps, by the recipe's own epochs.
            key, per_epoch = f"{what}_steps", cfg[f"{what}s_per_epoch"]
            if per_epoch and key not in own and values[key]:
                values[key] = 1.0 / (per_epoch * values["num_epochs"])
        for key in ("micro_batch_size", "gradient_accumulation_steps"):
            # Axolotl's batch_size has the rows of an update over all processes.
            values["batch_size"] = values["batch_size"] * values[key] // of_all[key]
        for key, value in values.items():
            cfg[key] = value
        cfg.datasets = self._datasets[step.index]
        for entry in (*cfg.datasets, *(cfg.test_datasets or ())):
            mark_as_checked(entry)

    # With the policy

    def build(self, step: Step) -> StepTrainer:
        """The trainer of a later step, as Axolotl makes one, around the model as it is now."""
        assert self.first is not None  # `take` came before
        data = self.enter(step)
        AxolotlStepTrainer.starts_on = None  # the model has its adapter
        tokenizer, live = self.first.processing_class, self.live_reference(step)
        trainer = self._trainer(data, self.first.model, tokenizer, model_ref=live)
        PluginManager.get_instance().post_trainer_create(self.cfg, trainer)
        return trainer

    def live_reference(self, step: Step) -> Any:
        """The reference model of a run that asks for one; TRL makes that of an adapter itself."""
        todo = self.sequence and self.sequence.todo
        if not todo or not self.plan.live_reference or self.cfg.adapter:
            return None
        return models.live_reference(self.cfg, self._path_of(step))

    def take(self, trainer: Any) -> None:
        """Hand the first trainer that Axolotl makes its sequence."""
        if not isinstance(trainer, StepTrainer):
            raise SolarError(
                f"plugins: another plugin's trainer ({type(trainer).__name__}) was built, which "
                "cannot take the steps' reference. Remove that plugin from the sDPO recipe."
            )
        if self.first is None:
            self.first = trainer
            trainer.sequence = self.sequence

    def facts(self) -> dict[str, Any]:
        """What the run leaves as its proof."""
        steps = self.sequence.facts if self.sequence else []
        left_out = ("settings", "files")
        return {
            "order_by": self.plan.order_by,
            **({"difficulty": self.measured} if self.measured else {}),
            "steps": [{k: v for k, v in step.items() if k not in left_out} for step in steps],
        }
