"""What a GPU shows, meant for ten minutes on one card: `make gpu`.

    .venv/bin/python benchmarks/gpu/run.py                        # writes benchmarks/gpu/results.md
    .venv/bin/python benchmarks/gpu/run.py --device cpu --tiny    # every piece, to see that it runs

In this order: loading onto the card (`depth_up_scaling/load.py`), then the stages of chain.yml. All
is kept in outputs/gpu: the same command goes on after a kill, and does nothing twice. It needs no
network: base and rows are made here. Without flash-attn all stages use torch's own attention, and
nothing is packed; the page says so.

A step's time is the median between two logged steps, the first three left out. Batches are smaller
than the recipes', micro batches are not. Tokens are those that `solar plan` counts, no padding.
Memory is the most that torch has allocated, beside the plan's weights, states and activations;
`all` is the whole process, in which sDPO also computes the reference's log-probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "benchmarks", "tests")]
from environment import environment  # noqa: E402
from tiny_models import byte_tokenizer, write_tiny_model  # noqa: E402

from solar_plugins import atomic  # noqa: E402
from solar_plugins.chain.run.run_folder import RunFolder  # noqa: E402
from solar_plugins.chain.training import metrics  # noqa: E402
from solar_plugins.plan.stages import machine_of, plan_chain  # noqa: E402

OUT = Path("outputs/gpu")
SMOLLM2_360M = {
    "vocab_size": 49152,
    "hidden_size": 960,
    "intermediate_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 15,
    "num_key_value_heads": 5,
    "max_position_embeddings": 8192,
    "tie_word_embeddings": True,
}
TRAININGS = ("cpt", "sft_v3", "sft_padded", "sft_sdpa", "cand_1", "live_reference")
NO_FLASH = {"attn_implementation": "sdpa", "sample_packing": False}
TINY = {
    **{"bf16": False, "tf32": False, "sequence_len": 256, "max_steps": 5},
    **{"micro_batch_size": 1, "global_batch_size": 2, "dataloader_num_workers": 0},
}
WARM_UP = 3
LETTERS = "etaoinshrdlucmfw"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a model and steps of next to nothing")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("error: a CUDA device is needed, and torch finds none (--device cpu --tiny tries)")
    os.chdir(ROOT)
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    os.environ["CUDA_VISIBLE_DEVICES"] = visible if asked.device == "cuda" else ""
    card = torch.cuda.get_device_name(0) if asked.device == "cuda" else "cpu"
    made_for = f"{card}, tiny: {asked.tiny}\n"
    note = OUT / "made_for.txt"
    if OUT.is_dir() and not (note.is_file() and note.read_text(encoding="utf-8") == made_for):
        shutil.rmtree(OUT)  # of another card or size
    atomic.write_text(note, made_for)
    write_inputs(asked.tiny)
    if not (OUT / "load.json").is_file():
        size = ["--hidden", "64"] if asked.tiny else []
        once = ["--repeat", "2", "--writes", "0", "--others", "0", "--merges", "1", "--device"]
        place = ["--folder", str(OUT / "load"), "--out", str(OUT / "load.json")]
        run("benchmarks/depth_up_scaling/load.py", *once, asked.device, *size, *place)
    changes = changed(asked.tiny)
    stages = {name: {"set": keys} for name, keys in changes.items()}
    chain = {"extends": "../../benchmarks/gpu/chain.yml", "stages": stages}
    atomic.write_json(OUT / "chain.yml", chain)  # which is YAML too
    run("-m", "solar_plugins.cli", "run", str(OUT / "chain.yml"))
    page = report(asked.device, changes)
    print(page)
    is_result = asked.device == "cuda" and not asked.tiny
    atomic.write_text(ROOT / "benchmarks/gpu/results.md" if is_result else OUT / "try.md", page)


def run(*command: str) -> None:
    """Python in a process of its own; ends this one where it fails."""
    if status := subprocess.run([sys.executable, *command], check=False).returncode:
        sys.exit(status)


def write_inputs(tiny: bool) -> None:
    """The base, and rows of random words; a letter is a token."""
    draw = random.Random(0)

    def words(letters: int) -> str:
        lengths = (draw.randint(2, 9) for _ in range(letters // 6))
        return " ".join("".join(draw.choices(LETTERS, k=length)) for length in lengths)

    size = 150 if tiny else 1000
    rows = {
        "text": [{"text": words(size)} for _ in range(40 if tiny else 400)],
        "answers": [{"question": words(size // 5), "answer": words(size // 2)} for _ in range(600)],
        "pairs": [
            {"question": words(size // 5), "chosen": words(size), "rejected": words(size)}
            for _ in range(40 if tiny else 100)
        ],
    }
    if (OUT / "base").is_dir():
        return
    for name, of in rows.items():
        atomic.write_text(OUT / f"{name}.jsonl", "".join(f"{json.dumps(row)}\n" for row in of))
    with atomic.new_directory(OUT / "base") as folder:
        shape = {"max_position_embeddings": 512} if tiny else SMOLLM2_360M
        write_tiny_model(folder, byte_tokenizer(), **shape)


def changed(tiny: bool) -> dict[str, dict[str, object]]:
    """What of the stages' recipes is changed for this machine, by stage."""
    if not tiny and find_spec("flash_attn"):
        return {}
    changes: dict[str, dict[str, object]] = {
        stage: {**NO_FLASH, **(TINY if tiny else {})} for stage in TRAININGS
    }
    changes["cpt"]["pretrain_multipack_attn"] = None
    if tiny:
        changes["held_out"] = {"model_args.dtype": "float32"}
    return changes


