"""One `axolotl train` of all steps: what is loaded, measured and built, and when.

Before Axolotl loads the policy: the data of all unfinished steps, their order, and the reference
log-probabilities of a reference that the policy will not be (one model at a time, freed again).
Then the policy; `StepSequence` walks the steps around it.
"""

from __future__ import annotations

import hashlib
import json
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
from solar_plugins.sdpo import checkpoints, difficulty, step_records, weights
from solar_plugins.sdpo.in_axolotl import models, step_data
from solar_plugins.sdpo.in_axolotl.step_recipe import StepRecipes
from solar_plugins.sdpo.step_plan import Step, StepPlan
from solar_plugins.sdpo.step_runner import START, PlannedStep, StepSequence, digest_as_loaded
from solar_plugins.sdpo.trainer import StepTrainer

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
    """The state of one run of a recipe with an `sdpo:` block."""

    def __init__(self, cfg: DictDefault, plan: StepPlan, recipe: dict[str, Any]):
        """Take hold of the config that Axolotl trains by.

        Args:
            cfg: Axolotl's validated config.
            plan: the parsed block.
            recipe: the recipe as it was written, as plain values.
        """
        self.cfg = cfg
        self.plan = plan
        self.recipe = recipe
        self.base_model = cfg.base_model
        self.output_dir = Path(cfg.output_dir)
        self.recipes = StepRecipes(cfg, plan, recipe)
        self.measured: list[dict[str, Any]] = []
        self.done: list[dict[str, Any]] = []
        self.todo: list[Step] = []
        self.sequence: StepSequence | None = None
        self.first: StepTrainer | None = None
        self.current = plan.steps[0]
        self._loaded: dict[int, TrainDatasetMeta] = {}
        self._chunks: list[list[int]] = []

    # Before the policy is loaded

    def prepare(self) -> TrainDatasetMeta:
        """Everything up to the policy. Returns the data of the first step that is to be trained."""
        for step in self.plan.steps:
            if step.reference_path:
                where = f"{step.where}.reference.path"
                models.check_same_shape(self.cfg, step.reference_path, where)
        steps = self.in_order()
        self.done = step_records.finished_steps(self.output_dir, steps, self.recipe)
        if self.done and self.recipe.get("auto_resume_from_checkpoints") is False:
            raise SolarError(
                f"auto_resume_from_checkpoints: false, but {self.output_dir} has {len(self.done)} "
                f"finished steps. Delete {self.output_dir}/step_* (or choose another output_dir) "
                "to start anew, or remove the line to go on from them."
            )
        self.todo = steps[len(self.done) :]
        # All are loaded now, so that a fault in the last step's data is known before the first is
        # trained; they are memory-mapped files.
        planned = [self._planned(step, len(steps)) for step in self.todo]
        if not self.plan.live_reference:
            self._compute_references_of_others(planned)
        self._keep_start()
        self.sequence = StepSequence(self.output_dir, planned, self.done, self.build)
        first = self.todo[0] if self.todo else steps[-1]
        data = self.enter(first)
        self._start_from(first)
        if self.done:
            LOG.info(f"sDPO: {len(self.done)} of {len(steps)} steps are done already")
        return data

    def load_all(self) -> TrainDatasetMeta:
        """The data of all steps, for `axolotl preprocess`. Returns the first step's."""
        first, *_ = [self._load(step) for step in self.plan.steps]
        return first

    def in_order(self) -> list[Step]:
        """The steps as they are trained: as given, drawn by the seed, or measured."""
        plan, seed = self.plan, self.cfg.seed
        if plan.order_by == "reward_accuracy":
            order = self._measured_order()
        else:
            order = plan.random_order(seed) if plan.order_by == "random" else [*range(plan.count)]
            if plan.split:
                rows = len(self._load(plan.steps[0]).train_dataset)
                self._chunks = difficulty.chunks(rows, plan.split, plan.order_by, seed)
        return plan.in_order(order)

    def _measured_order(self) -> list[int]:
        path, key = self.output_dir / ORDER, self._order_key()
        found = checkpoints.read_json(path)
        if found is None or found["key"] != key:
            found = {"key": key, **self.measure()}
            if is_first_process():
                atomic.write_json(path, found)
        self._chunks, self.measured = found["chunks"], found["measured"]
        return found["order"]

    def _order_key(self) -> str:
        keys = ("base_model", "sdpo", "seed", "sequence_len", "chat_template", "lora_model_dir")
        of = {key: self.recipe.get(key) for key in keys}
        return hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()

    def measure(self) -> dict[str, Any]:
        """How hard each step's data (each chunk's, with `split`) is for the starting model.

        Returns:
            `order`: the places of the steps from easy to hard; `chunks`: with `split`, the rows
            of each; `measured`: `difficulty.Difficulty` of each step or chunk, in that order.
        """
        sets = []
        with models.loaded(self.cfg, self.base_model) as loaded:
            for step in self.plan.steps:
                pairs = self._pairs(loaded, step)
                sets.append((", ".join(str(d["path"]) for d in step.datasets), pairs))
        if self.plan.split:
            name, pairs = sets[0]
            rows = difficulty.chunks(
                len(pairs), self.plan.split, self.plan.order_by, self.cfg.seed, pairs
            )
            found = [
                difficulty.measured(f"{name}, chunk {n}", [pairs[i] for i in chunk])
                for n, chunk in enumerate(rows, 1)
            ]
            return {"order": [0], "chunks": rows, "measured": [one.as_json() for one in found]}
        found = [difficulty.measured(*one) for one in sets]
        order = difficulty.easy_to_hard(found)
        return {"order": order, "chunks": [], "measured": [found[i].as_json() for i in order]}

    def _pairs(self, loaded: Any, step: Step) -> list[difficulty.Pair]:
        self._enter_recipe(step)
        meta = self._load(step)
        trainer = self._measuring_trainer(loaded, meta)
        trainer.step = step.note(self.plan.count, self.recipe)
        trainer.start_digest = trainer.reference_digest = digest_as_loaded(trainer)
        logps = trainer.measure()
        trainer.release()
        if len(logps) != len(meta.train_dataset):
            raise SolarError(
                f"{step.where}.datasets: {len(meta.train_dataset) - len(logps)} prompts are longer "
                f"than sequence_len ({self.cfg.sequence_len}), so no answer is left of them. Raise "
                "it, or take the rows out."
            )
        return [(chosen, rejected) for chosen, rejected in logps.tolist()]

    def _planned(self, step: Step, count: int) -> PlannedStep:
        data = self.enter(step)
        return PlannedStep(
            step=step,
            note=step.note(count, self.recipe),
            rows=len(data.train_dataset),
            optimizer_steps=self.cfg.max_steps or data.total_num_steps,
        )

    def _compute_references_of_others(self, planned: list[PlannedStep]) -> None:
        """Let each reference that the policy will not be compute its log-probabilities now."""
        wanted: dict[str, list[PlannedStep]] = {}
        for place, one in enumerate(planned):
            refers, starts = one.step.refers_to(), one.step.starts_from()
            # In memory when the step is reached; `StepSequence` goes from one to the other.
            met = {starts} if place == 0 else {"previous", starts}
            if refers not in met:
                wanted.setdefault(self._path_of(one.step), []).append(one)
        for path, steps in wanted.items():
            LOG.info(
                f"sDPO: {path} computes the reference of steps {[p.step.number for p in steps]}"
            )
            with models.loaded(self.cfg, path) as loaded:
                for one in steps:
                    trainer = self._measuring_trainer(loaded, self.enter(one.step))
                    trainer.step = one.note
                    trainer.start_digest = trainer.reference_digest = digest_as_loaded(trainer)
                    trainer.measure()
                    one.reference_digest = trainer.reference_digest
                    trainer.release()
                    del trainer

    def _keep_start(self) -> None:
        """Store the starting weights for later steps, if the policy will not bring them."""
        path = self.output_dir / START
        returns = any(step.starts_from() == "base" for step in self.todo[1:])
        if not returns or self.todo[0].starts_from() == "base" or path.is_file():
            return
        with models.loaded(self.cfg, self.base_model) as loaded:
            trainer = self._measuring_trainer(loaded, self.enter(self.todo[0]))
            weights.save_trainable(trainer.model, path, trainer.args.should_save)
            trainer.release()
            del trainer

    def _path_of(self, step: Step) -> str:
        """The model that a step refers to, on disk."""
        if step.refers_to() == "previous":
            return str(step_records.folder(self.output_dir, step.number - 1))
        return step.reference_path or self.base_model

    def _measuring_trainer(self, loaded: Any, data: TrainDatasetMeta) -> AxolotlStepTrainer:
        model, tokenizer, peft_config, adapter = loaded
        AxolotlStepTrainer.starts_on = adapter or self.recipe.get("lora_model_dir")
        return self._equip(
            setup_trainer(
                cfg=self.cfg,
                train_dataset=data.train_dataset,
                eval_dataset=data.eval_dataset,
                model=model,
                tokenizer=tokenizer,
                processor=None,
                total_num_steps=data.total_num_steps,
                peft_config=peft_config,
            )
        )

    def _start_from(self, first: Step) -> None:
        """Let Axolotl load the model that the first unfinished step starts from."""
        AxolotlStepTrainer.starts_on = self.recipe.get("lora_model_dir")
        if not self.done or (self.todo and first.starts_from() == "base"):
            return
        folder = str(step_records.folder(self.output_dir, self.done[-1]["step"]))
        if self.cfg.adapter:
            AxolotlStepTrainer.starts_on = folder
        else:
            # The tokenizer stays the base's: it is the same one, and the prepared data are found.
            self.cfg.base_model = self.cfg.base_model_config = folder

    # The data and the recipe of one step

    def _load(self, step: Step) -> TrainDatasetMeta:
        if step.index not in self._loaded:
            self._enter_recipe(step)
            self._loaded[step.index] = step_data.load(self.cfg, step)
        return self._loaded[step.index]

    def _enter_recipe(self, step: Step) -> None:
        self.current = step
        self.recipes.enter(step)

    def enter(self, step: Step) -> TrainDatasetMeta:
        """Make the config the recipe of `step`, and return its data."""
        self._enter_recipe(step)
        data = self._load(step)
        if self._chunks:
            data = step_data.chunk(self.cfg, data, self._chunks[step.number - 1])
        return data

    # With the policy

    def build(self, index: int) -> StepTrainer:
        """The trainer of a later step, as Axolotl makes one, around the model as it is now."""
        assert self.first is not None  # `take` came before
        step = self.todo[index]
        data = self.enter(step)
        AxolotlStepTrainer.starts_on = None  # the model has its adapter
        trainer = setup_trainer(
            cfg=self.cfg,
            train_dataset=data.train_dataset,
            eval_dataset=data.eval_dataset,
            model=self.first.model,
            model_ref=self.live_reference(step),
            tokenizer=self.first.processing_class,
            processor=None,
            total_num_steps=data.total_num_steps,
        )
        PluginManager.get_instance().post_trainer_create(self.cfg, trainer)
        return trainer

    def live_reference(self, step: Step) -> Any:
        """The reference model of a run that asks for one; TRL makes that of an adapter itself."""
        if not self.plan.live_reference or self.cfg.adapter:
            return None
        return models.live_reference(self.cfg, self._path_of(step))

    def take(self, trainer: Any) -> None:
        """Hand the first trainer its sequence, and every trainer what Axolotl does not know."""
        if not isinstance(trainer, StepTrainer):
            raise SolarError(
                f"plugins: another plugin's trainer ({type(trainer).__name__}) was built, which "
                "cannot take the steps' reference. Remove that plugin from the sDPO recipe."
            )
        self._equip(trainer)
        if self.first is None:
            self.first = trainer
            trainer.sequence = self.sequence

    def _equip(self, trainer: Any) -> Any:
        trainer.by_length = self.plan.reference_batches == "by_length"
        trainer.shared_logps = step_data.prepared_folder(self.cfg) / LOGPS_FOLDER
        return trainer

    def facts(self) -> dict[str, Any]:
        """What the run leaves as its proof."""
        left_out = ("settings", "files")
        steps = [
            {key: value for key, value in facts.items() if key not in left_out}
            for facts in (self.sequence.facts if self.sequence else [])
        ]
        return {
            "order_by": self.plan.order_by,
            **({"difficulty": self.measured} if self.measured else {}),
            "steps": steps,
        }
