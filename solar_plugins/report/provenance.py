"""What somebody needs to repeat a run and to cite it: sources, digests, the harness."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from solar_plugins.chain.chain_file import BASE_MODEL
from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.resolve import merge_models
from solar_plugins.chain.run import fingerprint
from solar_plugins.evaluation.benchmarks import BY_KEY, how_measured
from solar_plugins.models import model_config
from solar_plugins.recipes.named_data import FORMATS, datasets_of
from solar_plugins.report.run import Run
from solar_plugins.report.tables import Grid, number

PAPERS = {  # what to cite where the plugin of that proof took part
    "": "SOLAR 10.7B: arXiv 2312.15166",
    "sdpo": "stepwise DPO: arXiv 2403.19270",
    "flan_filter": "the FLAN collection: arXiv 2301.13688",
}
SHOWN = 16  # hexadecimal digits of a digest; `solar report --json` has them whole


def papers(run: Run) -> list[str]:
    """The papers whose method the run used."""
    used = {"", *(name for stage in run.stages.values() for name in stage.proofs)}
    return [paper for name, paper in PAPERS.items() if name in used]


def versions(run: Run) -> dict[str, str]:
    """Tool versions by name, from the run and from the evaluations."""
    found = dict(run.note.get("versions", {}))
    for result in run.results.values():
        found = {**result["harness"], **found}
    return {name: str(found[name]) for name in sorted(found, key=str.lower)}


def digests(run: Run) -> dict[str, dict[str, str | None]]:
    """Of each stage that is done what went in and what came out, as SHA-256."""
    found: dict[str, dict[str, str | None]] = {}
    for stage in run.stages.values():
        if stage.record is not None:
            outputs = {name: file["sha256"] for name, file in stage.record.outputs.items()}
            made = fingerprint.digest(outputs) if outputs else None
            found[stage.name] = {"inputs": stage.record.fingerprint, "outputs": made}
    return found


def grids(run: Run) -> list[Grid]:
    """The tables that have rows: sources, harness, digests."""
    return [grid for grid in (sources_grid(run), harness_grid(run), digests_grid(run)) if grid.rows]


def digests_grid(run: Run) -> Grid:
    """Seed and digests of every stage that was started."""
    rows = []
    for name, found in digests(run).items():
        shown = [(found[key] or "-")[:SHOWN] for key in ("inputs", "outputs")]
        rows.append([name, number(run.stages[name].recipe.get("seed"), ""), *shown])
    notes = [
        "Inputs: recipe, files, models before it, result versions. Outputs: names and "
        f"contents of the stage's files. First {SHOWN} digits of SHA-256."
    ]
    return Grid("Digests", ["stage", "seed", "inputs", "outputs"], rows, notes)


def taken_by(
    kind: str, recipe: dict[str, Any], base_model: str | None
) -> Iterator[tuple[str, str, str | None]]:
    """``model`` or ``dataset``, name and pinned revision of what a stage takes.

    Args:
        base_model: the chain's, where the stage starts from it.
    """
    if base_model and kind != "merge":
        yield "model", base_model, recipe.get("revision_of_model")
    for name in merge_models(recipe) if kind == "merge" else [recipe.get("tokenizer_config")]:
        if isinstance(name, str):
            yield "model", *model_config.split_revision(name)
    for entry in datasets_of(recipe) if kind == "train" else ():
        names = entry.get("data_files") if entry["path"] in FORMATS else None
        for name in names if isinstance(names, list) else [names or entry["path"]]:
            yield "dataset", str(name), entry.get("revision")


def sources_grid(run: Run) -> Grid:
    """Models and data that the run took from elsewhere, with what fixes each."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for stage in run.stages.values():
        base = run.chain.base_model if BASE_MODEL in stage.sources else None
        files = stage.record.inputs.get("files", {}) if stage.record else {}
        for what, name, revision in taken_by(stage.kind, stage.recipe, base):
            plain = os.path.normpath(name)
            if Path(plain).is_relative_to(run.chain.output_dir):
                continue
            if is_local(name):
                fixed = files.get(name) or files.get(plain)
                revision = f"sha256 {fixed[:SHOWN]}" if fixed else "-"
            found.setdefault((name, what, revision or "main, not pinned"), []).append(stage.name)
    rows = [[*facts, ", ".join(dict.fromkeys(stages))] for facts, stages in found.items()]
    return Grid("Taken from elsewhere", ["name", "kind", "revision", "for"], rows, left=4)


def harness_grid(run: Run) -> Grid:
    """How each benchmark was measured; several lines where models were measured differently."""
    rows: dict[tuple[str, ...], None] = {}
    for result in run.results.values():
        for name, task in result["tasks"].items():
            facts = [number(task[key], "") for key in ("metric", "num_fewshot", "n", "version")]
            harness = f"lm_eval {result['harness']['lm_eval']}"
            title = BY_KEY[task["benchmark"]].title
            row = (title, name, *facts, harness, how_measured(task))
            rows[row] = None
    columns = ["benchmark", "task", "metric", "shots", "items", "task version", "harness"]
    columns.append("averaged over")
    return Grid("How it was measured", columns, [list(row) for row in rows], left=3)
