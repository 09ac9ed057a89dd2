"""A run folder by the contract between runner and report, written by hand-made data."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import yaml

CHAIN = """\
name: tiny-solar
base_model: unused/base
output_dir: {folder}
stages:
  world:     {{data: world.yml}}
  base:      {{train: base.yml, after: world}}
  dus:       {{merge: dus.yml, from: base}}
  cpt:       {{train: cpt.yml, from: base}}
  sft_v3:    {{train: sft_v3.yml, from: cpt}}
  sft_v4:    {{train: sft_v4.yml, from: cpt}}
  sft_v3_v4: {{merge: sft_v3_v4.yml, from: [sft_v3, sft_v4]}}
  cand_1:    {{train: cand_1.yml, from: sft_v3}}
  cand_2:    {{train: cand_2.yml, from: sft_v3_v4}}
  instruct:  {{merge: merge_v1.yml, from: [cand_1, cand_2]}}
  h6:
    evaluate: h6.yml
    from: [base, dus, cpt, sft_v3, sft_v4, sft_v3_v4, cand_1, cand_2, instruct]
"""
KINDS = {
    "world": "data",
    "base": "train",
    "dus": "merge",
    "cpt": "train",
    "sft_v3": "train",
    "sft_v4": "train",
    "sft_v3_v4": "merge",
    "cand_1": "train",
    "cand_2": "train",
    "instruct": "merge",
    "h6": "evaluate",
}
MODELS = [name for name, kind in KINDS.items() if kind in ("train", "merge")]
MERGES = {"sft_v3_v4": ("sft_v3", "sft_v4"), "instruct": ("cand_1", "cand_2")}
CHANCE = {
    "arc": ("acc_norm", 0.25),
    "hellaswag": ("acc_norm", 0.25),
    "mmlu": ("acc", 0.25),
    "truthfulqa": ("acc", 0.25),
    "winogrande": ("acc", 0.5),
    "gsm8k": ("exact_match", None),
}


def write_run(folder: Path, states: dict[str, str] | None = None, errors=None) -> Path:
    """A run of the tiny chain, all done, but for the stages in `states` (None: never started)."""
    states = {**dict.fromkeys(KINDS, "done"), **(states or {})}
    hidden = folder / ".solar"
    for name in ("stages", "metrics"):
        (hidden / name).mkdir(parents=True)
    (hidden / "chain.yml").write_text(CHAIN.format(folder=folder), encoding="utf-8")
    note = {
        "chain": "tiny-solar",
        "chain_file": "recipes/tiny/solar.yml",
        "base_model": "unused/base",
        "output_dir": str(folder),
        "created": "2026-11-20T21:00:00+0000",
        "versions": {"axolotl": "0.19.0", "mergekit": "0.1.5", "torch": "2.13.0"},
    }
    write(hidden / "run.json", note)
    for number, (name, kind) in enumerate(KINDS.items()):
        if states[name] is None:
            continue
        layers = 8 if name == "base" else 12
        record = {
            "version": 2,
            "stage": name,
            "kind": kind,
            "from": [],
            "state": states[name],
            "fingerprint": "0" * 64,
            "inputs": {},
            "outputs": {},
            "started": "2026-11-20T21:00:00+0000",
            "wall_s": 12.5 + 7 * number,
            "peak_memory_gib": 1.25 + number / 10,
            "facts": {"num_hidden_layers": layers, "parameters": 1_000_000 + layers}
            if name in MODELS
            else {},
            "error": (errors or {}).get(name),
        }
        write(hidden / "stages" / f"{name}.json", record)
        if kind == "train":
            logs = preference_logs() if name.startswith("cand") else loss_logs(name)
            text = "".join(json.dumps(log) + "\n" for log in logs)
            (hidden / "metrics" / f"{name}.jsonl").write_text(text, encoding="utf-8")
    if states["cpt"] == "done":
        write_proofs(folder)
    for model in MODELS if states["h6"] == "done" else []:
        write(folder / "h6" / f"{model}.json", result(model))
    return folder


def write_proofs(folder: Path) -> None:
    (folder / ".solar" / "resolved").mkdir()
    (folder / ".solar" / "resolved" / "dus.yml").write_text(
        stack(folder / "base", [0, 6], [2, 8]), encoding="utf-8"
    )
    write(
        folder / "cpt" / "solar" / "depth_up_scaling.json",
        {
            "base_model": "base",
            "base_num_hidden_layers": 8,
            "num_hidden_layers": 12,
            "remove_layers": 2,
            "layer_map": [0, 1, 2, 3, 4, 5, 2, 3, 4, 5, 6, 7],
            "parameters": 1_000_012,
        },
    )
    for name, sources in MERGES.items():
        (folder / ".solar" / "resolved" / f"{name}.yml").write_text(
            linear({str(folder / source): 0.5 for source in sources}), encoding="utf-8"
        )
    rows = [{"read": 40, "trained": 38, "dropped": {"longer than sequence_len": 2}}]
    write(folder / "cpt" / "solar" / "training.json", {"steps": 8, "rows": rows})
    audit = {
        "rows_in": 600,
        "rows_removed": 100,
        "rows_out": 500,
        "recall_ceiling": ["By name only.", "Rows without a task name are kept & counted."],
        "datasets": [
            {
                "source": "orca_like.jsonl",
                "rows_in": 600,
                "rows_removed": 100,
                "removed": {"cot_gsm8k": {"task_name": 60}, "hellaswag:1.1.0": {"task_name": 40}},
                "spellings": {
                    "cot_gsm8k": {"cot_gsm8k": 60},
                    "hellaswag:1.1.0": {"hellaswag110": 40},
                },
                "near_misses": ["winogrande:1.2.0"],
            }
        ],
    }
    write(folder / "sft_v3" / "solar" / "flan_filter_audit.json", audit)
    steps = [{"step": 1, "of": 2, "rows": 400}, {"step": 2, "of": 2, "rows": 300}]
    for name in ("cand_1", "cand_2"):
        write(folder / name / "solar" / "sdpo.json", {"steps": steps})


def linear(weights: dict[str, float]) -> str:
    """A MergeKit config that averages models."""
    models = [{"model": name, "parameters": {"weight": w}} for name, w in weights.items()]
    return yaml.safe_dump({"merge_method": "linear", "models": models})


def stack(base: Path, *ranges: list[int], scale: str = "") -> str:
    """A MergeKit config that stacks layers of the base; `scale` is the last slice's."""
    lines = [f"  - sources: [{{model: {base}, layer_range: {pair}}}]" for pair in ranges]
    if scale:
        lines[-1] = lines[-1].replace("}]", f", parameters: {{scale: {scale}}}}}]")
    return "\n".join(["merge_method: passthrough", "slices:", *lines, ""])


