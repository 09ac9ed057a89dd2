"""`solar new --base-model … --text … --sft … --pairs …`: one short chain on a user's own rows.

The folder has a chain that extends recipes/laptop (`templates/new_chain/`), the rows to train on,
those that are held out, and a README. A stage takes as many steps as the plan finds time for, and
no more than one pass over its rows has.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from solar_plugins import atomic, project
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files, model_config
from solar_plugins.plan.stages import ChainPlan, Machine, StagePlan, plan_chain
from solar_plugins.recipes import yaml_file
from solar_plugins.report.tables import Grid, duration, number
from solar_plugins.sharing import own_data
from solar_plugins.sharing.new import mark_project
from solar_plugins.sharing.unpack import refuse_filled

CHAIN = "solar.yml"
SEED = 2312
LEAST_ROWS, HELD_OUT_SHARE, HELD_OUT_MOST = 10, 0.1, 40
STAGES = {"text": "cpt", "sft": "sft_v3", "pairs": "cand_1"}  # as recipes/laptop calls them
TASKS = {"text": "held_out_text", "sft": "held_out_answers", "pairs": "held_out_pairs"}

_TEMPLATES = Path(__file__).parent / "templates" / "new_chain"
_BATCH_ON_CPU = 4  # of recipes/laptop
_GPU = {"bf16": True, "sequence_len": 2048, "micro_batch_size": 4, "global_batch_size": 32}
_RECOMPUTE = {
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "micro_batch_size": 1,
}
_LESS_MEMORY: tuple[dict[str, Any], ...] = ({}, _RECOMPUTE, {**_RECOMPUTE, "sequence_len": 256})
"""Tried in this order, until the plan says that every stage fits."""

Settings = dict[str, dict[str, Any]]
"""What is `set` for each kind of data."""


def write_chain(
    target: Path, base_model: str, files: Mapping[str, Path], machine: Machine, minutes: float
) -> tuple[ChainPlan, list[str]]:
    """Write the chain of `files` (``text``, ``sft``, ``pairs``) into a new folder, all or nothing.

    Args:
        base_model: Hub id or folder.
        minutes: What all trainings together may take, by the plan.

    Returns:
        The plan of the chain, and what was left out of the rows.

    Raises:
        SolarError: `target` is there already; the base or a file cannot be read; the base does not
            fit the machine.
    """
    refuse_filled(target)
    base = os.path.abspath(base_model) if Path(base_model).is_dir() else base_model
    if model_config.find(base) is None:
        base_files.read_config(base)  # into the Hub's cache
    own = {} if machine.is_cpu else _GPU
    batch = int(own.get("global_batch_size", _BATCH_ON_CPU))
    with atomic.new_directory(target) as folder:
        mark_project(folder)
        rows, notes = {}, []
        for kind, file in files.items():
            found, lost = own_data.read(kind, file)
            rows[kind] = _write_rows(folder / "data", kind, file, found)
            notes += [f"{file}: {lost} rows left out, which train nothing"] if lost else []
        for less in _LESS_MEMORY:
            settings: Settings = {
                kind: {**own, **less, "max_steps": max(1, count // batch)}
                for kind, count in rows.items()
            }
            plan = _planned(folder, target.name, base, settings, machine)
            if plan.fits:
                break
        else:
            worst = next(stage for stage in plan.stages if stage.warnings)
            raise SolarError(
                f"--base-model {base_model}: {worst.stage}: {worst.warnings[0]} "
                "Choose a smaller base, or another machine with --gpu."
            )
        for kind, stage in _trainings(plan, settings).items():
            if stage.hours and stage.steps:
                allowed = minutes / 60 / len(files) / (stage.hours / stage.steps)
                settings[kind]["max_steps"] = max(1, min(stage.steps, int(allowed)))
            settings[kind]["save_steps"] = max(1, settings[kind]["max_steps"] // 4)
        plan = _planned(folder, target.name, base, settings, machine)
        readme = (_TEMPLATES / "README.md").read_text(encoding="utf-8")
        facts = {"name": target.name, "base": base_model, "table": _table(plan, settings)}
        (folder / "README.md").write_text(readme.format(**facts), encoding="utf-8")
    return plan, notes


def _write_rows(folder: Path, kind: str, file: Path, rows: list[own_data.Row]) -> int:
    """Write the rows to train on and the held-out ones; returns how many the former are."""
    lines = [f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows]
    # lm-eval ends on an answer that is longer than the model's positions.
    short = [at for at, line in enumerate(lines) if len(line) < 2 * own_data.LETTERS]
    count = min(HELD_OUT_MOST, round(HELD_OUT_SHARE * len(rows)), len(short))
    if len(rows) < LEAST_ROWS or count == 0:
        found = f"{len(rows)} rows, {len(short)} of them of at most {2 * own_data.LETTERS} letters"
        raise SolarError(f"--{kind} {file}: {found}. Needed: {LEAST_ROWS}, and one to hold out.")
    held_out = set(random.Random(SEED).sample(short, count))
    folder.mkdir(exist_ok=True)
    for name, is_held_out in ((kind, False), (TASKS[kind], True)):
        text = "".join(line for at, line in enumerate(lines) if (at in held_out) is is_held_out)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return len(rows) - count


def _planned(folder: Path, name: str, base: str, settings: Settings, machine: Machine) -> ChainPlan:
    """Write the chain into `folder`, with the stages of the kinds in `settings`, and plan it."""
    text = (_TEMPLATES / CHAIN).read_text(encoding="utf-8")
    chain = yaml_file.parse(text, Path(CHAIN))
    chain |= {"name": name, "base_model": base}
    chain["data"] = {task: file for task, file in chain["data"].items()
                     if task in [TASKS[kind] for kind in settings]}  # fmt: skip
    stages, before = chain["stages"], "dus"
    if "text" in settings:  # its training grows the model itself
        stages["dus"], before = None, "base_model"
    for kind, stage in STAGES.items():
        keys = stages.pop(stage)["set"]
        stages[stage] = None
        if kind in settings:
            stages[stage] = {"from": before, "set": keys | settings[kind]}
            before = stage
    measured = {"tasks": [TASKS[kind] for kind in settings]}
    on_gpu = {"device": "cuda", "model_args.dtype": "bfloat16", "batch_size": 8}
    models = ["base_model", *(name for name in ("dus", *STAGES.values()) if stages[name])]
    stages["held_out"] |= {"from": models, "set": measured | (on_gpu if not machine.is_cpu else {})}
    heading = text[: text.index("extends:")]
    content = yaml.safe_dump(chain, sort_keys=False, allow_unicode=True)
    (folder / CHAIN).write_text(heading + content, encoding="utf-8")
    for file in ("held_out.yml", *["dus.yml"] * bool(stages["dus"])):
        shutil.copy(_TEMPLATES / file, folder)
    with project.working_in(folder):
        return plan_chain(CHAIN, machine)


def _trainings(plan: ChainPlan, settings: Settings) -> dict[str, StagePlan]:
    by_name = {stage.stage: stage for stage in plan.stages}
    return {kind: by_name[STAGES[kind]] for kind in settings}


def _table(plan: ChainPlan, settings: Settings) -> str:
    rows = [
        [stage.stage, f"data/{kind}.jsonl", number(stage.rows, ","), number(stage.steps, ","),
         number(stage.layers, ""), number(stage.gpu_gib, ".1f"),
         "-" if stage.hours is None else duration(3600 * stage.hours)]
        for kind, stage in _trainings(plan, settings).items()
    ]  # fmt: skip
    columns = ["stage", "trained on", "rows", "steps", "layers", "GiB", "time"]
    return Grid("Plan", columns, rows, left=2).to_markdown()
