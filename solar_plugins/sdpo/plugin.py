"""StepwiseDPOPlugin: all steps of stepwise DPO in one `axolotl train`."""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path
from typing import Any

from axolotl.cli.config import load_cfg
from axolotl.common.datasets import TrainDatasetMeta
from axolotl.integrations.base import PluginManager
from axolotl.utils.dict import DictDefault
from transformers import EarlyStoppingCallback

from solar_plugins import run_record
from solar_plugins.errors import SolarError, show_errors_in_one_line
from solar_plugins.models.training_checkpoints import newest_in, refuse_other_processes
from solar_plugins.recipes.registry import is_named
from solar_plugins.run_record import is_first_process
from solar_plugins.sdpo import args, recipe_rules, step_records
from solar_plugins.sdpo.in_axolotl import models, step_data
from solar_plugins.sdpo.in_axolotl.session import LOG, AxolotlSession, AxolotlStepTrainer
from solar_plugins.seams import axolotl as axolotl_seam
from solar_plugins.seams import trl as trl_seam
from solar_plugins.watch.plugin import WATCH, WatchedPlugin

# Named here for `trainer_cls`, which Axolotl resolves by its dotted path.
__all__ = ["AxolotlStepTrainer", "StepwiseDPOPlugin"]
TRAINER_CLS = f"{__name__}.{AxolotlStepTrainer.__name__}"


class StepwiseDPOPlugin(WatchedPlugin):
    """Reads `sdpo:`, hands Axolotl the data of the step at hand, and runs the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.recipe: dict[str, Any] = {}
        self.settings: list[dict[str, Any]] = []
        self.plan: args.StepwiseDPOConfig | None = None
        self.run: AxolotlSession | None = None

    def get_input_args(self) -> str:
        return "solar_plugins.sdpo.args.StepwiseDPOArgs"

    def register(self, cfg: DictDefault) -> None:
        show_errors_in_one_line()
        self.plan = self.run = None
        recipe = cfg.to_dict() if isinstance(cfg, DictDefault) else dict(cfg)
        if not is_named(recipe, "StepwiseDPOPlugin"):
            return
        if "sdpo" not in recipe:
            raise SolarError(
                "sdpo: missing, though StepwiseDPOPlugin is in `plugins`. Write `sdpo: {steps: "
                f"[…]}}` with steps like {args.EXAMPLE}, or take the plugin out."
            )
        trl_seam.self_test()
        axolotl_seam.self_test()
        self.plan = args.parse(recipe["sdpo"])
        recipe_rules.check_recipe(recipe, self.plan, TRAINER_CLS)
        self.settings = [step_data.typed_settings(step) for step in self.plan.steps]
        self.recipe = {key: value for key, value in recipe.items() if key != "datasets"}
        # Axolotl validates and completes all steps' datasets as one list; the session cuts it.
        cfg["datasets"] = [deepcopy(d) for step in self.plan.steps for d in step.datasets]
        # By name, so that Axolotl's builder still passes the model; a class from
        # `get_trainer_cls` would not be given one.
        cfg["trainer_cls"] = TRAINER_CLS
        cfg["precompute_ref_log_probs"] = not self.plan.live_reference

    def session(self, cfg: DictDefault) -> AxolotlSession:
        """A run of the recipe that was registered, by Axolotl's validated config."""
        assert self.plan is not None
        return AxolotlSession(cfg, self.plan, self.recipe, self.settings)

    def load_datasets(self, cfg: DictDefault, preprocess: bool = False) -> TrainDatasetMeta | None:
        if not cfg.sdpo or self.plan is None:
            return None
        for folder in step_records.drop_half_written(step_data.prepared_folder(cfg)):
            LOG.warning(f"deleted {folder}: prepared data that a killed run left half-written")
        self.run = run = self.session(cfg)
        if preprocess:
            return run.load_all()
        axolotl_seam.replace_reference_model(lambda _: run.live_reference(run.current))
        if cfg.use_tensorboard:
            # One folder, so that the steps are one curve.
            os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(Path(cfg.output_dir) / "runs"))
        data = run.prepare()
        step_folder = step_records.folder(cfg.output_dir, run.current.number)
        refuse_other_processes(newest_in(step_folder), cfg.world_size)
        if run.sequence and run.sequence.todo and is_first_process():
            run_record.path(cfg.output_dir, "sdpo").unlink(missing_ok=True)
        return data

    def get_training_args(self, cfg: DictDefault) -> dict[str, Any] | None:
        if not cfg.sdpo or self.run is None:
            return None
        args: dict[str, Any] = {
            "output_dir": str(step_records.folder(cfg.output_dir, self.run.current.number)),
            "push_to_hub": False,  # the last model only: `StepTrainer.push_to_hub`
        }
        if cfg.early_stopping_patience or cfg.load_best_model_at_end:
            # Axolotl reads these keys for supervised training only.
            args |= {
                "load_best_model_at_end": True,
                "metric_for_best_model": "eval_loss",
                "greater_is_better": False,
                "restore_callback_states_from_checkpoint": True,
            }
        if cfg.use_trackio and not cfg.trackio_run_name:
            args["run_name"] = Path(cfg.output_dir).name  # or each step would be a run of its own
        return args

    def add_callbacks_post_trainer(self, cfg: DictDefault, trainer: Any) -> list[Any]:
        patience = cfg.sdpo and cfg.early_stopping_patience
        return [EarlyStoppingCallback(patience)] if patience else []

    def post_trainer_create(self, cfg: DictDefault, trainer: Any) -> None:
        if cfg.sdpo and self.run is not None:
            self.run.take(trainer)

    def post_train_unload(self, cfg: DictDefault) -> None:
        """Leave the proof: the one hook that Axolotl calls after it has saved the model."""
        if cfg.sdpo and self.run is not None and is_first_process():
            if cfg.adapter:
                models.drop_base_beside_adapter(Path(cfg.output_dir))
            run_record.write(cfg.output_dir, "sdpo", self.run.facts())


def measure_recipe(file: Path, **changes: Any) -> dict[str, Any]:
    """`AxolotlSession.measure` of the recipe in `file`, with `changes` to its keys.

    The log-probabilities stay beside the prepared data, for a training or another measurement.

    Raises:
        SolarError: the recipe names no StepwiseDPOPlugin, or cannot be honoured.
    """
    cfg = load_cfg(str(file), **changes)
    for plugin in PluginManager.get_instance().plugins.values():
        if isinstance(plugin, StepwiseDPOPlugin) and plugin.plan:
            WATCH.load_datasets(cfg, preprocess=True)  # the FLAN filter's rows are not measured
            return plugin.session(cfg).measure()
    raise SolarError(
        f"{file}: no `sdpo:` block with plugins: [solar_plugins.StepwiseDPOPlugin]. Name a recipe "
        "that lists preference data as steps."
    )