def loss_logs(name: str) -> list[dict]:
    rng = random.Random(name)
    start = 4.0 if name == "base" else 2.2
    logs = []
    for step in range(2, 122, 2):
        loss = 0.9 + start * math.exp(-step / 30) + rng.gauss(0, 0.06)
        logs.append({"time_s": step / 4, "step": step, "max_steps": 120, "loss": loss})
        if step % 40 == 0:
            logs.append({"time_s": step / 4, "step": step, "eval_loss": loss + 0.05})
    return logs


def preference_logs() -> list[dict]:
    rng = random.Random(1)
    logs = []
    for step in range(1, 61):
        number, within = (1, step) if step <= 40 else (2, step - 40)
        margin = 0.02 * within + rng.gauss(0, 0.05)
        logs.append(
            {
                "time_s": step,
                "step": step,
                "max_steps": 60,
                "sdpo_step": number,
                "loss": math.log(2) - 0.4 * margin,
                "rewards/accuracies": min(1.0, max(0.0, 0.5 + margin / 2)),
                "rewards/margins": margin,
                "rewards/chosen": margin * 0.4,
                "rewards/rejected": -margin * 0.6,
            }
        )
    return logs


def result(model: str) -> dict:
    rank = MODELS.index(model)
    tasks = {}
    for number, (key, (metric, chance)) in enumerate(CHANCE.items()):
        value = (chance or 0.0) + 0.05 * rank * (0.5 + number % 3) / 1.5
        tasks[f"mini_{key}"] = {
            "benchmark": key,
            "metric": metric,
            "value": value,
            "stderr": 0.03,
            "chance": chance,
            "num_fewshot": 0,
            "version": 1.0,
            "n": 200,
            "averaging": "all items",
        }
    loss = {"base": 1.21, "dus": 2.87, "cpt": 1.02}.get(model, 1.1)
    return {
        "model": model,
        "model_path": f"out/{model}",
        "tasks": tasks,
        "h6": sum(task["value"] for task in tasks.values()) / 6,
        "losses": {"mini_loss": {"metric": "bits_per_byte", "value": loss, "n": 50}},
        "other": {},
        "limit": None,
        "harness": {"lm_eval": "0.4.11"},
        "seconds": 3.5,
    }


def write(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
