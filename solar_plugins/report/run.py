"""A run folder as read for its report: whatever is there, and what is missing by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from solar_plugins import run_record
from solar_plugins.chain.chain_file import BASE_MODEL, Chain, load_chain
from solar_plugins.chain.run.record import Record
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.chain.training import metrics
from solar_plugins.errors import SolarError
from solar_plugins.recipes import extends

NOT_RUN = "not run"
PROOFS = ("depth_up_scaling", "flan_filter", "flan_filter_audit", "sdpo", "training")


@dataclass(frozen=True)
class StageRun:
    """One stage of a run.

    Attributes:
        name: the stage's name in the chain.
        kind: train, merge, evaluate or data.
        sources: the stages (or `base_model`) whose models went in.
        record: what the runner noted of it; None where it was never started.
        recipe: the plain file that it ran; empty where it was never started.
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
        folder: the run's output folder.
        chain: the chain as it was run.
        note: `.solar/run.json`: when it was created, tool versions, …
        stages: by name, in the order in which they run.
        results: evaluation results by the model's name.
        evaluated: names of the models that the chain evaluates, done or not, in the chain's order.
    """

    folder: Path
    chain: Chain
    note: dict[str, Any]
    stages: dict[str, StageRun]
    results: dict[str, dict[str, Any]]
    evaluated: tuple[str, ...]


def read_run(folder: str | Path) -> Run:
    """Read the run folder that `solar run` made, as far as it got.

    Raises:
        SolarError: it is not a run folder, or a file in it cannot be read.
    """
    folder = Path(folder)
    files = RunFolder(folder)
    chain_file = files.hidden / "chain.yml"
    if not chain_file.is_file():
        raise SolarError(
            f"{folder}: no run here ({chain_file.relative_to(folder)} is missing). "
            "Give the output_dir of a chain that `solar run` has started"
        )
    chain = load_chain(chain_file, check_files=False)
    stages: dict[str, StageRun] = {}
    results: dict[str, dict[str, Any]] = {}
    evaluated: dict[str, None] = {}
    for stage in chain.order():
        sources = stage.from_
        if stage.kind in ("train", "merge", "evaluate") and not sources:
            sources = (BASE_MODEL,)
        stages[stage.name] = StageRun(
            name=stage.name,
            kind=stage.kind,
            sources=sources,
            record=files.read_record(stage.name),
            recipe=_recipe(files.resolved(stage.name)),
            metrics=metrics.read(files.metrics(stage.name)),
            proofs=_proofs(files.stage(stage.name)),
        )
        if stage.kind == "evaluate":
            for model in sources:
                evaluated[model] = None
                result = _read_json(files.stage(stage.name) / f"{model}.json")
                if result is not None:
                    results[model] = result
    order = [BASE_MODEL, *stages]
    return Run(
        folder=folder,
        chain=chain,
        note=_read_json(files.hidden / "run.json") or {},
        stages=stages,
        results=results,
        evaluated=tuple(sorted(evaluated, key=order.index)),
    )


def _recipe(path: Path) -> dict[str, Any]:
    return extends.read_mapping(path) if path.is_file() else {}


def _proofs(folder: Path) -> dict[str, dict[str, Any]]:
    found = {block: run_record.read(folder, block) for block in PROOFS}
    return {block: facts for block, facts in found.items() if facts is not None}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except json.JSONDecodeError as error:
        raise SolarError(f"{path}: not JSON ({error}). Run the stage again") from error
