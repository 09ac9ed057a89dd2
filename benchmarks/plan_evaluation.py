"""Items of H6's six tasks and the tokens of their prompts, for `solar plan`'s hours of evaluation.

    .venv/bin/python benchmarks/real/model.py outputs/smollm2-135m-instruct
    .venv/bin/python benchmarks/plan_evaluation.py outputs/smollm2-135m-instruct h6 --items 200

`h6` holds arc_challenge, hellaswag, mmlu, truthfulqa_mc, winogrande and gsm8k with their public
columns, as for `make real`. lm-eval builds its own requests from them; of each task the first items
are tokenised (of each of MMLU's 57 subjects a share, weighted by the subject's size in
`mmlu/subject_sizes.json`). Where a folder has no train split (HellaSwag, WinoGrande), the examples
come from the validation split, whose items are as long. Requests of one item with the same tokens
but the last are one pass, as in lm-eval: the letters of MMLU. Of GSM8K the tokens of the gold
answers stand for those that a model writes. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from environment import environment

DATA = {
    "arc_challenge": "allenai/ai2_arc",
    "hellaswag": "Rowan/hellaswag",
    "mmlu": "cais/mmlu",
    "truthfulqa_mc": "truthfulqa/truthful_qa",
    "winogrande": "allenai/winogrande",
    "gsm8k": "openai/gsm8k",
}
SUBJECTS = 57
# Items of the public splits that the tasks score: the data sets' own cards.
ITEMS = {"arc_challenge": 1172, "hellaswag": 10042, "mmlu": 14042, "truthfulqa_mc2": 817}
ITEMS |= {"winogrande": 1267, "gsm8k": 1319}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a folder with a tokenizer")
    parser.add_argument("h6", type=Path, help="the folder with the items")
    parser.add_argument("--items", type=int, default=200, help="of each task")
    asked = parser.parse_args()

    from transformers import AutoTokenizer

    from solar_plugins.evaluation import harness

    tokenizer = AutoTokenizer.from_pretrained(asked.model)
    sizes = json.loads((asked.h6 / "mmlu" / "subject_sizes.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place:
        config_file = Path(place, "h6.yml")
        config_file.write_text(json.dumps(_config(asked.h6, Path(place))), encoding="utf-8")
        config = harness.read_config(config_file, asked.model)
        manager = harness.task_manager(config, config_file)
        found: dict[str, list[tuple[float, dict[str, float]]]] = {}
        for name, entry in harness.single_tasks(config.tasks, manager):
            leaves = [*harness.leaves(harness.load_tasks(entry, config, manager))]
            limit = max(1, asked.items // len(leaves))
            for task in leaves:
                weight = sizes[task.config.dataset_name] if len(leaves) == SUBJECTS else 1
                found.setdefault(name, []).append((weight, _lengths(task, limit, tokenizer)))
    tasks = {
        name: {"items": ITEMS[name], **{key: round(_mean(each, key), 1) for key in each[0][1]}}
        for name, each in found.items()
    }
    print(
        json.dumps({"environment": environment(), "limit": asked.items, "tasks": tasks}, indent=2)
    )


def _config(h6: Path, place: Path) -> dict[str, Any]:
    """lm-eval's config of the six tasks on the local items."""
    data = {}
    for folder, public in DATA.items():
        data[public] = str(place / folder)
        (place / folder).mkdir()
        for file in h6.joinpath(folder).glob("*.jsonl"):
            rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            if folder == "hellaswag":  # the context in one piece, where it has two
                rows = [{"ctx_a": row["ctx"], "ctx_b": "", **row} for row in rows]
            names = [file.name]
            if file.stem == "validation" and not file.with_name("train.jsonl").exists():
                names.append("train.jsonl")
            for name in names:
                (place / folder / name).write_text(
                    "\n".join(map(json.dumps, rows)), encoding="utf-8"
                )
    tasks = str(Path("solar_plugins/evaluation/lm_eval_tasks").absolute())
    return {"tasks": ["solar_h6"], "include_path": tasks, "metadata": {"data": data}}


def _lengths(task: Any, limit: int, tokenizer: Any) -> dict[str, float]:
    """Of the first `limit` items: forward passes an item, and tokens of each; tokens written."""
    task.build_all_requests(limit=limit, rank=0, world_size=1)
    passes: dict[int, set[tuple[int, ...]]] = {}
    written = []
    for one in task.instances:
        if one.request_type == "generate_until":
            ids = tokenizer(one.args[0])["input_ids"]
            answer = tokenizer(task.doc_to_target(one.doc))["input_ids"]
            written.append(len(answer))
        else:  # the last token is not read
            ids = tokenizer("".join(one.args))["input_ids"][:-1]
        passes.setdefault(one.doc_id, set()).add(tuple(ids))
    lengths = [len(ids) for each in passes.values() for ids in each]
    return {
        "passes": sum(map(len, passes.values())) / len(passes),
        "tokens": fmean(lengths),
        "written": fmean(written) if written else 0.0,
    }


def _mean(each: list[tuple[float, dict[str, float]]], key: str) -> float:
    """The mean over subjects, weighted."""
    total = sum(weight for weight, _ in each)
    return sum(weight * lengths[key] for weight, lengths in each) / total


if __name__ == "__main__":
    main()
