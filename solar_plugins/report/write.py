"""`report.html` and `report.md` of a run, each one file; every number is read from the run."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from solar_plugins import __version__, atomic
from solar_plugins.chain.chain_file import BASE_MODEL
from solar_plugins.chain.run.record import DONE, FAILED
from solar_plugins.depth_up_scaling.layer_map import ranges_of
from solar_plugins.depth_up_scaling.picture import in_words, layer_map_svg
from solar_plugins.evaluation.benchmarks import BENCHMARKS
from solar_plugins.report import provenance, results, tables
from solar_plugins.report.charts import Figure, Series, line_chart, smooth
from solar_plugins.report.comparisons import comparisons
from solar_plugins.report.cost import cost_grid, costs
from solar_plugins.report.drawings import Node, lineage
from solar_plugins.report.paper_tables import paper_tables
from solar_plugins.report.run import NOT_RUN, Run, StageRun, read_run

TEMPLATES = Path(__file__).parent / "templates"


def write_report(run_dir: str | Path, out: str | Path | None = None) -> tuple[Path, Path]:
    """Write `report.html` and `report.md` of the run in `run_dir`, as far as it got.

    Args:
        run_dir: the output folder of a chain that `solar run` has started.
        out: where to write; the run folder itself by default.

    Returns:
        The two files.

    Raises:
        SolarError: it is not a run folder, or a file in it cannot be read.
    """
    run = read_run(run_dir)
    out = Path(run_dir if out is None else out)
    html, markdown = out / "report.html", out / "report.md"
    atomic.write_text(html, to_html(run))
    atomic.write_text(markdown, to_markdown(run))
    return html, markdown


def to_html(run: Run) -> str:
    """The page: inline style and SVG, readable on a phone, in the dark and on paper."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    rows = results.model_rows(run)
    return environment.get_template("report.html.j2").render(
        run=run,
        version=__version__,
        headline=headline(run),
        benchmarks=BENCHMARKS,
        rows=rows,
        chance=results.chance_levels(rows),
        miniature=results.is_miniature(run),
        limits=sorted({r["limit"] for r in run.results.values() if r["limit"] is not None}),
        loss_unit=results.loss_unit(run),
        paper_tables=paper_tables(run),
        comparisons=comparisons(run),
        up_scalings=[_up_scaling(run, found) for found in results.up_scalings(run)],
        trainings=_trainings(run, with_preferences=False),
        preferences=_trainings(run, with_preferences=True),
        rewards=results.rewards(run),
        failed=[stage for stage in run.stages.values() if stage.state == FAILED],
        lineage=Markup(lineage(_nodes(run))),
        longest_s=max((s.record.wall_s for s in run.stages.values() if s.record), default=0.0),
        filters=list(results.filters(run)),
        cost=cost_grid(run),
        versions=_versions(run),
        provenance=provenance.grids(run),
        papers=provenance.papers(run),
        percent=lambda share: f"{100 * share:.2f}",
        duration=tables.duration,
        NOT_RUN=NOT_RUN,
    )


def to_markdown(run: Run) -> str:
    """The same tables as text, with the lineage as a Mermaid graph."""
    facts = [f"{name}: {value}" for name, value in headline(run)]
    parts = [
        f"# {run.chain.name}\n",
        "\n".join(f"- {fact}" for fact in facts) + "\n",
        *[grid.to_markdown() for grid in tables.result_grids(run)],
        *[grid.to_markdown() for grid in paper_tables(run)],
        *[one.grid.to_markdown() for one in comparisons(run) if one.grid],
        *[_layer_map_text(stage) for stage in run.stages.values()],
        "### Lineage\n",
        _mermaid(run),
        tables.stages_grid(run).to_markdown(),
        cost_grid(run).to_markdown() if costs(run) else "",
        *[_filter_grid(stage, audit).to_markdown() for stage, audit in results.filters(run)],
        "### To repeat and to cite\n",
        "\n".join(f"- {name} {version}" for name, version in _versions(run).items()) + "\n",
        *[grid.to_markdown() for grid in provenance.grids(run)],
        f"Papers: {'; '.join(provenance.papers(run))}.\n",
    ]
    return "\n".join(part for part in parts if part)


def headline(run: Run) -> list[tuple[str, str]]:
    """The run in a few facts, for the head of the page."""
    records = [stage.record for stage in run.stages.values() if stage.record is not None]
    done = sum(stage.state == DONE for stage in run.stages.values())
    facts = [("stages done", f"{done} of {len(run.stages)}")]
    scored = [(row.model, row.h6) for row in results.model_rows(run) if row.h6 is not None]
    for model, h6 in dict.fromkeys([*scored[:1], *scored[-1:]]):
        facts.append((f"H6 of {model}", f"{100 * h6:.2f}"))
    if records:
        facts.append(("time of all stages", tables.duration(sum(r.wall_s for r in records))))
        peak = max(record.peak_memory_gib for record in records)
        if peak:
            facts.append(("peak memory", f"{peak:.2f} GiB"))
    return facts


def _up_scaling(run: Run, found: results.UpScaling) -> dict[str, Any]:
    proof = run.stages[found.stage].proofs["depth_up_scaling"]
    return {
        "stage": found.stage,
        "base": found.base[0],
        "proof": proof,
        "picture": Markup(_layer_map_picture(proof)),
        "bars": found.losses,
        "highest": max((loss for _, (_, loss) in found.losses if loss is not None), default=None),
    }


