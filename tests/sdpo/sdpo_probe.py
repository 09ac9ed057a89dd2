"""A plugin as another would write it: it sees every model load and every log of a run."""

from __future__ import annotations

import json
from pathlib import Path

from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback


def note(output_dir: str, **values) -> None:
    output = Path(output_dir)
    with (output.parent / f"{output.name}.probe.jsonl").open("a") as file:
        file.write(json.dumps(values) + "\n")


class ProbePlugin(BasePlugin):
    def pre_model_load(self, cfg):
        note(cfg.output_dir, event="load", base_model=cfg.base_model)

    def add_callbacks_pre_trainer(self, cfg, model):
        return [Logs(cfg.output_dir, "pre")]

    def add_callbacks_post_trainer(self, cfg, trainer):
        return [Logs(cfg.output_dir, "post")]


class Logs(TrainerCallback):
    def __init__(self, output_dir: str, added: str):
        self.output_dir, self.added = output_dir, added

    def on_log(self, args, state, control, logs=None, **kwargs):
        note(
            self.output_dir,
            event=self.added,
            step=state.global_step,
            max_steps=state.max_steps,
            logs={k: v for k, v in logs.items() if isinstance(v, int | float)},
        )
