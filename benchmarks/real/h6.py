"""H6 of a real model, by `solar run` and by lm-eval alone: `python h6.py DATA FOLDER`.

Both read the same `ITEMS`, with the leaderboard's examples before each. MMLU's are drawn in
proportion to the sizes of its 57 subjects, as the whole set is, so that its two means differ.
lm-eval finds each file as the data set of the Hub that its own task names; `solar run` by the
`data:` of a chain.

DATA is the folder that `make real` takes, the model the one that model.py makes. FOLDER is written
to, and holds the results; an interrupted run goes on, so that other options need a FOLDER of their
own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml
from data import SEED, Row, as_on_the_hub, drawn, read, write

from solar_plugins import atomic
from solar_plugins.evaluation.benchmarks import BENCHMARKS, mean_stderr

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "outputs/smollm2-135m-instruct"
ITEMS = {"arc_challenge": 25, "hellaswag": 25, "mmlu": 200, "truthfulqa_mc": 50,
         "winogrande": 100, "gsm8k": 10}  # fmt: skip
ON_THE_HUB = {
    "arc_challenge": ("allenai/ai2_arc", "ARC-Challenge"),
    "hellaswag": ("Rowan/hellaswag", "default"),
    "mmlu": ("cais/mmlu", None),  # a configuration for each subject
    "truthfulqa_mc": ("truthfulqa/truthful_qa", "multiple_choice"),
    "winogrande": ("allenai/winogrande", "winogrande_xl"),
    "gsm8k": ("openai/gsm8k", "main"),
}
SETTINGS = {"device": "cpu", "batch_size": 8}
OWN_TASKS = ROOT / "solar_plugins/evaluation/lm_eval_tasks"
GROUP = "h6_of_these"  # what is measured of `solar_h6`, with its few-shot counts


def main() -> None:
    """Measure both ways and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", metavar="DATA", type=Path)
    parser.add_argument("folder", metavar="FOLDER", type=Path)
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    names = [benchmark.task for benchmark in BENCHMARKS]
    parser.add_argument("--tasks", nargs="+", default=names, choices=names, metavar="TASK")
    parser.add_argument("--share", type=float, default=1.0, help="of the items, for less time")
    options = parser.parse_args()
    folder = options.folder.resolve()
    items = {name: max(1, round(options.share * count)) for name, count in ITEMS.items()}
    draw(options.source, folder / "hub", items)
    group = yaml.safe_load((OWN_TASKS / "solar_h6.yaml").read_text(encoding="utf-8"))
    chosen = [task for task in group["task"] if task["task"] in options.tasks]
    text = yaml.safe_dump({**group, "group": GROUP, "task": chosen})
    atomic.write_text(folder / "tasks" / f"{GROUP}.yaml", text)
    of_chain = by_chain(folder, options.dtype)
    of_lm_eval = by_lm_eval(folder, options.dtype)
    subjects = [
        f"mmlu_{place.parent.name}" for place in (folder / "hub/cais/mmlu").glob("*/test.jsonl")
    ]
    compare(of_chain, of_lm_eval, subjects)


def draw(source: Path, hub: Path, items: dict[str, int]) -> None:
    """Write the items and examples of each task as the data set of the Hub that it reads."""
    rng = random.Random(SEED)
    for name, (repository, configuration) in ON_THE_HUB.items():
        splits = {f.stem: f for f in sorted((source / "h6" / name).glob("*.jsonl"))}
        found = {s: [as_on_the_hub(r) for r in drawn(rng, read(f))] for s, f in splits.items()}
        measured = "test" if "test" in found else "validation"
        if "train" not in found and "dev" not in found:  # where examples come from
            found["train"] = found[measured][items[name] :][:100]
        if configuration is not None:
            found[measured] = found[measured][: items[name]]
            contents = {configuration: found}
        else:
            sizes = json.loads((source / "h6/mmlu/subject_sizes.json").read_text(encoding="utf-8"))
            contents = {
                subject: {
                    split: [row for row in rows if row["subject"] == subject][:limit]
                    for split, rows in found.items()
                    for limit in [_of_subject(items["mmlu"], size, sizes, split)]
                }
                for subject, size in sizes.items()
            }
        _as_data_set(hub / repository, contents)


def _of_subject(items: int, size: int, sizes: dict[str, int], split: str) -> int | None:
    """How many of a subject's rows are taken: some of its items, and all of its examples."""
    return max(2, round(items * size / sum(sizes.values()))) if split == "test" else None


