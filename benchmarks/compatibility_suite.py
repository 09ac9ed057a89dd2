"""Runs the plugins and commands once with the tools that are installed; for `compatibility.py`.

    ENVIRONMENT/bin/python benchmarks/compatibility_suite.py FOLDER CHECK...

Prints JSON: of each check whether it ``works``, ``stops`` (one line, a non-zero exit, no prepared
data and no model), or is a ``fault``, with the last line that it wrote and what it made.

The trainings run Axolotl's own console script, each in a fork of a process that has imported
Axolotl once.
"""

from __future__ import annotations

import json
import math
import os
import resource
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path

BIN = Path(sys.executable).parent
TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path[1:1] = [str(TESTS), str(TESTS / "watch")]

from axolotl_train import RECIPE, pairs, sums, write_base, write_rows  # noqa: E402

ROWS = [{"path": "rows.jsonl", "ds_type": "json", "type": "alpaca"}]
PAIRS = [{"path": "pairs.jsonl", "ds_type": "json", "type": "solar_plugins.chat", "split": "train"}]
TRAININGS = {
    "dus": {
        "datasets": ROWS,
        "plugins": ["solar_plugins.DepthUpScalingPlugin"],
        "depth_up_scaling": {"remove_layers": 1},
    },
    "filter": {
        "datasets": ROWS,
        "plugins": ["solar_plugins.FlanFilterPlugin"],
        "flan_filter": {"tasks": "solar", "datasets": ["rows.jsonl"]},
    },
    "sdpo": {
        "rl": "dpo",
        "plugins": ["solar_plugins.StepwiseDPOPlugin"],
        "sdpo": {"steps": [{"datasets": PAIRS}, {"datasets": PAIRS}]},
    },
}
CHOICE = {
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "items.jsonl"}},
    "test_split": "test",
    "fewshot_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_target": "gold",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    "metadata": {"version": 1.0},
}
TASKS = {
    **{f"part_{n}": {"task": f"part_{n}", **CHOICE} for n in (1, 2)},
    "parts": {"group": "parts", "task": ["part_1", "part_2"],
              "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}]},
    "plain": {"task": "plain", **CHOICE, "num_fewshot": 1},
    # As solar_h6 is: a group that gives few-shot counts to tasks and to a group.
    "all": {"group": "all", "task": [{"task": "parts", "num_fewshot": 2},
                                     {"task": "plain", "num_fewshot": 0}]},
}  # fmt: skip


def main() -> None:
    os.chdir(sys.argv[1])
    chosen = sys.argv[2:]
    trainings = [name for name in chosen if name in TRAININGS]
    if trainings or "evaluate" in chosen:
        write_inputs()
    for module in ("cli.main", "cli.train", "train", "core.builders.rl") if trainings else ():
        import_module(f"axolotl.{module}")
    found = {name: trained(name) for name in trainings}
    found |= {name: COMMANDS[name]() for name in chosen if name not in TRAININGS}
    names = ("axolotl", "torch", "transformers", "trl", "lm-eval", "huggingface-hub")
    installed = {d.name.lower().replace("_", "-"): d.version for d in metadata.distributions()}
    versions = {name: installed[name] for name in names if name in installed}
    print(json.dumps({"checks": found, "versions": versions}))


def write_inputs() -> None:
    """A random model of four layers and its data."""
    write_base(Path("base"))
    of_table_8 = [{**row, "task_name": "cot_gsm8k"} for row in sums(*range(4))]
    write_rows(Path("rows.jsonl"), of_table_8 + sums(*range(4, 12)))
    write_rows(Path("pairs.jsonl"), pairs(*range(8)))
    items = [
        {"question": f"{n}+1 is", "choices": [str(n), str(n + 1)], "gold": 1} for n in range(12)
    ]
    write_rows(Path("items.jsonl"), items)
    Path("tasks").mkdir()
    for name, task in TASKS.items():
        write_json(f"tasks/{name}.yaml", task)
    write_json("h6.yml", {"model": "hf", "tasks": ["all"], "include_path": "tasks",
                          "device": "cpu", "batch_size": 8})  # fmt: skip


def trained(name: str) -> dict:
    """One training through the console script `axolotl`, and what it left."""
    places = {"output_dir": f"out_{name}", "dataset_prepared_path": f"prepared_{name}"}
    write_json(f"{name}.yml", {**RECIPE, **TRAININGS[name], **places})  # JSON is YAML
    log, started = Path(f"{name}.log"), time.perf_counter()
    if not (child := os.fork()):
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["axolotl", "train", f"{name}.yml", "--launcher", "python"]
        status = 1
        try:
            runpy.run_path(str(BIN / "axolotl"), run_name="__main__")
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else bool(end.code)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    left = (f"out_{name}/**/*.safetensors", f"prepared_{name}/*")
    return outcome(status, log.read_text(errors="replace"), started, PROOFS[name], left)


def outcome(
    status: int,
    said: str,
    started: float,
    proof: Callable[[], object],
    left: tuple[str, ...] = (),
) -> dict:
    """Works with proof, stops in one line and has `left` nothing, or a fault."""
    last = (said.strip().splitlines() or [""])[-1].lstrip()
    is_line = last.lower().startswith("error: ") and "Traceback (most recent" not in said
    result = {"exit": status, "last_line": last[:400]}
    result["seconds"] = round(time.perf_counter() - started, 1)
    if status == 0:
        try:
            return {"is": "works", **result, "proof": proof()}
        except (OSError, ValueError, KeyError, AssertionError) as error:
            return {"is": "fault", **result, "proof": f"{type(error).__name__}: {error}"[:400]}
    if is_line and not any(path for pattern in left for path in Path().glob(pattern)):
        return {"is": "stops", **result}
    return {"is": "fault", **result, "said": said[-3000:]}


def depth() -> int:
    """2(4 - 1) layers."""
    layers = json.loads(Path("out_dus/config.json").read_text())["num_hidden_layers"]
    assert layers == 6, f"{layers} layers"
    return layers


def removed() -> int:
    """The four rows of a task of Table 8."""
    audit = json.loads(Path("out_filter/solar/flan_filter_audit.json").read_text())
    count = audit["datasets"][0]["rows_removed"]
    assert count == 4, f"{count} rows removed"
    return count


def first_losses() -> list[float]:
    """ln 2, as policy and reference are one model when a step starts."""
    notes = sorted(Path("out_sdpo").glob("step_*/sdpo_step.json"))
    assert len(notes) == 2, notes
    losses = [json.loads(note.read_text())["first_loss"] for note in notes]
    assert all(abs(loss - math.log(2)) < 1e-6 for loss in losses), losses
    return losses


PROOFS: dict[str, Callable[[], object]] = {
    "dus": depth, "filter": removed, "sdpo": first_losses,
}  # fmt: skip


def solar(*arguments: str) -> tuple[int, str, float]:
    started = time.perf_counter()
    ended = subprocess.run(
        [BIN / "solar", *arguments], capture_output=True, text=True, check=False, timeout=300
    )
    return ended.returncode, ended.stdout + ended.stderr, started


def evaluated() -> dict:
    status, said, started = solar("evaluate", "base", "--config", "h6.yml", "--out", "h6.json")

    def scores() -> dict:
        other = json.loads(Path("h6.json").read_text())["other"]
        assert other["parts"]["num_fewshot"] == 2, other["parts"]["num_fewshot"]
        return {name: task["values"] for name, task in other.items()}

    return outcome(status, said, started, scores)


def checked() -> dict:
    """`solar check --quick` twice: the second time, what the installed Axolotl takes is known."""
    solar("check", "--quick", "dus.yml")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    status, said, started = solar("check", "--quick", "dus.yml")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return outcome(status, said, started, lambda: f"{cpu_s:.1f} s of processor")


COMMANDS: dict[str, Callable[[], dict]] = {
    "evaluate": evaluated, "check": checked,
}  # fmt: skip


def write_json(path: str, value: object) -> None:
    Path(path).write_text(json.dumps(value, indent=1))


if __name__ == "__main__":
    main()
