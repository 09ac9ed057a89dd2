"""What `solar run` adds to a training, as a plugin of Axolotl.

It stops a training that would start from nothing or without one of its plugins, shares the global
batch out over the GPUs, makes the order of the rows a function of seed and epoch, writes the
metrics that the live table and the report read, and notes that the training came to its end.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from axolotl.integrations.base import PluginManager, load_plugin
from axolotl.utils.dict import DictDefault
from axolotl.utils.logging import get_logger
from torch.utils.data import DataLoader
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from solar_plugins import run_record
from solar_plugins.chain.missing_inputs import missing_input
from solar_plugins.chain.training import base_model_guard
from solar_plugins.chain.training.epoch_order import begin_epoch
from solar_plugins.chain.training.follow_base import follow_base
from solar_plugins.chain.training.metrics import METRICS_VARIABLE, MetricsFile
from solar_plugins.errors import SolarError, show_errors_in_one_line
from solar_plugins.recipes import global_batch
from solar_plugins.recipes.named_data import places_of
from solar_plugins.recipes.registry import is_named
from solar_plugins.seams.axolotl import read_streams_at
from solar_plugins.watch.plugin import WatchedPlugin

# Axolotl shows INFO and WARNING only of loggers below its own name.
LOG = get_logger("axolotl.solar_plugins.stage")

PLUGIN = "StagePlugin"


class StagePlugin(WatchedPlugin):
    """Added to the resolved recipe of every training stage; recipes may name it themselves."""

    def __init__(self) -> None:
        super().__init__()
        path = os.environ.get(METRICS_VARIABLE)
        self.metrics = MetricsFile(Path(path)) if path else None
        self.steps = 0
        self.recipe: dict[str, Any] = {}
        self._base_model = ""

    def get_input_args(self) -> str:
        return "solar_plugins.chain.training.args.StageArgs"

    def register(self, cfg: dict) -> None:
        """Refuse a recipe whose inputs are missing or whose plugins could not be imported, and fit
        to its base model and to the number of GPUs what was written for others."""
        show_errors_in_one_line()
        if not is_named(cfg, PLUGIN):
            return
        _refuse_dropped_plugins(cfg)
        self.recipe = dict(cfg) if cfg.get(global_batch.KEY) is not None else {}
        if self.recipe:
            _share_batch(cfg)
        fault = missing_input(dict(cfg))
        if fault:
            raise SolarError(fault)
        # With a revision, Axolotl's schema takes an entry of a stream for one of supervised data.
        streams = [
            e for at, e in places_of(cfg) if at.startswith("pretraining") and "revision" in e
        ]
        if streams:
            read_streams_at({entry["path"]: entry.pop("revision") for entry in streams})
        self._base_model = str(cfg.get("base_model"))
        if self.metrics is None:  # `solar run` knows what it has begun with
            base_model_guard.refuse_another(cfg)
        for change in follow_base(cfg):
            LOG.warning(change)

    def pre_model_load(self, cfg: DictDefault) -> None:
        """Seed what is drawn while the model is built: Axolotl leaves LoRA's start unseeded."""
        if not is_named(cfg, PLUGIN):
            return
        set_seed(42 if cfg.seed is None else cfg.seed)

    def add_callbacks_post_trainer(
        self, cfg: DictDefault, trainer: Trainer
    ) -> list[TrainerCallback]:
        """The callback that follows the training; sDPO asks again for each of its steps."""
        if not is_named(cfg, PLUGIN):
            return []
        if self.metrics is None:
            base_model_guard.note(cfg.output_dir, self._base_model)
        return [_Follow(self)]

    def post_train_unload(self, cfg: DictDefault) -> None:
        """Note that the training came to its end: Axolotl exits with 0 after Ctrl-C as well."""
        if is_named(cfg, PLUGIN) and run_record.is_first_process():
            facts = {
                "steps": self.steps,
                "world_size": int(os.environ.get("WORLD_SIZE", "1")),
                "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
            }
            run_record.write(cfg.output_dir, "stage", facts)


class _Follow(TrainerCallback):
    """Fixes each epoch's order; writes what the trainer logs, and how far it is."""

    def __init__(self, plugin: StagePlugin) -> None:
        self._plugin = plugin

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._plugin.recipe:
            _refuse_other_batch(self._plugin.recipe, args)

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: DataLoader | None = None,
        **kwargs: Any,
    ) -> None:
        # Exactly n after n epochs; a little over or under after a division that does not come out.
        begin_epoch(train_dataloader, int((state.epoch or 0) + 1e-6), args.seed)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._plugin.steps = state.global_step
        if self._plugin.metrics and state.is_world_process_zero:
            self._plugin.metrics.write_step(state.global_step, state.max_steps)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._plugin.metrics and state.is_world_process_zero:
            step, of = state.global_step, state.max_steps
            self._plugin.metrics.append(step, of, state.epoch, logs or {})


def _share_batch(cfg: dict) -> None:
    steps = global_batch.accumulation_steps(cfg, int(os.environ.get("WORLD_SIZE", "1")))
    # Axolotl registers a plugin twice in some commands, then with what the first time derived.
    if cfg.get("gradient_accumulation_steps") != steps:
        global_batch.refuse_rivals(cfg)
    cfg["gradient_accumulation_steps"] = steps
    LOG.info(f"{global_batch.KEY}: {cfg[global_batch.KEY]}, gradient_accumulation_steps: {steps}")


def _refuse_other_batch(recipe: dict[str, Any], args: TrainingArguments) -> None:
    """Refuse a training on more GPUs than its processes know of (Ray, DataParallel)."""
    gpus = args.world_size * max(1, args.n_gpu)
    steps = global_batch.accumulation_steps(recipe, gpus)
    if args.gradient_accumulation_steps != steps:
        raise SolarError(
            f"{global_batch.KEY}: {recipe[global_batch.KEY]} takes {steps} "
            f"gradient_accumulation_steps on {gpus} GPUs, but {args.gradient_accumulation_steps} "
            f"would be trained with. Start one process per GPU: --launcher accelerate."
        )


def _refuse_dropped_plugins(cfg: dict) -> None:
    loaded = PluginManager.get_instance().plugins
    for name in cfg.get("plugins") or []:
        if name in loaded:
            continue
        try:
            load_plugin(name)
        except ImportError as error:
            cause = " ".join(str(error).split())
            raise SolarError(
                f"plugins: {name} cannot be imported ({cause}); Axolotl would train without it. "
                f"Install what it needs, or take it out of the list."
            ) from error
