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
from solar_plugins.errors import SolarError
from solar_plugins.models import licence
from solar_plugins.recipes import global_batch
from solar_plugins.recipes.named_data import datasets_of
from solar_plugins.report.run import Run, StageRun, read_run

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

FILE = "README.md"

_PAPER = "https://arxiv.org/abs/2312.15166"
_HARNESS = "https://github.com/EleutherAI/lm-evaluation-harness"
# Where each benchmark's items come from on the Hub: (dataset, its name, config, split).
_BENCHMARKS = {
    "arc": ("allenai/ai2_arc", "ARC", "ARC-Challenge", "test"),
    "hellaswag": ("Rowan/hellaswag", "HellaSwag", "default", "validation"),
    "mmlu": ("cais/mmlu", "MMLU", "all", "test"),
    "truthfulqa": ("truthfulqa/truthful_qa", "TruthfulQA", "multiple_choice", "validation"),
    "winogrande": ("allenai/winogrande", "Winogrande", "winogrande_xl", "validation"),
    "gsm8k": ("openai/gsm8k", "GSM8K", "main", "test"),
}
_TITLES = {key: name for key, (_, name, _, _) in _BENCHMARKS.items()}


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
    lineage = _lineage(run, name)
    data = _front_matter(run, name, lineage)
    stage = run.stages[name]
    parts = [
        f"# {run.chain.name}: {name}",
        _what_it_is(run, stage, lineage),
        "## How it was made\n\n" + _steps_table(lineage),
        *_notes(lineage),
        _versions(run),
        "## Results\n\n" + _results(run, name),
        "## Limits\n\n" + _limits(run, name, lineage),
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n"


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
    tags = ["solar-plugins"]
    if any(stage.kind == "train" for stage in lineage):
        tags.append("axolotl")
    if any(stage.kind == "merge" for stage in lineage):
        tags += ["mergekit", "merge"]
    if any("depth_up_scaling" in stage.proofs for stage in lineage):
        tags.append("depth-up-scaling")
    tags += sorted({str(stage.recipe["rl"]) for stage in lineage if stage.recipe.get("rl")})
    if any("sdpo" in stage.proofs for stage in lineage):
        tags.append("sdpo")
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
    known = licence.find(base)
    if known:
        return known
    if hub_base is None:
        return {"license": "unknown"}
    return {
        "license": "other",
        "license_name": "that-of-the-base-model",
        "license_link": f"https://huggingface.co/{hub_base}",
    }


def _eval_results(run: Run, name: str) -> list[EvalResult]:
    """The six scores and H6 as the Hub's model index has them; in percent. A trial has none."""
    from huggingface_hub import EvalResult

    result = run.results.get(name)
    if result is None or result["limit"] is not None:
        return []
    common = {"task_type": "text-generation", "task_name": "Text Generation"}
    common |= {"source_name": _harness(result), "source_url": _HARNESS}
    found = []
    for task_name, task in result["tasks"].items():
        if task["value"] is None:
            continue
        dataset, title, config, split = _BENCHMARKS[task["benchmark"]]
        if task_name.startswith("mini_"):
            place = {"dataset_type": task_name, "dataset_name": f"{title} in miniature"}
        else:
            place = {"dataset_type": dataset, "dataset_name": title}
            place |= {"dataset_config": config, "dataset_split": split}
        shots = {} if task["num_fewshot"] is None else {"num_few_shot": task["num_fewshot"]}
        found.append(
            EvalResult(
                **common,
                **place,
                dataset_args=shots or None,
                metric_type=task["metric"],
                metric_name=task["metric"],
                metric_value=round(100 * task["value"], 2),
            )
        )
    if result["h6"] is not None:
        average = {"dataset_type": "h6", "dataset_name": "H6, the mean of the six"}
        average |= {"metric_type": "accuracy", "metric_name": "H6"}
        found.append(EvalResult(**common, **average, metric_value=round(100 * result["h6"], 2)))
    return found


def _harness(result: dict[str, Any]) -> str:
    return f"lm-evaluation-harness {result['harness']['lm_eval']}"


def _what_it_is(run: Run, stage: StageRun, lineage: list[StageRun]) -> str:
    base = run.chain.base_model
    shown = f"[{base}](https://huggingface.co/{base})" if _on_hub(base) else f"`{Path(base).name}`"
    facts = stage.facts
    size = ""
    if facts.get("parameters"):
        layers = facts.get("num_hidden_layers")
        size = f" {facts['parameters']:,} parameters" + (f", {layers} layers." if layers else ".")
    made = "A merge" if stage.kind == "merge" else "A model trained"
    return (
        f"{made} by the chain `{run.chain.name}` from {shown}, after the recipe of "
        f"[SOLAR 10.7B]({_PAPER}), with solar_plugins {__version__}.{size}"
    )


def _steps_table(lineage: list[StageRun]) -> str:
    lines = [
        "| stage | from | by | data | learning rate | batch | seed |",
        "|---|---|---|---|---|---|---|",
    ]
    for stage in lineage:
        recipe = stage.recipe
        if stage.kind == "merge":
            how, data, rate, batch = f"MergeKit, {recipe.get('merge_method', '?')}", "", "", ""
        else:
            how = f"Axolotl, {recipe['rl']}" if recipe.get("rl") else "Axolotl"
            data = ", ".join(dict.fromkeys(map(_shown, _datasets([stage]))))
            rate, batch = recipe.get("learning_rate", ""), _batch(stage, recipe)
        cells = (stage.name, ", ".join(stage.sources), how, data, rate, batch)
        lines.append(f"| {' | '.join(map(_cell, (*cells, recipe.get('seed', ''))))} |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


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


def _notes(lineage: list[StageRun]) -> list[str]:
    """What the paper's plugins did, by their own proofs."""
    notes = []
    for stage in lineage:
        up_scaled = stage.proofs.get("depth_up_scaling")
        if up_scaled:
            notes.append(
                f"`{stage.name}` begins with depth up-scaling: "
                f"{up_scaled['base_num_hidden_layers']} layers stacked to "
                f"{len(up_scaled['layer_map'])}, which are the base's "
                f"{_ranges(up_scaled['layer_map'])}."
            )
        audit = stage.proofs.get("flan_filter_audit") or stage.proofs.get("flan_filter")
        if audit and "rows_removed" in audit:
            notes.append(
                f"From the data of `{stage.name}` the FLAN filter removed "
                f"{audit['rows_removed']:,} of {audit['rows_in']:,} rows."
            )
        sdpo = stage.proofs.get("sdpo")
        if sdpo:
            rows = ", ".join(f"{step['rows']:,}" for step in sdpo["steps"])
            notes.append(
                f"`{stage.name}` is stepwise DPO: {len(sdpo['steps'])} steps of {rows} pairs."
            )
    return notes


def _ranges(layer_map: list[int]) -> str:
    """``[0, 1, 2, 1, 2, 3]`` as ``0-2, 1-3``."""
    ranges = [[layer_map[0], layer_map[0]]]
    for layer in layer_map[1:]:
        if layer == ranges[-1][1] + 1:
            ranges[-1][1] = layer
        else:
            ranges.append([layer, layer])
    return ", ".join(f"{first}-{last}" for first, last in ranges)


def _versions(run: Run) -> str:
    made_with = run.note.get("versions") or {}
    return "Versions: " + ", ".join(f"{k} {v}" for k, v in made_with.items() if v) + "."


def _results(run: Run, name: str) -> str:
    result = run.results.get(name)
    if result is None:
        return "Not evaluated."
    lines = ["| benchmark | score | ± | shots | items |", "|---|---:|---:|---:|---:|"]
    for task in result["tasks"].values():
        value = "not a number" if task["value"] is None else f"{100 * task['value']:.2f}"
        error = "" if task["stderr"] is None else f"{100 * task['stderr']:.2f}"
        shots = "" if task["num_fewshot"] is None else task["num_fewshot"]
        lines.append(
            f"| {_TITLES[task['benchmark']]} | {value} | {error} | {shots} | {task['n']} |"
        )
    if result["h6"] is not None:
        lines.append(f"| **H6** | **{100 * result['h6']:.2f}** | | | |")
    trial = ""
    if result["limit"] is not None:
        trial = f" A trial with {result['limit']:g} items per task: not a score."
    if any(task.startswith("mini_") for task in result["tasks"]):
        trial += " These are miniatures of the benchmarks, not the benchmarks."
    return "\n".join(lines) + f"\n\nIn percent, by {_harness(result)}.{trial}"


def _limits(run: Run, name: str, lineage: list[StageRun]) -> str:
    limits = ["No evaluation of safety, bias or truthfulness in use has been made."]
    if run.results.get(name) is None:
        limits.append("It was not evaluated at all.")
    else:
        limits.append(
            "One seed; whether training data overlap the benchmarks is not measured here."
        )
    local = sorted({_shown(path) for path in _datasets(lineage) if not _on_hub(path)})
    if local:
        limits.append(f"Trained on local data that are not on the Hub: {', '.join(local)}.")
    limits.append(
        "Licences and terms of the base model and of every dataset above hold for this model too; "
        "look at their cards."
    )
    if not any(stage.recipe.get("rl") for stage in lineage):
        limits.append("No preference tuning: it was not trained to refuse anything.")
    return "\n".join(f"- {limit}" for limit in limits)
