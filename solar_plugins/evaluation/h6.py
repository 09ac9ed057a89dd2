"""Measure one model with lm-eval and keep the six scores of H6.

The config file is the one that ``lm_eval run --config FILE`` takes. lm-eval reads it, builds the
tasks and scores them; here each task is run by itself and its result kept, so that an interrupted
evaluation resumes at the task it was in.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from importlib.metadata import version
from numbers import Real
from pathlib import Path

from solar_plugins import atomic
from solar_plugins.errors import SolarError, nearest, show_errors_in_one_line
from solar_plugins.evaluation import harness
from solar_plugins.evaluation.backend import AS_CONFIGURED, Backend
from solar_plugins.evaluation.benchmarks import (
    BY_KEY,
    BY_TASK,
    Benchmark,
    h6,
    h6_stderr,
    mean_stderr,
    plain_mean,
    ratio_stderr,
)
from solar_plugins.evaluation.result_file import ItemLog, settings_digest

# What of the config decides the scores, besides the tasks' own versions.
SETTINGS = (
    *("model", "model_args", "batch_size", "num_fewshot", "gen_kwargs", "apply_chat_template"),
    *("system_instruction", "fewshot_as_multiturn", "seed"),
)


def evaluate_model(
    config_file: Path,
    model: Path | str,
    out_json: Path,
    model_name: str,
    limit: float | None = None,
    backend: Backend = AS_CONFIGURED,
    all_or_nothing: bool = True,
) -> dict:
    """Run the tasks of `config_file` on `model` and write the scores to `out_json`.

    Args:
        config_file: lm-eval's own YAML; `model_args.pretrained` is replaced by `model`.
        out_json: the result file; next to it `<name>.partial.jsonl` exists while tasks are missing.
        model_name: the model's name in the result, for example its stage.
        limit: lm-eval's `--limit`, over the config file's; scores under a limit are a trial.
        all_or_nothing: raise if a task's data cannot be loaded, after the other tasks have been
            measured and kept. If False, the result is written with that task under `not_run`.

    Returns:
        The content of `out_json`. A score that lm-eval could not compute is None, and so is H6
        unless all six scores are there. `not_run` has the cause of each task that could not be
        loaded; the same call measures only these.

    Raises:
        SolarError: the config file, a task name, the model folder or the backend is wrong.
    """
    config_file, out_json = Path(config_file), Path(out_json)
    config = harness.read_config(config_file, model, limit, backend)
    manager = harness.task_manager(config, config_file)
    versions = {name: version(name) for name in ("lm_eval", "transformers", "torch")}
    partial_file = out_json.with_name(f"{out_json.stem}.partial.jsonl")
    settings = dataclasses.asdict(config)
    decisive = {name: settings[name] for name in settings if name not in harness.OUTPUT_KEYS}
    key = settings_digest({**decisive, "versions": versions}, ours={out_json, partial_file})
    log = ItemLog(partial_file, key)

    lm, not_run = None, {}
    for name, entry in harness.single_tasks(config.tasks, manager):
        if name in log.items:
            harness.LOG.info("%s was measured before the interruption", name)
            continue
        started = time.monotonic()
        try:
            tasks = harness.load_tasks(entry, config, manager)
        except SolarError as error:
            not_run[name] = str(error)
            harness.LOG.error("%s is not run: %s", name, error)
            continue
        lm = harness.load_model(config) if lm is None else lm
        measured = harness.measure(lm, tasks, config)
        if measured is not None:  # None on every rank but the first
            kind, result = _result(name, measured)
            seconds = round(time.monotonic() - started, 3)
            log.add(name, {"kind": kind, "result": result, "seconds": seconds})

    if not_run and all_or_nothing:
        causes = "; ".join(f"{name} ({cause})" for name, cause in not_run.items())
        raise SolarError(
            f"{config_file}: tasks: could not be loaded: {causes}. The others are measured and "
            "kept; the same command measures only what is missing"
        )
    tables: dict[str, dict[str, dict]] = {"tasks": {}, "losses": {}, "other": {}}
    for name, done in log.items.items():
        tables[done["kind"]][name] = done["result"]
    scores: dict[str, dict] = {}
    for name, one in tables["tasks"].items():
        first = scores.setdefault(one["benchmark"], {"name": name, **one})["name"]
        if first != name:
            raise SolarError(
                f"tasks: {first} and {name} both measure {BY_KEY[one['benchmark']].title}. "
                "H6 needs exactly one of them: remove the other"
            )
    content = {
        "model": model_name,
        "model_path": config.model_args["pretrained"],
        "tasks": tables["tasks"],
        "h6": h6({key: one["value"] for key, one in scores.items()}),
        "h6_stderr": h6_stderr({key: one["stderr"] for key, one in scores.items()}),
        "losses": tables["losses"],
        "other": tables["other"],
        "not_run": not_run,
        "limit": config.limit,
        "settings": {name: settings[name] for name in SETTINGS},
        "harness": versions,
        "seconds": round(sum(done["seconds"] for done in log.items.values()), 3),
    }
    if lm is None or lm.rank == 0:
        atomic.write_json(out_json, content)
        if not not_run:
            partial_file.unlink(missing_ok=True)
    return content


def _result(name: str, measured: dict) -> tuple[str, dict]:
    """The table of the result file that the task belongs to, and its entry there."""
    values = measured["results"][name]
    leaves = measured["n-samples"]  # a group's own entry is not among them
    task_config = measured["configs"][next(iter(leaves))]
    metadata = task_config.get("metadata") or {}
    shots = {measured["n-shot"][leaf] for leaf in leaves}
    facts: dict[str, object] = {
        "num_fewshot": shots.pop() if len(shots) == 1 else None,
        "version": measured["versions"].get(name),
        "n": sum(count["effective"] for count in leaves.values()),
    }
    if task_config.get("output_type") == "generate_until":
        facts["stops"] = (task_config.get("generation_kwargs") or {}).get("until")
    benchmark = BY_TASK.get(name)
    if benchmark is None and "benchmark" in metadata:  # a task of ours names the one it stands for
        declared = str(metadata["benchmark"])
        if declared not in BY_KEY:
            raise SolarError(
                f"{name}: metadata.benchmark: {declared!r} is not one of {', '.join(BY_KEY)}."
                f"{nearest(declared, BY_KEY)}"
            )
        benchmark = BY_KEY[declared]
    if benchmark is not None:
        score = _score(name, benchmark, measured)
        return "tasks", {**score, "chance": metadata.get("chance", benchmark.chance), **facts}
    items = values.get("items,none")
    if items is not None:  # of our held-out tasks: what the model makes of each item
        facts["items"] = [list(item) for item in items]
    if "bits_per_byte,none" in values:
        # Per byte, so that it can be compared between models with different tokenizers.
        loss = {"metric": "bits_per_byte", "value": _finite(values["bits_per_byte,none"])}
        return "losses", {**loss, **({"stderr": ratio_stderr(items)} if items else {}), **facts}
    numbers = {key: _finite(value) for key, value in values.items() if isinstance(value, float)}
    return "other", {"values": numbers, **facts}


def _score(name: str, benchmark: Benchmark, measured: dict) -> dict:
    """Score and standard error of a task; of a group, the plain mean of its tasks.

    The Open LLM Leaderboard's MMLU was the plain mean of the 57 subjects, as the paper's is;
    lm-eval weights each subject by its number of questions. Its own number is kept beside ours.
    """
    values = measured["results"][name]
    kept = next((kept for kept in benchmark.filters if f"{benchmark.metric},{kept}" in values), "")
    if not kept:
        raise SolarError(
            f"{name}: lm-eval gave {', '.join(sorted(values))}, not {benchmark.metric}. "
            f"A task that measures {benchmark.title} must have metric {benchmark.metric}"
        )

    def read(task: str, metric: str) -> float | None:
        return _finite(measured["results"][task].get(f"{metric},{kept}"))

    stderr_of = f"{benchmark.metric}_stderr"
    found = {"value": read(name, benchmark.metric), "stderr": read(name, stderr_of)}
    score = {"benchmark": benchmark.key, "metric": benchmark.metric}
    parts = list(measured["n-samples"])
    if parts == [name]:
        return {**score, **found, "averaging": "all items"}
    return {
        **score,
        "value": plain_mean([read(part, benchmark.metric) for part in parts]),
        "stderr": mean_stderr([read(part, stderr_of) for part in parts]),
        "averaging": f"plain mean of {len(parts)} tasks",
        "lm_eval": {**found, "averaging": "weighted by number of items"},
    }


def _finite(value: object) -> float | None:
    """None for NaN and infinity, which JSON cannot hold and an average must not hide."""
    return float(value) if isinstance(value, Real) and math.isfinite(value) else None


def main(arguments: list[str]) -> None:
    """`evaluate_model` in one of the processes that accelerate's launcher starts, one per GPU.

    Args:
        arguments: its first four arguments and, if given, others as JSON.
    """
    config_file, model, out_json, name, more = (*arguments, "{}")[:5]
    backend = Backend(data_parallel=int(os.environ["WORLD_SIZE"]))
    options = {"backend": backend, **json.loads(more)}
    evaluate_model(Path(config_file), model, Path(out_json), name, **options)


if __name__ == "__main__":
    show_errors_in_one_line()
    main(sys.argv[1:])