def _as_data_set(place: Path, contents: dict[str, dict[str, list[Row]]]) -> None:
    """A folder that `datasets` opens as a data set with these configurations and splits."""
    configurations = []
    for name, splits in contents.items():
        files = [{"split": s, "path": f"{name}/{s}.jsonl"} for s in splits]
        configurations.append({"config_name": name, "data_files": files})
        for split, rows in splits.items():
            write(place / name / f"{split}.jsonl", rows)
    card = f"---\n{yaml.safe_dump({'configs': configurations})}---\n"
    atomic.write_text(place / "README.md", card)


def by_chain(folder: Path, dtype: str) -> dict[str, Any]:
    """H6 as a stage of a chain, with `data:` for each task."""
    data = {}
    for repository, configuration in ON_THE_HUB.values():
        place = folder / "hub" / repository
        if configuration is None:  # one file for each split, with a `subject` in each row
            for split in ("dev", "test"):
                rows = [
                    row for file in sorted(place.glob(f"*/{split}.jsonl")) for row in read(file)
                ]
                write(folder / "mmlu" / f"{split}.jsonl", rows)
            data[repository] = str(folder / "mmlu")
        else:
            data[repository] = str(place / configuration)
    own = {"tasks": [GROUP], "include_path": str(folder / "tasks"), "model_args": {"dtype": dtype}}
    recipe = str(ROOT / "recipes/h6.yml")
    stage = {"evaluate": recipe, "from": "base_model", "set": SETTINGS | own}
    chain = {"name": "real-h6", "base_model": str(MODEL), "output_dir": str(folder / "chain"),
             "data": data, "stages": {"h6": stage}}  # fmt: skip
    atomic.write_text(folder / "chain.yml", yaml.safe_dump(chain, sort_keys=False))
    _run([_tool("solar"), "run", str(folder / "chain.yml")], ROOT)
    return json.loads((folder / "chain/h6/base_model.json").read_text(encoding="utf-8"))


def by_lm_eval(folder: Path, dtype: str) -> dict[str, Any]:
    """The same by `lm_eval`, where a folder of the name that a task gives is its data set."""
    output = folder / "lm_eval"
    if not list(output.rglob("results_*.json")):
        settings = [word for key, value in SETTINGS.items() for word in (f"--{key}", str(value))]
        tasks = ["--tasks", GROUP, "--include_path", str(folder / "tasks"), "--log_samples"]
        model = ["--model", "hf", "--model_args", f"pretrained={MODEL},dtype={dtype}"]
        command = [_tool("lm_eval"), "run", *model, *tasks, *settings, "--output_path", str(output)]
        cache = folder / "datasets"  # `datasets` would take rows of an earlier draw from its own
        shutil.rmtree(cache, ignore_errors=True)
        _run(command, folder / "hub", HF_DATASETS_CACHE=str(cache))
    return json.loads(next(output.rglob("results_*.json")).read_text(encoding="utf-8"))["results"]


def compare(chain: dict[str, Any], alone: dict[str, Any], subjects: Sequence[str]) -> None:
    """Print each score of both in percent, with its standard error; MMLU with both of its means."""
    print("| | items | `solar run` | `lm_eval` |\n|---|---|---|---|")
    ours, theirs = [], []
    measured = [benchmark for benchmark in BENCHMARKS if benchmark.task in chain["tasks"]]
    for benchmark in measured:
        task = chain["tasks"][benchmark.task]
        metric = f"{benchmark.metric},{benchmark.filters[0]}"
        error = metric.replace(",", "_stderr,")
        value = alone[benchmark.task][metric], alone[benchmark.task][error]
        if "lm_eval" in task:
            weighted = task["lm_eval"]["value"], task["lm_eval"]["stderr"]
            _row(f"{benchmark.title}, weighted by size", task["n"], weighted, value)
            parts = [alone[name] for name in subjects]
            errors = [part[error] for part in parts]
            value = fmean(part[metric] for part in parts), mean_stderr(errors)
        ours, theirs = [*ours, (task["value"], task["stderr"])], [*theirs, value]
        _row(benchmark.title, task["n"], ours[-1], value)
    if measured == list(BENCHMARKS):
        mean = fmean(value for value, _ in theirs), mean_stderr([error for _, error in theirs])
        _row("H6", "", (chain["h6"], chain["h6_stderr"]), mean)


def _row(name: str, items: object, *scores: tuple[float, float | None]) -> None:
    cells = [f"{100 * value:.2f} ± {100 * (error or 0):.2f}" for value, error in scores]
    print(f"| {name} | {items} | {' | '.join(cells)} |{' differs' * (cells[0] != cells[1])}")


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _run(command: list[str], folder: Path, **settings: str) -> None:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    subprocess.run(command, cwd=folder, env=os.environ | offline | settings, check=True)


if __name__ == "__main__":
    main()
