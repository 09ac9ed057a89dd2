"""Peak memory and wall time of sDPO in one run against the same chain of plain DPO runs.

    .venv/bin/python benchmarks/sdpo/memory_and_time.py                  # one epoch per step
    .venv/bin/python benchmarks/sdpo/memory_and_time.py --epochs 3

The peer is what sDPO is without us: one `axolotl train` with `rl: dpo` per step, from the model of
the step before, with that model loaded a second time as reference. Both train the same rows in
fp32 on a llama-shaped model of random weights (253M parameters by default), full fine-tune with
AdamW, and alternate. Every run is a fork of one process that has imported Axolotl, so imports are
not counted; loading, tokenising, training and saving the model are. Processor time is there for
machines that are not idle. Peak memory is what the kernel notes of the process (ru_maxrss); of the
chain it is the highest of its runs.

Beside that: what a repeated run saves by the log-probabilities that the first one left, and how
far the first loss of each step is from ln 2 in bf16.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "benchmarks", "tests", "tests/sdpo")]
os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_DATASETS_OFFLINE="1",
    AXOLOTL_DO_NOT_TRACK="1",
    AXOLOTL_DATASET_NUM_PROC="0",
    CUDA_VISIBLE_DEVICES="",
)

import yaml  # noqa: E402
from environment import environment, told  # noqa: E402
from forked_process import fork  # noqa: E402
from sdpo_world import WORDS, dataset, make_model, recipe, sha256  # noqa: E402

STEPS = 2
COPY_SHARE = 0.95


@dataclass(frozen=True)
class Cost:
    """What one run, or a chain of runs, took."""

    wall_s: float
    cpu_s: float
    peak_gib: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=1, help="per step (default: 1)")
    parser.add_argument("--rows", type=int, default=16, help="pairs per step (default: 16)")
    parser.add_argument("--words", type=int, default=40, help="longest answer (default: 40)")
    parser.add_argument("--layers", type=int, default=20, help="of 12.6M parameters (default: 20)")
    parser.add_argument("--repeats", type=int, default=1, help="of both sides (default: 1)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--skip", nargs="*", choices=("cached", "bf16"), default=[], help="leave these out"
    )
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="where to write it: FILE.json, FILE.md")
    options = parser.parse_args()
    for heavy in ("axolotl.cli.config", "axolotl.core.builders.rl", "axolotl.train"):
        import_module(heavy)
    with tempfile.TemporaryDirectory(prefix="sdpo_cost_", dir=options.folder) as folder:
        result = measure(Path(folder), options) | environment()
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(table(result) + "\n", encoding="utf-8")
    print(table(result))


def measure(world: Path, options: argparse.Namespace) -> dict:
    """Run both sides, alternating. Returns the result as JSON values."""
    forked(lambda: write_model(world, options.layers), world / "model.log", options.threads)
    copy_gib = (world / "sft" / "model.safetensors").stat().st_size / 2**30
    for number in range(1, STEPS + 1):
        write_pairs(world / f"{number}.jsonl", options.rows, options.words, seed=number)
    ours, chained, same = [], [], []
    for repeat in range(options.repeats):
        ours.append(train_ours(world, options, f"ours_{repeat}"))
        say("ours", ours[-1])
        chained.append(train_chain(world, options, repeat))
        say("chained", chained[-1])
        same.append(
            [
                sha256(world / f"ours_{repeat}" / f"step_{n}")
                == sha256(chain_folder(world, repeat, n))
                for n in range(1, STEPS + 1)
            ]
        )
        shutil.rmtree(world / f"ours_{repeat}" / "step_1")
    result = {
        "parameters": parameters(world),
        "model_copy_gib": round(copy_gib, 3),
        "steps": STEPS,
        "epochs": options.epochs,
        "rows_per_step": options.rows,
        "threads": options.threads,
        "ours": [asdict(cost) for cost in ours],
        "chained": [asdict(cost) for cost in chained],
        "same_weights": same,
        "wall_ratio": median(ours, "wall_s") / median(chained, "wall_s"),
        "cpu_ratio": median(ours, "cpu_s") / median(chained, "cpu_s"),
        "memory_saved_gib": median(chained, "peak_gib") - median(ours, "peak_gib"),
        "first_loss_fp32": first_losses(world / "ours_0"),
    }
    result["memory_saved_copies"] = result["memory_saved_gib"] / copy_gib
    if "cached" not in options.skip:
        # Again into another folder, with the prepared data and log-probabilities of the first.
        again = train_ours(world, options, "again", prepared="ours_0_prepared")
        say("ours, repeated", again)
        log = (world / "again.log").read_text()
        result["repeated"] = asdict(again) | {
            "computed_log_probabilities_again": "Reference log-probabilities" in log,
            "same_weights": sha256(world / "again") == sha256(world / "ours_0"),
        }
        shutil.rmtree(world / "again")
    if "bf16" not in options.skip:
        say("ours, bf16", train_ours(world, options, "bf16", bf16=True, num_epochs=1))
        losses = first_losses(world / "bf16")
        result["first_loss_bf16"] = losses
        result["bf16_deviation"] = [abs(loss - math.log(2)) for loss in losses]
    return result


def train_ours(world: Path, options: argparse.Namespace, name: str, prepared="", **changes) -> Cost:
    values = recipe_of(world, options, name, plugins=["solar_plugins.StepwiseDPOPlugin"]) | changes
    values["dataset_prepared_path"] = str(world / (prepared or f"{name}_prepared"))
    values["sdpo"] = {"steps": [{"datasets": pairs(world, n)} for n in range(1, STEPS + 1)]}
    return train(values, options.threads)


def train_chain(world: Path, options: argparse.Namespace, repeat: int) -> Cost:
    base, costs = world / "sft", []
    for number in range(1, STEPS + 1):
        output = chain_folder(world, repeat, number)
        values = recipe_of(world, options, output.name, plugins=[])
        values |= {"base_model": str(base), "datasets": pairs(world, number)}
        costs.append(train(values, options.threads))
        base = output
    return Cost(
        sum(cost.wall_s for cost in costs),
        sum(cost.cpu_s for cost in costs),
        max(cost.peak_gib for cost in costs),
    )


def recipe_of(world: Path, options: argparse.Namespace, name: str, **changes) -> dict:
    values = recipe(
        world,
        output_dir=str(world / name),
        dataset_prepared_path=str(world / f"{name}_prepared"),
        num_epochs=options.epochs,
        sequence_len=512,
        micro_batch_size=4,
        gradient_accumulation_steps=max(1, options.rows // 4),
        learning_rate=1e-6,
        val_set_size=0,
        eval_strategy="no",
        save_strategy="no",
        **changes,
    )
    del values["save_steps"]
    return values


def train(values: dict, threads: int) -> Cost:
    """`axolotl train` of a recipe in a fork of this process."""
    output = Path(values["output_dir"])
    file = output.with_suffix(".yml")
    file.write_text(yaml.safe_dump(values))

    def work() -> None:
        import transformers.training_args
        from axolotl.cli.train import do_cli

        # transformers takes bf16 for something that only GPUs do, unless told `use_cpu`, which
        # Axolotl does not.
        transformers.training_args.is_torch_bf16_gpu_available = lambda: True
        do_cli(str(file))

    return forked(work, output.with_suffix(".log"), threads)


def forked(work: Callable[[], None], log: Path, threads: int) -> Cost:
    """Do `work` in a fork. Exits with the log's end where it failed."""
    started = time.monotonic()
    log.write_text("")
    pid = fork(work, log, threads)
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        sys.exit(f"{log.read_text()[-4000:]}\n{log} failed")
    return Cost(
        wall_s=round(time.monotonic() - started, 2),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 2),
        peak_gib=round(usage.ru_maxrss / 2**20, 3),
    )


