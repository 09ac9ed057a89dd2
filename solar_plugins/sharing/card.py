"""The model card of a stage's model: what it is, how it was made, what it scores, what to doubt.

Everything in it comes from the run folder. The same run gives the same text: no date, no machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from solar_plugins import __version__, atomic
from solar_plugins.chain.chain_file import BASE_MODEL
from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.chain.run.record import DONE
from solar_plugins.chain.run.run_folder import RunFolder
from solar_plugins.depth_up_scaling.layer_map import ranges_of
from solar_plugins.errors import SolarError
from solar_plugins.evaluation.benchmarks import BY_KEY, BY_TASK, sample_note
from solar_plugins.models import licence
from solar_plugins.recipes import global_batch
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.report.render import render
from solar_plugins.report.run import Run, StageRun, read_run
from solar_plugins.report.tables import Grid, number, percent

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

FILE = "README.md"
_TEMPLATE = Path(__file__).parent / "templates" / "card.md.j2"

_HARNESS = "https://github.com/EleutherAI/lm-evaluation-harness"
_ITEMS = {  # dataset on the Hub, configuration and split of each benchmark
    "hellaswag": ("Rowan/hellaswag", "default", "validation"),
    "winogrande": ("allenai/winogrande", "winogrande_xl", "validation"),
    **{key: benchmark.items for key, benchmark in BY_KEY.items() if benchmark.items},
}


def write_cards(run_dir: Path, stages: tuple[str, ...] = ()) -> list[Path]:
    """Write ``README.md`` into the folder of every model of a run that is done.

    Args:
        stages: Only these.

    Raises:
        SolarError: it is not a run folder, or one of `stages` has not made a model.
    """
    run = read_run(run_dir)
    for name in stages:
        run.chain.stage(name, "card")
        if not _has_model(run.stages[name]):
            raise SolarError(f"{run_dir}: {name} has made no model (yet), so it gets no card.")
    written = []
    for stage in run.stages.values():
        if not _has_model(stage) or (stages and stage.name not in stages):
            continue
        if stage.record and FILE in stage.record.outputs:
            continue  # a run of an older version, which would find its model changed
        path = RunFolder(run_dir).stage(stage.name) / FILE
        atomic.write_text(path, card_of(run, stage.name))
        written.append(path)
    return written


def card_of(run: Run, name: str) -> str:
    """The card of the model that the stage `name` of `run` made, with its front matter."""
    lineage, result = _lineage(run, name), run.results.get(name)
    return (
        render(
            _TEMPLATE,
            run=run,
            stage=run.stages[name],
            data=_front_matter(run, name, lineage),
            base=run.chain.base_model,
            version=__version__,
            lineage=lineage,
            steps=_steps(lineage).to_markdown(),
            result=result,
            scores=_scores(result).to_markdown() if result else "",
            sample=sample_note([result]) if result else None,
            miniature=any(task.startswith("mini_") for task in (result or {}).get("tasks", ())),
            local=sorted({_shown(path) for path in _datasets(lineage) if not _on_hub(path)}),
            harness=_harness,
            on_hub=_on_hub,
            ranges=_ranges,
            shown=_shown,
        )
        + "\n"
    )


def _on_hub(name: str) -> bool:
    """Whether a model or dataset is one of the Hub and not a folder or file here."""
    return not is_local(name) and not Path(name).exists()


def _has_model(stage: StageRun) -> bool:
    return stage.makes_model and stage.record is not None and stage.state == DONE


def _lineage(run: Run, name: str) -> list[StageRun]:
    """The stages whose models went into this one, and it itself, in running order."""
    wanted, ahead = set(), [name]
    while ahead:
        here = ahead.pop()
        if here not in wanted and here != BASE_MODEL:
            wanted.add(here)
            ahead.extend(run.stages[here].sources)
    return [s for s in run.stages.values() if s.name in wanted and s.kind in ("train", "merge")]


def _front_matter(run: Run, name: str, lineage: list[StageRun]) -> ModelCardData:
    from huggingface_hub import ModelCardData

    base = run.chain.base_model
    hub_base = base if _on_hub(base) else None
    datasets = [path for path in _datasets(lineage) if _on_hub(path) and path.count("/") == 1]
    used = {stage.kind for stage in lineage} | {proof for s in lineage for proof in s.proofs}
    tags = ["solar-plugins", *["axolotl"] * ("train" in used)]
    tags += ["mergekit", "merge"] * ("merge" in used)
    tags += ["depth-up-scaling"] * ("depth_up_scaling" in used)
    tags += sorted({str(stage.recipe["rl"]) for stage in lineage if stage.recipe.get("rl")})
    tags += ["sdpo"] * ("sdpo" in used)
    merged = run.stages[name].kind == "merge"
    results = _eval_results(run, name)
    return ModelCardData(
        base_model=hub_base,
        base_model_relation=("merge" if merged else "finetune") if hub_base else None,
        datasets=datasets or None,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=tags,
        model_name=f"{run.chain.name}-{name}" if results else None,
        eval_results=results or None,
        **_license(base, hub_base),
    )


def _license(base: str, hub_base: str | None) -> dict[str, str]:
    """The base's licence where its card is on this machine; else where to read it."""
    if known := licence.find(base):
        return known
    if hub_base is None:
        return {"license": "unknown"}
    link = f"https://huggingface.co/{hub_base}"
    return {"license": "other", "license_name": "that-of-the-base-model", "license_link": link}


