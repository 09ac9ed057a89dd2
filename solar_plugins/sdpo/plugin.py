"""StepwiseDPOPlugin: all steps of stepwise DPO in one `axolotl train`."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

import axolotl.train
from axolotl.common.const import DEFAULT_DATASET_PREPARED_PATH
from axolotl.common.datasets import TrainDatasetMeta, load_preference_datasets
from axolotl.core.trainers.dpo.trainer import AxolotlDPOTrainer
from axolotl.integrations.base import BasePlugin, PluginManager
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from axolotl.utils.trainer import setup_trainer

from solar_plugins import proof
from solar_plugins.errors import SolarError, show_errors_in_one_line
from solar_plugins.plugin_names import is_named
from solar_plugins.sdpo import step_plan
from solar_plugins.sdpo.prepared_data import drop_half_written
from solar_plugins.sdpo.sequence import PlannedStep, StepSequence
from solar_plugins.sdpo.trainer import StepTrainer

# Axolotl shows the information of loggers below its own name only.
LOG = get_logger("axolotl.solar_plugins.sdpo")


class AxolotlStepTrainer(StepTrainer, AxolotlDPOTrainer):
    """`StepTrainer` with Axolotl's optimizers, schedules and tags."""


TRAINER_CLS = f"{__name__}.{AxolotlStepTrainer.__name__}"


class StepwiseDPOPlugin(BasePlugin):
    """Reads `sdpo:`, hands Axolotl the data of the step at hand, and runs the steps."""

    def __init__(self):
        super().__init__()
        self.recipe: dict[str, Any] = {}
        self.steps: list[step_plan.Step] = []
        self.sequence: StepSequence | None = None
        self._current = 1
        self._first: StepTrainer | None = None

    def get_input_args(self) -> str:
        return "solar_plugins.sdpo.args.StepwiseDPOArgs"

    def register(self, cfg: DictDefault) -> None:
        show_errors_in_one_line()
        self.steps, self.sequence, self._first = [], None, None
        recipe = cfg.to_dict() if isinstance(cfg, DictDefault) else dict(cfg)
        if not is_named(recipe, "StepwiseDPOPlugin"):
            return
        if "sdpo" not in recipe:
            raise SolarError(
                "sdpo: missing, though StepwiseDPOPlugin is in `plugins`. Write `sdpo: {steps: "
                f"[…]}}` with steps like {step_plan.EXAMPLE}, or take the plugin out."
            )
        self.steps = step_plan.parse_steps(recipe["sdpo"])
        step_plan.check_recipe(recipe, self.steps, TRAINER_CLS)
        self.recipe = {k: v for k, v in recipe.items() if k != "datasets"}
        # Axolotl validates and completes all steps' datasets as one list; `_enter` cuts it again.
        cfg["datasets"] = [deepcopy(d) for step in self.steps for d in step.datasets]
        # By name, so that Axolotl's builder still passes the model; a class from
        # `get_trainer_cls` would not be given one.
        cfg["trainer_cls"] = TRAINER_CLS
        cfg["precompute_ref_log_probs"] = True

    def load_datasets(self, cfg: DictDefault, preprocess: bool = False) -> TrainDatasetMeta | None:
        """Load every unfinished step's data and return the first one's.

        All are loaded now so that a fault in the last step's data is known before the first is
        trained; they are memory-mapped files.
        """
        if not cfg.sdpo:
            return None
        _load_no_reference_model()
        for folder in drop_half_written(
            Path(cfg.dataset_prepared_path or DEFAULT_DATASET_PREPARED_PATH)
        ):
            LOG.warning(f"deleted {folder}: prepared data that a killed run left half-written")
        recipe_values = {key: cfg[key] for key in step_plan.STEP_SETTINGS}
        every_dataset = list(cfg.datasets)
        output_dir = Path(cfg.output_dir)
        done = [] if preprocess else self._finished(cfg, output_dir)
        start = min(len(done), len(self.steps) - 1)
        metas, todo = [], []
        for step in self.steps[start:]:
            self._enter(cfg, step, every_dataset, recipe_values)
            metas.append(_load_preferences(cfg, step))
            todo.append(
                PlannedStep(
                    note=step.note(len(self.steps), self.recipe),
                    rows=len(metas[-1].train_dataset),
                    optimizer_steps=cfg.max_steps or metas[-1].total_num_steps,
                )
            )

        def build(index: int) -> StepTrainer:
            self._enter(cfg, self.steps[start + index], every_dataset, recipe_values)
            return self._build(cfg, metas[index])

        self.sequence = StepSequence(
            output_dir=output_dir,
            todo=todo if len(done) < len(self.steps) else [],
            done=done,
            build=build,
        )
        self._enter(cfg, self.steps[start], every_dataset, recipe_values)
        if done:
            # The tokenizer stays the base's: it is the same one, and the prepared data are found.
            cfg.base_model = cfg.base_model_config = str(
                step_plan.folder(output_dir, done[-1]["step"])
            )
            LOG.info(f"sDPO: {len(done)} of {len(self.steps)} steps are done already")
        return metas[0]

    def _finished(self, cfg: DictDefault, output_dir: Path) -> list[dict[str, Any]]:
        done = step_plan.finished_steps(output_dir, self.steps, self.recipe)
        if done and self.recipe.get("auto_resume_from_checkpoints") is False:
            raise SolarError(
                f"auto_resume_from_checkpoints: false, but {output_dir} has {len(done)} finished "
                f"steps. Delete {output_dir}/step_* (or choose another output_dir) to start anew, "
                "or remove the line to go on from them."
            )
        if len(done) < len(self.steps) and _is_first_process():
            proof.path(output_dir, "sdpo").unlink(missing_ok=True)
        return done

    def _enter(
        self,
        cfg: DictDefault,
        step: step_plan.Step,
        every_dataset: list[Any],
        recipe_values: dict[str, Any],
    ) -> None:
        """Make `cfg` the recipe of one step."""
        before = sum(len(other.datasets) for other in self.steps[: step.number - 1])
        cfg.datasets = every_dataset[before : before + len(step.datasets)]
        for key, value in recipe_values.items():
            cfg[key] = step.settings.get(key, value)
        self._current = step.number

    def get_training_args(self, cfg: DictDefault) -> dict[str, Any] | None:
        if not cfg.sdpo:
            return None
        return {"output_dir": str(step_plan.folder(cfg.output_dir, self._current))}

    def _build(self, cfg: DictDefault, meta: TrainDatasetMeta) -> StepTrainer:
        """The trainer of a later step, as Axolotl makes one, around the model as it is now."""
        trainer = setup_trainer(
            cfg=cfg,
            train_dataset=meta.train_dataset,
            eval_dataset=meta.eval_dataset,
            model=self._first.model,
            tokenizer=self._first.processing_class,
            processor=None,
            total_num_steps=meta.total_num_steps,
        )
        PluginManager.get_instance().post_trainer_create(cfg, trainer)
        return trainer

    def post_trainer_create(self, cfg: DictDefault, trainer: Any) -> None:
        if not cfg.sdpo or self.sequence is None:
            return
        if not isinstance(trainer, StepTrainer):
            raise SolarError(
                f"plugins: another plugin's trainer ({type(trainer).__name__}) was built, which "
                "cannot take the steps' reference. Remove that plugin from the sDPO recipe."
            )
        if trainer.ref_model is not None:
            raise SolarError("sdpo: a reference model was loaded; sDPO needs none.")
        if self._first is None:
            self._first = trainer
            trainer.sequence = self.sequence

    def post_train_unload(self, cfg: DictDefault) -> None:
        """Leave the proof: the one hook that Axolotl calls after it has saved the model."""
        if not cfg.sdpo or self.sequence is None or not _is_first_process():
            return
        steps = [
            {key: value for key, value in facts.items() if key not in ("settings", "files")}
            for facts in self.sequence.facts
        ]
        proof.write(cfg.output_dir, "sdpo", {"steps": steps})