def _trainings(run: Run, with_preferences: bool) -> list[Figure]:
    """The charts of the preference trainings, or of all others."""
    return [
        figure
        for stage in run.stages.values()
        if stage.metrics and bool(results.preference_logs(stage)) == with_preferences
        for figure in _training(stage)
    ]


def _training(stage: StageRun) -> list[Figure]:
    """The charts of one train stage: loss, and for preferences accuracy and rewards."""
    bounds = results.step_bounds(stage)
    raw = {"loss": "loss", "reward accuracy": "rewards/accuracies"}
    figures: dict[str, list[Series]] = {}
    for color, (what, key) in enumerate(raw.items()):
        points = results.series(stage, key)
        parts = _split(points, bounds)
        figures[what] = [Series("", part, 2 * color, faint=True) for part in parts]
        figures[what] += [Series("mean", smooth(part), 2 * color) for part in parts]
    figures["loss"].append(Series("held-out", results.series(stage, "eval_loss"), 1))
    figures["rewards"] = []
    for color, name in ((3, "margins"), (2, "chosen"), (1, "rejected")):
        parts = _split(results.series(stage, f"rewards/{name}"), bounds)
        figures["rewards"] += [Series(name, smooth(part), color) for part in parts]
    figures["KL to the start"] = []
    for points in results.kl_to_start(stage).values():
        figures["KL to the start"] += [
            Series("", points, 0, faint=True),
            Series("nats per answer", smooth(points), 0),
        ]
    drawn = []
    for what, lines in figures.items():
        caption = f"{stage.name}: {what}"
        drawn.append(Figure(caption, line_chart(caption, lines, "step", bounds), lines))
    return [figure for figure in drawn if figure.picture]


def _split(
    points: list[tuple[float, float]], bounds: list[float]
) -> list[list[tuple[float, float]]]:
    """The points between the bounds: the lines of one sDPO step end where the next begins."""
    edges = [float("-inf"), *bounds, float("inf")]
    parts = [[p for p in points if low < p[0] <= high] for low, high in pairwise(edges)]
    return [part for part in parts if part]


def _nodes(run: Run) -> list[Node]:
    """The models of the run for the lineage; data and evaluation stages do not make one."""
    h6 = {row.model: row.h6 for row in results.model_rows(run) if row.h6 is not None}
    models = [stage for stage in run.stages.values() if stage.makes_model]
    nodes = []
    if any(BASE_MODEL in stage.sources for stage in models):
        nodes.append(Node(BASE_MODEL, (run.chain.base_model,), (), "base"))
    for stage in models:
        made = [stage.kind if stage.state == DONE else stage.state]
        if "num_hidden_layers" in stage.facts:
            made.append(f"{stage.facts['num_hidden_layers']} layers")
        details = [", ".join(made)]
        if stage.name in h6:
            details.append(f"H6 {100 * h6[stage.name]:.2f}")
        look = stage.kind if stage.state == DONE else stage.state.replace(" ", "-")
        nodes.append(Node(stage.name, tuple(details), stage.sources, look))
    return nodes


def _mermaid(run: Run) -> str:
    lines = ["```mermaid", "graph TD"]
    for node in _nodes(run):
        label = "<br/>".join([node.name, *node.details]).replace('"', "'")
        lines.append(f'  {_id(node.name)}["{label}"]')
        lines += [f"  {_id(source)} --> {_id(node.name)}" for source in node.sources]
    return "\n".join([*lines, "```", ""])


def _id(name: str) -> str:
    return "m_" + name.replace("-", "_")


def _layer_map_picture(proof: dict[str, Any]) -> str:
    layers, depth = proof["layer_map"], proof["base_num_hidden_layers"]
    return layer_map_svg(layers, depth, proof.get("init", "copy"))  # older records do not say


def _layer_map_text(stage: StageRun) -> str:
    if "depth_up_scaling" not in stage.proofs:
        return ""
    proof = stage.proofs["depth_up_scaling"]
    layers, depth = proof["layer_map"], proof["base_num_hidden_layers"]
    parts = [f"[{start}, {end})" for start, end in ranges_of(layers)]
    return (
        f"### Layer map of {stage.name}\n\n{depth} -> {len(layers)} layers: the base's "
        f"{' then '.join(parts)}. {' '.join(in_words(layers, depth))}\n"
    )


def _filter_grid(stage: str, audit: dict[str, Any]) -> tables.Grid:
    rows = [
        [dataset["source"], task, f"{sum(reasons.values()):,}"]
        for dataset in audit["datasets"]
        for task, reasons in dataset["removed"].items()
    ]
    notes = [
        f"{audit['rows_removed']:,} of {audit['rows_in']:,} rows removed.",
        *audit["recall_ceiling"],
    ]
    return tables.Grid(
        f"FLAN filter of {stage}", ["dataset", "task", "rows removed"], rows, notes, left=2
    )


def _versions(run: Run) -> dict[str, str]:
    """Tool versions by name, from the run and from the evaluations."""
    versions = {str(name): str(version) for name, version in run.note.get("versions", {}).items()}
    for result in run.results.values():
        for name, version in result["harness"].items():
            versions.setdefault(name, str(version))
    return dict(sorted(versions.items(), key=lambda item: item[0].lower()))