def _eval_results(run: Run, name: str) -> list[EvalResult]:
    """The six scores and H6 as the Hub's model index has them; in percent. A trial has none."""
    from huggingface_hub import EvalResult

    result = run.results.get(name)
    if result is None or sample_note([result]):
        return []
    common = {"task_type": "text-generation", "task_name": "Text Generation"}
    common |= {"source_name": _harness(result), "source_url": _HARNESS}
    found = []
    for task_name, task in result["tasks"].items():
        if task["value"] is None:
            continue
        dataset, config, split = _ITEMS[task["benchmark"]]
        title = BY_KEY[task["benchmark"]].title
        place: dict[str, Any] = {"dataset_type": dataset, "dataset_name": title}
        place |= {"dataset_config": config, "dataset_split": split}
        if task_name.startswith("mini_"):
            place = {"dataset_type": task_name, "dataset_name": f"{title} in miniature"}
        if task["num_fewshot"] is not None:
            place["dataset_args"] = {"num_few_shot": task["num_fewshot"]}
        metric, value = task["metric"], round(100 * task["value"], 2)
        named = {"metric_type": metric, "metric_name": metric, "metric_value": value}
        found.append(EvalResult(**common, **place, **named))
    if result["h6"] is not None:
        average = {"dataset_type": "h6", "dataset_name": "H6, the mean of the six"}
        average |= {"metric_type": "accuracy", "metric_name": "H6"}
        found.append(EvalResult(**common, **average, metric_value=round(100 * result["h6"], 2)))
    return found


def _others(result: dict[str, Any]) -> list[tuple[str, str, float | None]]:
    """Task, metric and value of held-out losses, and of what else lm-eval measured."""
    losses = result["losses"].items()
    return [(task, loss["metric"], loss["value"]) for task, loss in losses] + [
        (task, metric.partition(",")[0], value)
        for task, kept in result["other"].items()
        for metric, value in kept["values"].items()
        if "_stderr" not in metric
    ]


def _harness(result: dict[str, Any]) -> str:
    return f"lm-evaluation-harness {result['harness']['lm_eval']}"


def _steps(lineage: list[StageRun]) -> Grid:
    rows = []
    for stage in lineage:
        recipe = stage.recipe
        how, data, rate, batch = f"MergeKit, {recipe.get('merge_method', '?')}", "", "", ""
        if stage.kind == "train":
            how = f"Axolotl, {recipe['rl']}" if recipe.get("rl") else "Axolotl"
            data = ", ".join(dict.fromkeys(map(_shown, _datasets([stage]))))
            rate, batch = recipe.get("learning_rate", ""), _batch(stage, recipe)
        cells = (stage.name, ", ".join(stage.sources), how, data, rate, batch)
        rows.append([*map(str, cells), str(recipe.get("seed", ""))])
    columns = ["stage", "from", "by", "data", "learning rate", "batch", "seed"]
    return Grid("", columns, rows, left=7)


def _datasets(lineage: list[StageRun]) -> list[str]:
    """What the stages' recipes read, each once."""
    entries = (entry for stage in lineage for entry in datasets_of(stage.recipe))
    return list(dict.fromkeys(str(entry["path"]) for entry in entries))


def _shown(path: str) -> str:
    return path if _on_hub(path) else Path(path).name


def _batch(stage: StageRun, recipe: dict[str, Any]) -> str:
    """Sequences per optimizer step."""
    world = stage.facts.get("proofs", {}).get("stage", {}).get("world_size")
    if world or recipe.get(global_batch.KEY):
        return str(global_batch.of(recipe, world or 1))
    return f"{global_batch.of(recipe, 1)} per process"


def _ranges(layer_map: list[int]) -> str:
    """``[0, 1, 2, 1, 2, 3]`` as ``0-2, 1-3``."""
    return ", ".join(f"{start}-{end - 1}" for start, end in ranges_of(layer_map))


def _scores(result: dict[str, Any]) -> Grid:
    rows = [
        [
            BY_KEY[task["benchmark"]].title + " (invented)" * (name not in BY_TASK),
            percent(task["value"], "not a number"),
            percent(task["stderr"], ""),
            number(task["num_fewshot"], "", ""),
            str(task["n"]),
        ]
        for name, task in result["tasks"].items()
    ]
    if result["h6"] is not None:
        rows.append(["**H6**", f"**{percent(result['h6'], '')}**", "", "", ""])
    for task, metric, value in _others(result):
        n = {**result["losses"], **result["other"]}[task].get("n", "")
        what = f"held-out {metric.replace('_', ' ')}" if task in result["losses"] else metric
        rows.append([f"{task}, {what}", number(value, ".4f", "not a number"), "", "", str(n)])
    return Grid("", ["benchmark", "score", "±", "shots", "items"], rows)