def report(device: str, changes: dict[str, dict[str, object]]) -> str:
    """The results, in Markdown."""
    facts, folder = environment(), RunFolder(OUT / "run")
    card = torch.cuda.get_device_name(0) if device == "cuda" else facts["machine"]["cpu"]
    versions = ", ".join(f"{name} {of}" for name, of in facts["versions"].items())
    flash = "not used: torch's attention, nothing packed" if changes else "installed"
    lines = [
        f"# {card}",
        "",
        f"By `make gpu` at {facts['commit']}: {versions}; flash-attn {flash}.",
        "",
        "## Loading",
        "",
        (OUT / "load.md").read_text(encoding="utf-8"),
        "## Trainings and evaluation",
        "",
        "| stage | step, s | tokens/s | allocated, GiB | planned, GiB | host, GiB | all, s |",
        "|---|---|---|---|---|---|---|",
    ]
    machine = machine_of(None if device == "cuda" else "cpu")
    for plan in plan_chain(OUT / "chain.yml", machine).stages:
        record = folder.read_record(plan.stage)
        assert record is not None  # it was run
        cells = ["", f"{read_per_s():,.0f}", "", ""]
        if plan.kind == "train":
            logs = metrics.read(folder.metrics(plan.stage))
            ends = [log["time_s"] for log in logs if "loss" in log][WARM_UP - 1 :]
            step_s = statistics.median(after - before for before, after in pairwise(ends))
            allocated = max(log.get("memory/max_allocated (GiB)", 0) for log in logs)
            planned = (plan.states_gib or 0) + (plan.activations_gib or 0)
            cells = [f"{step_s:.3f}", f"{(plan.tokens or 0) / (plan.steps or 1) / step_s:,.0f}"]
            cells += [f"{allocated:.2f}" if allocated else "", f"{planned:.2f}"]
        cells += [f"{record.peak_memory_gib:.2f}", f"{record.wall_s:.0f}"]
        lines.append(f"| {' | '.join([plan.stage, *cells])} |")
    return "\n".join(lines) + "\n"


def read_per_s() -> float:
    """Tokens that lm-eval read in a second, with loading the model: texts, and pairs twice."""
    result = json.loads((OUT / "run/held_out/cpt.json").read_text(encoding="utf-8"))
    tokens = 0
    for name in ("text", "pairs"):
        rows = map(json.loads, (OUT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
        for row in rows:
            answers = [row["chosen"], row["rejected"]] if name == "pairs" else [row["text"]]
            tokens += sum(len(row.get("question", "")) + len(answer) for answer in answers)
    return tokens / result["seconds"]


if __name__ == "__main__":
    main()
