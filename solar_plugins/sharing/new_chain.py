"""`solar new --base-model … --text … --sft … --pairs …`: one short chain on a user's own rows,
which extends recipes/laptop (`templates/new_chain*`)."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from solar_plugins import atomic, project
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files, model_config
from solar_plugins.plan.stages import ChainPlan, Machine, StagePlan, plan_chain
from solar_plugins.render import render
from solar_plugins.sharing import own_data
from solar_plugins.sharing.new import mark_project
from solar_plugins.sharing.unpack import refuse_filled

CHAIN = "solar.yml"
SEED = 2312
LEAST_ROWS, HELD_OUT_SHARE, HELD_OUT_MOST = 10, 0.1, 40
STAGES = {"text": "cpt", "sft": "sft_v3", "pairs": "cand_1"}  # as recipes/laptop calls them
TASKS = {"text": "held_out_text", "sft": "held_out_answers", "pairs": "held_out_pairs"}

_BATCH_ON_CPU = 4  # of recipes/laptop
_GPU = {"bf16": True, "sequence_len": 2048, "micro_batch_size": 4, "global_batch_size": 32}
_RECOMPUTE = {
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "micro_batch_size": 1,
}
_LESS_MEMORY: tuple[dict[str, Any], ...] = ({}, _RECOMPUTE, {**_RECOMPUTE, "sequence_len": 256})
"""Tried in this order, until the plan says that every stage fits."""
Settings = dict[str, dict[str, Any]]  # what is `set` for each kind of data


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
        SolarError: `target` is there; base or rows cannot be read; the base does not fit.
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
        for kind, keys in settings.items():
            stage = _stage(plan, kind)
            if stage.hours and stage.steps:
                allowed = minutes / 60 / len(files) / (stage.hours / stage.steps)
                keys["max_steps"] = max(1, min(keys["max_steps"], int(allowed)))
            keys["save_steps"] = max(1, keys["max_steps"] // 4)
        if "text" in settings:  # the others warm up for a share of their steps
            settings["text"]["warmup_steps"] = settings["text"]["max_steps"] // 10
        plan = _planned(folder, target.name, base, settings, machine)
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
    facts = {"name": name, "base": base, "settings": settings, "tasks": TASKS, "stages": STAGES}
    files = {CHAIN: "new_chain.yml", "held_out.yml": "new_chain_held_out.yml"}
    files |= {} if "text" in settings else {"dus.yml": "new_chain_dus.yml"}
    for file, template in files.items():
        text = render(__file__, template, is_cpu=machine.is_cpu, **facts)
        (folder / file).write_text(text, encoding="utf-8")
    with project.working_in(folder):
        plan = plan_chain(CHAIN, machine)
    trainings = {kind: _stage(plan, kind) for kind in settings}
    text = render(__file__, "new_chain.md", trainings=trainings, **facts)
    (folder / "README.md").write_text(f"{text}\n", encoding="utf-8")
    return plan


def _stage(plan: ChainPlan, kind: str) -> StagePlan:
    return next(stage for stage in plan.stages if stage.stage == STAGES[kind])