def _is_first_process() -> bool:
    # Before and after the process group's time, so not its question to answer.
    return os.environ.get("RANK", "0") == "0"


def _load_preferences(cfg: DictDefault, step: step_plan.Step) -> TrainDatasetMeta:
    """Axolotl's own loading of one step's data, with its faults told by their YAML path."""
    where = f"sdpo.steps[{step.number - 1}].datasets"
    try:
        meta = load_preference_datasets(cfg=cfg)
    except KeyError as error:
        types = ", ".join(f"{d['path']} as {d.get('type')}" for d in step.datasets)
        raise SolarError(
            f"{where}: no column {error} in the data ({types}). Choose the `type` that fits the "
            "columns, or rename them."
        ) from error
    if len(meta.train_dataset) == 0:
        raise SolarError(
            f"{where}: no row is left of {', '.join(d['path'] for d in step.datasets)}. Rows "
            f"longer than sequence_len ({cfg.sequence_len}) are dropped; raise it, or check them."
        )
    return meta


def _load_no_reference_model() -> None:
    """Keep Axolotl from loading the model a second time for an sDPO run.

    Axolotl 0.19 has no key for "DPO without adapter and without a reference model".
    """
    load = axolotl.train.setup_reference_model
    if load.__module__ == __name__:
        return

    def setup_reference_model(cfg, tokenizer, processor=None):
        return None if cfg.sdpo else load(cfg, tokenizer, processor)

    axolotl.train.setup_reference_model = setup_reference_model
