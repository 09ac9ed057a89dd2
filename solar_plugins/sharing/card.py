"""The model card of a stage's model: what it is, how it was made, what it scores, what to doubt.

Everything in it comes from the run folder. The same run gives the same text: no date, no machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
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
from solar_plugins.recipes.data_recipe import SynthMathRecipe, read
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.render import render
from solar_plugins.report.cost import costs
from solar_plugins.report.provenance import taken_by
from solar_plugins.report.run import Run, StageRun, read_run
from solar_plugins.report.tables import percent

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

FILE = "README.md"

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
    names = {stage.name for stage in lineage}
    spent = [cost for cost in costs(run) if cost["stage"] in names and cost["energy_kwh"]]

    def datasets(made: StageRun) -> str:
        return ", ".join(dict.fromkeys(map(_shown, _datasets([made]))))

    text = render(
        __file__,
        "card.md",
        **{"run": run, "stage": run.stages[name], "lineage": lineage, "result": result},
        **{"data": _front_matter(run, name, lineage), "version": __version__},
        **{"base": run.chain.base_model, "on_hub": _on_hub, "shown": _shown},
        **{"batch": _batch, "datasets": datasets, "ranges": ranges_of, "percent": percent},
        titles={key: benchmark.title for key, benchmark in BY_KEY.items()},
        public=BY_TASK,
        sample=sample_note([result]) if result else None,
        gpu_hours=sum(cost["gpu_hours"] for cost in spent),
        energy_kwh=sum(cost["energy_kwh"] for cost in spent),
        others=list(_others(result)) if result else [],
        harness=_harness(result) if result else "",
        miniature=any(task.startswith("mini_") for task in (result or {}).get("tasks", ())),
        licences=licences(run, lineage),
    )
    return f"{text}\n"


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
        **licence.strictest(licences(run, lineage).values()),
    )


def licences(run: Run, lineage: list[StageRun]) -> dict[str, dict[str, str]]:
    """What the models of `lineage` were made from, and its licence."""
    found = {}
    for stage in lineage:
        base = run.chain.base_model if BASE_MODEL in stage.sources else None
        for kind, name, _ in taken_by(stage.kind, stage.recipe, base):
            for part in _from_elsewhere(run, name):
                found[_shown(part)] = licence.known(part, "dataset" if part != name else kind)
    return found


def _from_elsewhere(run: Run, name: str) -> list[str]:
    """A model or dataset; of one that a data stage has made, what it was made from."""
    place, root = Path(os.path.normpath(name)), run.chain.output_dir
    if not place.is_relative_to(root):
        return [name]
    maker = run.stages.get(place.relative_to(root).parts[0])
    if maker is None or maker.kind != "data":
        return []
    made = read(maker.recipe)
    return [made.metamathqa, made.math] if isinstance(made, SynthMathRecipe) else ["solar_plugins"]


def _eval_results(run: Run, name: str) -> list[EvalResult]:
    """The six scores and H6 as the Hub's model index has them; in percent. A trial has none."""
    from huggingface_hub import EvalResult

    result = run.results.get(name)
    if result is None or sample_note([result]):
        return []
    common: dict[str, Any] = {"task_type": "text-generation", "task_name": "Text Generation"}
    common |= {"source_name": _harness(result), "source_url": _HARNESS}
    found = []
    for task_name, task in result["tasks"].items():
        if task["value"] is None:
            continue
        title, named = BY_KEY[task["benchmark"]].title, common.copy()
        if task_name.startswith("mini_"):
            named |= {"dataset_type": task_name, "dataset_name": f"{title} in miniature"}
        else:
            keys = ("dataset_type", "dataset_config", "dataset_split", "dataset_name")
            named |= dict(zip(keys, (*_ITEMS[task["benchmark"]], title), strict=True))
        if task["num_fewshot"] is not None:
            named["dataset_args"] = {"num_few_shot": task["num_fewshot"]}
        named |= {"metric_type": task["metric"], "metric_name": task["metric"]}
        found.append(EvalResult(**named, metric_value=round(100 * task["value"], 2)))
    if result["h6"] is not None:
        named = {"dataset_type": "h6", "dataset_name": "H6, the mean of the six"}
        named |= {"metric_type": "accuracy", "metric_name": "H6"}
        found.append(EvalResult(**common, **named, metric_value=round(100 * result["h6"], 2)))
    return found


def _others(result: dict[str, Any]) -> Iterator[tuple[str, float | None, Any]]:
    """What, value and items of held-out losses, and of what else lm-eval measured."""
    for task, loss in result["losses"].items():
        metric = loss["metric"].replace("_", " ")
        yield f"{task}, held-out {metric}", loss["value"], loss.get("n", "")
    for task, kept in result["other"].items():
        for metric, value in kept["values"].items():
            if "_stderr" not in metric:
                yield f"{task}, {metric.partition(',')[0]}", value, kept.get("n", "")


def _harness(result: dict[str, Any]) -> str:
    return f"lm-evaluation-harness {result['harness']['lm_eval']}"


def _datasets(lineage: list[StageRun]) -> list[str]:
    """What the stages' recipes read, each once."""
    entries = (entry for stage in lineage for entry in datasets_of(stage.recipe))
    return list(dict.fromkeys(str(entry["path"]) for entry in entries))


def _shown(path: str) -> str:
    return path if _on_hub(path) else Path(path).name


def _batch(stage: StageRun) -> str:
    """Sequences per optimizer step."""
    world = stage.facts.get("proofs", {}).get("stage", {}).get("world_size")
    if world or stage.recipe.get(global_batch.KEY):
        return str(global_batch.of(stage.recipe, world or 1))
    return f"{global_batch.of(stage.recipe, 1)} per process"
