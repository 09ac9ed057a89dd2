"""Measure one model with lm-eval and keep the six scores of H6.

The config file is the one that ``lm_eval run --config FILE`` takes. lm-eval reads it, builds the
tasks and scores them; here each task is run by itself and its result kept, so that an interrupted
evaluation resumes at the task it was in.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from importlib.metadata import version
from pathlib import Path

from lm_eval.config.evaluate_config import EvaluatorConfig

from solar_plugins import atomic
from solar_plugins.errors import SolarError, nearest
from solar_plugins.evaluation import harness
from solar_plugins.evaluation.backend import AS_CONFIGURED, Backend
from solar_plugins.evaluation.benchmarks import BY_KEY, BY_TASK, Benchmark, h6, h6_stderr
from solar_plugins.evaluation.resume import settings_digest

# What of the config decides the scores, besides the tasks' own versions.
SETTINGS = (
    "model",
    "model_args",
    "batch_size",
    "num_fewshot",
    "gen_kwargs",
    "apply_chat_template",
    "system_instruction",
    "fewshot_as_multiturn",
    "seed",
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
        model: folder or Hugging Face id.
        out_json: the result file; next to it `<name>.partial.json` exists while tasks are missing.
        model_name: the model's name in the result, for example its stage.
        limit: lm-eval's `--limit`, over the config file's; scores under a limit are a trial.
        backend: what computes, and on how many GPUs.
        all_or_nothing: raise if a task's data cannot be loaded, after the other tasks have been
            measured and kept. If False, the result is written with that task under `not_run`.

    Returns:
        The content of `out_json`, see `_result`. A score that lm-eval could not compute is None,
        and so is H6 unless all six scores are there. `not_run` has the cause of each task that
        could not be loaded; the same call measures only these.

    Raises:
        SolarError: the config file, a task name, the model folder or the backend is wrong.
    """
    config_file, out_json = Path(config_file), Path(out_json)
    config = harness.read_config(config_file, model, limit, backend)
    manager = harness.task_manager(config, config_file)
    versions = {name: version(name) for name in ("lm_eval", "transformers", "torch")}
    partial_file = out_json.with_name(f"{out_json.stem}.partial.json")
    settings = dataclasses.asdict(config)
    settings = {name: settings[name] for name in settings if name not in harness.OUTPUT_KEYS}
    key = settings_digest({**settings, "versions": versions}, ours={out_json, partial_file})
    done: dict[str, dict] = {}
    if partial_file.is_file():
        kept = json.loads(partial_file.read_text(encoding="utf-8"))
        done = kept["done"] if kept["key"] == key else {}

    lm, not_run = None, {}
    for name, entry in harness.single_tasks(config.tasks, manager):
        if name in done:
            harness.LOG.info("%s was measured before the interruption", name)
            continue
        started = time.monotonic()
        try:
            tasks = harness.load_tasks(entry, config, manager)
        except harness.NotLoaded as error:
            not_run[name] = str(error)
            harness.LOG.error("%s is not run: %s", name, error)
            continue
        if lm is None:
            lm = harness.load_model(config)
        measured = harness.measure(lm, tasks, config)
        if measured is not None:  # None on every rank but the first
            seconds = round(time.monotonic() - started, 3)
            done[name] = {**_summary(name, measured), "seconds": seconds}
            atomic.write_json(partial_file, {"key": key, "done": done})

    if not_run and all_or_nothing:
        causes = "; ".join(f"{name} ({cause})" for name, cause in not_run.items())
        raise SolarError(
            f"{config_file}: tasks: could not be loaded: {causes}. The others are measured and "
            "kept; the same command measures only what is missing"
        )
    result = _result(model_name, str(model), config, done, not_run, versions)
    if lm is None or lm.rank == 0:
        atomic.write_json(out_json, result)
        if not not_run:
            partial_file.unlink(missing_ok=True)
    return result


def _summary(name: str, measured: dict) -> dict:
    """What is kept of one task: its kind (`tasks`, `losses` or `other`) and its entry there."""
    values = measured["results"][name]
    leaves = measured["n-samples"]  # a group's own entry is not among them
    task_config = measured["configs"][next(iter(leaves))]
    metadata = task_config.get("metadata") or {}
    shots = {measured["n-shot"][leaf] for leaf in leaves}
    facts = {
        "num_fewshot": shots.pop() if len(shots) == 1 else None,
        "version": measured["versions"].get(name),
        "n": sum(count["effective"] for count in leaves.values()),
    }
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
        chance = metadata.get("chance", benchmark.chance)
        score = _score(name, benchmark, values)
        return {"kind": "tasks", "entry": {**score, "chance": chance, **facts}}
    if "bits_per_byte,none" in values:
        # Per byte, so that it can be compared between models with different tokenizers.
        loss = {"metric": "bits_per_byte", "value": _finite(values["bits_per_byte,none"])}
        return {"kind": "losses", "entry": {**loss, **facts}}
    numbers = {key: _finite(value) for key, value in values.items() if isinstance(value, float)}
    return {"kind": "other", "entry": {"values": numbers, **facts}}


def _score(name: str, benchmark: Benchmark, values: dict) -> dict:
    for kept in benchmark.filters:
        if f"{benchmark.metric},{kept}" in values:
            stderr = values.get(f"{benchmark.metric}_stderr,{kept}")
            return {
                "benchmark": benchmark.key,
                "metric": benchmark.metric,
                "value": _finite(values[f"{benchmark.metric},{kept}"]),
                "stderr": _finite(stderr) if isinstance(stderr, float) else None,
            }
    raise SolarError(
        f"{name}: lm-eval gave {', '.join(sorted(values))}, not {benchmark.metric}. "
        f"A task that measures {benchmark.title} must have metric {benchmark.metric}"
    )


def _result(
    model_name: str,
    model_path: str,
    config: EvaluatorConfig,
    done: dict,
    not_run: dict,
    versions: dict,
) -> dict:
    """The content of a result file from the kept tasks."""
    tables: dict[str, dict] = {"tasks": {}, "losses": {}, "other": {}}
    for name, kept in done.items():
        tables[kept["kind"]][name] = kept["entry"]
    names: dict[str, str] = {}
    for name, entry in tables["tasks"].items():
        first = names.setdefault(entry["benchmark"], name)
        if first != name:
            raise SolarError(
                f"tasks: {first} and {name} both measure {BY_KEY[entry['benchmark']].title}. "
                "H6 needs exactly one of them: remove the other"
            )
    scores = {key: tables["tasks"][name] for key, name in names.items()}
    return {
        "model": model_name,
        "model_path": model_path,
        "tasks": tables["tasks"],
        "h6": h6({key: entry["value"] for key, entry in scores.items()}),
        "h6_stderr": h6_stderr({key: entry["stderr"] for key, entry in scores.items()}),
        "losses": tables["losses"],
        "other": tables["other"],
        "not_run": not_run,
        "limit": config.limit,
        "settings": {name: getattr(config, name) for name in SETTINGS},
        "harness": versions,
        "seconds": round(sum(kept["seconds"] for kept in done.values()), 3),
    }


def _finite(value: float | None) -> float | None:
    """None for NaN and infinity, which JSON cannot hold and an average must not hide."""
    return float(value) if value is not None and math.isfinite(value) else None
