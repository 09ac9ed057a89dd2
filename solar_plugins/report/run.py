"""A run folder as read for its report: whatever is there, and what is missing by name."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins import run_record
from solar_plugins.chain.chain_file import BASE_MODEL, Chain, load_chain
from solar_plugins.chain.run.record import Record
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.chain.training import metrics
from solar_plugins.errors import SolarError
from solar_plugins.evaluation.benchmarks import BY_KEY, BY_TASK
from solar_plugins.recipes import extends
from solar_plugins.report.stacks import read_stacks

NOT_RUN = "not run"
PAPERS_BASE = re.compile(r"(^|/|--)Mistral-7B-v0\.1(@|/|$)")
ALL_SIX = ("solar_h6", "openllm")
"""Groups of lm-eval: ours and its own."""
PROOFS = ("depth_up_scaling", "flan_filter", "flan_filter_audit", "sdpo", "training")


@dataclass(frozen=True)
class StageRun:
    """One stage of a run; without record and recipe where it was never started.

    Attributes:
        sources: the stages (or `base_model`) whose models went in.
        recipe: the plain file that it ran.
        metrics: what its trainer logged, in order.
        proofs: what the plugins left in its folder, by file name.
    """

    name: str
    kind: str
    sources: tuple[str, ...]
    record: Record | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    proofs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """done, failed, running, or `NOT_RUN`."""
        return self.record.state if self.record else NOT_RUN

    @property
    def makes_model(self) -> bool:
        return self.kind in ("train", "merge")

    @property
    def rows(self) -> str:
        """How many of the rows that it read a training has used: ``"38 of 40"``."""
        counts = self.proofs.get("training", {}).get("rows", [])
        trained, read = (sum(one[key] for one in counts) for key in ("trained", "read"))
        return f"{trained:,} of {read:,}" if counts else ""

    @property
    def facts(self) -> dict[str, Any]:
        """What verification found in its output (`num_hidden_layers`, `parameters`, …)."""
        return self.record.facts if self.record else {}


@dataclass(frozen=True)
class Run:
    """A run folder.

    Attributes:
        note: `.solar/run.json`: when it was created, tool versions, …
        stages: by name, in the order in which they run.
        results: evaluation results by the model's name.
        evaluated: names of the models that the chain evaluates, done or not, in the chain's order.
        benchmarks: keys of those of the six that the chain's evaluations ask for.
        beside_paper: whether the paper's rows belong beside it: on the paper's base, or asked for.
        measured_stacks: what `solar dus --measure` found of its base, if it was kept here.
    """

    folder: Path
    chain: Chain
    note: dict[str, Any]
    stages: dict[str, StageRun]
    results: dict[str, dict[str, Any]]
    evaluated: tuple[str, ...]
    benchmarks: tuple[str, ...]
    beside_paper: bool
    measured_stacks: dict[str, Any] | None = None

    @property
    def asks_for_h6(self) -> bool:
        return len(self.benchmarks) == len(BY_KEY)


def read_run(folder: str | Path, paper: bool = False) -> Run:
    """Read the run folder that `solar run` made, as far as it got.

    Args:
        paper: set the paper's rows beside it on any base.

    Raises:
        SolarError: it is not a run folder, or a file in it cannot be read.
    """
    folder = Path(folder)
    files = RunFolder(folder)
    chain_file = files.hidden / "chain.yml"
    if not chain_file.is_file():
        why = f"no run here ({chain_file.relative_to(folder)} is missing)"
        raise SolarError(f"{folder}: {why}. Give the output_dir of a chain that has been run")
    chain = load_chain(chain_file, check_files=False)
    stages: dict[str, StageRun] = {}
    results: dict[str, dict[str, Any]] = {}
    evaluated: dict[str, None] = {}
    asked: set[str] = set()
    for stage in chain.order():
        sources = stage.from_
        if stage.kind in ("train", "merge", "evaluate") and not sources:
            sources = (BASE_MODEL,)
        resolved, place = files.resolved(stage.name), files.stage(stage.name)
        proofs = {block: run_record.read(place, block) for block in PROOFS}
        stages[stage.name] = StageRun(
            name=stage.name,
            kind=stage.kind,
            sources=sources,
            record=files.read_record(stage.name),
            recipe=extends.read_mapping(resolved) if resolved.is_file() else {},
            metrics=metrics.read(files.metrics(stage.name)),
            proofs={block: facts for block, facts in proofs.items() if facts is not None},
        )
        if stage.kind == "evaluate":
            evaluated |= dict.fromkeys(sources)
            found = {model: _read_json(place / f"{model}.json") for model in sources}
            for model, result in found.items():
                if result is not None:
                    results[model] = _joined(results.get(model), result)
            recipe = stages[stage.name].recipe
            if not recipe and not any(found.values()):  # neither started nor measured elsewhere
                with suppress(SolarError):
                    recipe = chain.recipe(stage)
                recipe = {"tasks": ALL_SIX, **recipe}
            asked |= _asked_for(recipe.get("tasks"))
    for result in results.values():
        asked |= {task["benchmark"] for task in result["tasks"].values()}
    order = [BASE_MODEL, *stages]
    return Run(
        folder=folder,
        chain=chain,
        note=_read_json(files.hidden / "run.json") or {},
        stages=stages,
        results=results,
        evaluated=tuple(sorted(evaluated, key=order.index)),
        benchmarks=tuple(key for key in BY_KEY if key in asked),
        beside_paper=paper or bool(PAPERS_BASE.search(chain.base_model)),
        measured_stacks=read_stacks(folder),
    )


def _joined(before: dict[str, Any] | None, result: dict[str, Any]) -> dict[str, Any]:
    """A model's result beside that of another evaluation of the chain; H6 is of one of them.

    Of a benchmark that was measured on public and on invented items, the public score counts.
    """
    if before is None:
        return result
    tables = ("tasks", "losses", "other", "not_run")
    joined = {name: {**before.get(name, {}), **result.get(name, {})} for name in tables}
    public = {task["benchmark"] for name, task in joined["tasks"].items() if name in BY_TASK}
    for name, task in [*joined["tasks"].items()]:
        if name not in BY_TASK and task["benchmark"] in public:
            del joined["tasks"][name]
            values = {task["metric"]: task["value"], f"{task['metric']}_stderr,": task["stderr"]}
            joined["other"][name] = {"values": values, "n": task["n"]}
    with_h6 = [one for one in (before, result) if one.get("h6") is not None] or [result]
    of_h6 = max(
        with_h6, key=lambda one: (not BY_TASK.keys().isdisjoint(one["tasks"]), one is result)
    )
    return {**result, **joined, "h6": of_h6.get("h6"), "h6_stderr": of_h6.get("h6_stderr")}


def _asked_for(tasks: Any) -> set[str]:
    """Keys of those of the six that the ``tasks`` of lm-eval name, themselves or in miniature."""
    names = tasks.split(",") if isinstance(tasks, str) else map(str, tasks or ())
    found = {name.strip().removeprefix("mini_") for name in names}
    if found & set(ALL_SIX):
        return set(BY_KEY)
    return {key for key in BY_KEY if {key, BY_KEY[key].task} & found}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise SolarError(f"{path}: not JSON ({error}). Run the stage again") from error
