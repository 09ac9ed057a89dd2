"""`report.html` and `report.md` of a run, each one file; every number is read from the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from markupsafe import Markup

from solar_plugins import __version__, atomic
from solar_plugins.chain.chain_file import BASE_MODEL
from solar_plugins.chain.run.record import DONE
from solar_plugins.depth_up_scaling.layer_map import ranges_of
from solar_plugins.depth_up_scaling.picture import in_words, layer_map_svg
from solar_plugins.evaluation.benchmarks import BY_KEY, sample_note
from solar_plugins.render import render
from solar_plugins.report import provenance, results, tables
from solar_plugins.report.charts import Figure, Points, Series, line_chart, smooth
from solar_plugins.report.comparisons import comparisons
from solar_plugins.report.cost import cost_grid
from solar_plugins.report.drawings import Node, lineage
from solar_plugins.report.paper_tables import paper_tables
from solar_plugins.report.run import NOT_RUN, Run, StageRun, read_run


def write_report(
    run_dir: str | Path, out: str | Path | None = None, paper: bool = False
) -> tuple[Path, Path]:
    """Write `report.html` and `report.md` of the run in `run_dir`, as far as it got.

    Args:
        run_dir: the output folder of a chain that `solar run` has started.
        out: where to write; the run folder itself by default.
        paper: set the paper's rows beside it on any base.

    Returns:
        The two files.

    Raises:
        SolarError: it is not a run folder, or a file in it cannot be read.
    """
    run = read_run(run_dir, paper)
    html, markdown = (Path(out or run_dir) / f"report.{suffix}" for suffix in ("html", "md"))
    atomic.write_text(html, to_html(run))
    atomic.write_text(markdown, to_markdown(run))
    return html, markdown


def to_html(run: Run) -> str:
    """The page: inline style and SVG, readable on a phone, in the dark and on paper."""
    return render(
        __file__,
        "report.html",
        **_both(run),
        version=__version__,
        benchmarks=[BY_KEY[key] for key in run.benchmarks],
        rows=results.model_rows(run),
        chance=results.chance_levels(run),
        miniature=results.is_miniature(run),
        titles=results.titles(run),
        sample=sample_note(run.results.values()),
        loss_unit=results.loss_unit(run),
        others=tables.others_grid(run),
        up_scalings=[(found, *_layer_map(run, found.stage)) for found in results.up_scalings(run)],
        trainings=_trainings(run, with_preferences=False),
        preferences=_trainings(run, with_preferences=True),
        rewards=tables.rewards_grid(run),
        lineage=lineage(_nodes(run)),
        longest_s=max((s.record.wall_s for s in run.stages.values() if s.record), default=0.0),
        percent=lambda share: f"{100 * share:.2f}",
        duration=tables.duration,
        NOT_RUN=NOT_RUN,
    )


def to_markdown(run: Run) -> str:
    """The same tables as text, with the lineage as a Mermaid graph."""
    layer_maps = []
    for stage in run.stages.values():
        if proof := stage.proofs.get("depth_up_scaling"):
            layers, depth = proof["layer_map"], proof["base_num_hidden_layers"]
            words = in_words(layers, depth, proof.get("init", "copy"))
            layer_maps.append((stage.name, depth, len(layers), ranges_of(layers), words))
    grids, stages = tables.result_grids(run), tables.stages_grid(run)
    more = {"results": grids, "stages": stages, "layer_maps": layer_maps, "nodes": _nodes(run)}
    return render(__file__, "report.md", **_both(run), **more)


def _both(run: Run) -> dict[str, Any]:
    """What both files show."""
    return {
        "run": run,
        "headline": headline(run),
        "paper_tables": paper_tables(run),
        "comparisons": comparisons(run),
        "filters": [tables.filter_grid(stage, audit) for stage, audit in results.filters(run)],
        "cost": cost_grid(run),
        "versions": provenance.versions(run),
        "provenance": provenance.grids(run),
        "papers": provenance.papers(run),
    }


def headline(run: Run) -> list[tuple[str, str]]:
    """The run in a few facts, for the head of the page."""
    records = [stage.record for stage in run.stages.values() if stage.record is not None]
    done = sum(record.state == DONE for record in records)
    facts = [("stages done", f"{done} of {len(run.stages)}")]
    scored = [(row.model, row.h6) for row in results.model_rows(run) if row.h6 is not None]
    for model, h6 in dict.fromkeys([*scored[:1], *scored[-1:]]):
        facts.append((f"H6 of {model}", f"{100 * h6:.2f}"))
    if records:
        facts.append(("time of all stages", tables.duration(sum(r.wall_s for r in records))))
        peak = max(record.peak_memory_gib for record in records)
        facts += [("peak memory", f"{peak:.2f} GiB")] if peak else []
    return facts


def _layer_map(run: Run, stage: str) -> tuple[dict[str, Any], Markup]:
    """The proof of an up-scaling, and its picture."""
    proof = run.stages[stage].proofs["depth_up_scaling"]
    layers, depth = proof["layer_map"], proof["base_num_hidden_layers"]
    init = proof.get("init", "copy")  # older records do not say
    return proof, Markup(layer_map_svg(layers, depth, init))


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

    def smoothed(label: str, parts: list[Points], color: int, raw: bool = True) -> list[Series]:
        faint = [Series("", part, color, faint=True) for part in parts if raw]
        return faint + [Series(label, smooth(part), color) for part in parts]

    held_out = Series("held-out", results.series(stage, "eval_loss"), 1)
    figures = {
        "loss": [*smoothed("mean", results.by_step(stage, "loss"), 0), held_out],
        "reward accuracy": smoothed("mean", results.by_step(stage, "rewards/accuracies"), 2),
        "rewards": [
            line
            for color, name in ((3, "margins"), (2, "chosen"), (1, "rejected"))
            for line in smoothed(name, results.by_step(stage, f"rewards/{name}"), color, raw=False)
        ],
        "KL to the start": smoothed("nats per answer", [*results.kl_to_start(stage).values()], 0),
    }
    drawn = []
    for what, lines in figures.items():
        caption = f"{stage.name}: {what}"
        drawn.append(Figure(caption, line_chart(caption, lines, "step", bounds), lines))
    return [figure for figure in drawn if figure.picture]


def _nodes(run: Run) -> list[Node]:
    """The models of the run for the lineage; data and evaluation stages do not make one."""
    h6 = {row.model: row.h6 for row in results.model_rows(run) if row.h6 is not None}
    models = [stage for stage in run.stages.values() if stage.makes_model]
    nodes = []
    if any(BASE_MODEL in stage.sources for stage in models):
        nodes.append(Node(BASE_MODEL, (run.chain.base_model,), (), "base"))
    for stage in models:
        state = stage.kind if stage.state == DONE else stage.state
        layers = stage.facts.get("num_hidden_layers")
        details = [state if layers is None else f"{state}, {layers} layers"]
        details += [f"H6 {100 * h6[stage.name]:.2f}"] if stage.name in h6 else []
        nodes.append(Node(stage.name, tuple(details), stage.sources, state.replace(" ", "-")))
    return nodes