def write_model(world: Path, layers: int) -> None:
    """A tokenizer, and a llama-shaped model of random weights: 12.6M parameters per layer."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    make_model(world / "sft")
    config = AutoConfig.from_pretrained(world / "sft")
    config.update(
        {
            "hidden_size": 1024,
            "head_dim": 64,
            "intermediate_size": 2752,
            "num_hidden_layers": layers,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
        }
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(world / "sft")


def write_pairs(path: Path, rows: int, longest: int, seed: int) -> None:
    """Pairs with answers of 4 to `longest` words."""
    rng = random.Random(seed)

    def sentence(low: int, high: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))

    with path.open("w", encoding="utf-8") as file:
        for _ in range(rows):
            row = {"prompt": sentence(4, 12)}
            row |= {name: sentence(4, longest) for name in ("chosen", "rejected")}
            file.write(json.dumps(row) + "\n")


def pairs(world: Path, number: int) -> list[dict]:
    return [dataset(world / f"{number}.jsonl", "chatml.default")]


def chain_folder(world: Path, repeat: int, number: int) -> Path:
    return world / f"chained_{repeat}_{number}"


def parameters(world: Path) -> int:
    from safetensors import safe_open

    with safe_open(world / "sft" / "model.safetensors", framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def first_losses(output: Path) -> list[float]:
    steps = json.loads((output / "solar" / "sdpo.json").read_text())["steps"]
    return [step["first_loss"] for step in steps]


def median(costs: list[Cost], what: str) -> float:
    return statistics.median(asdict(cost)[what] for cost in costs)


def say(what: str, cost: Cost) -> None:
    print(f"{what}: {cost}", flush=True)


def table(result: dict) -> str:
    """The result as Markdown."""
    ours, chained = result["ours"], result["chained"]

    def middle(costs: list[dict], what: str) -> str:
        return told([cost[what] for cost in costs])

    lines = [
        f"{result['parameters']:,} parameters, {result['steps']} steps of "
        f"{result['rows_per_step']} pairs, {result['epochs']} epochs each, fp32, "
        f"{result['threads']} threads, medians of {len(ours)} (lowest to highest).",
        "",
        "| | wall, s | processor, s | peak memory, GiB |",
        "|---|---|---|---|",
        f"| chained `axolotl train` with a reference model | {middle(chained, 'wall_s')} | "
        f"{middle(chained, 'cpu_s')} | {middle(chained, 'peak_gib')} |",
        f"| sDPO in one run | {middle(ours, 'wall_s')} | {middle(ours, 'cpu_s')} | "
        f"{middle(ours, 'peak_gib')} |",
    ]
    if "repeated" in result:
        again = result["repeated"]
        lines.append(
            f"| the same, repeated | {again['wall_s']:.1f} | {again['cpu_s']:.1f} | "
            f"{again['peak_gib']:.2f} |",
        )
    lines += [
        "",
        f"Wall time {result['wall_ratio']:.3f}x, processor time {result['cpu_ratio']:.3f}x; "
        f"memory lower by {result['memory_saved_gib']:.2f} "
        f"GiB = {result['memory_saved_copies']:.1%} of one copy of the model "
        f"({result['model_copy_gib']:.2f} GiB; wanted: {COPY_SHARE:.0%}). Step models equal by "
        f"sha256: {result['same_weights']}.",
        f"First losses, fp32: {result['first_loss_fp32']}.",
    ]
    if "repeated" in result:
        lines.append(
            "The repeated run computed log-probabilities again: "
            f"{result['repeated']['computed_log_probabilities_again']}; same weights: "
            f"{result['repeated']['same_weights']}."
        )
    if "first_loss_bf16" in result:
        lines.append(
            f"First losses, bf16: {result['first_loss_bf16']}, "
            f"{', '.join(f'{d:.1e}' for d in result['bf16_deviation'])} from ln 2."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
