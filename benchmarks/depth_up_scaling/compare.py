"""Which way to grow a model pays, in miniature: equal training tokens, and equal training FLOPs.

    .venv/bin/python benchmarks/depth_up_scaling/compare.py       # some 25 minutes a seed

A base of 8 layers learns the invented world of `recipes/tiny`. Then every arm trains on from it on
pages that it has not read: the base as it is (the control), and the models that
`depth_up_scaling:` makes of it, loaded as the plugin loads them. Each arm trains twice, with a
cosine to zero each time: for the control's tokens, and for the control's FLOPs, as torch counts
the matrix products of one step. What is compared is the loss on held-out pages.

Fixed before the first run: the seeds, the arms, and all settings (those of `recipes/tiny/base.yml`
and `cpt.yml` but for the smaller width and the fewer steps). A seed draws the base's first weights
and the order of the pages; each seed has a base of its own. Differences from the control are
paired by seed. Writes compare.json, and the table in the plugin's README.md; seeds that are in
compare.json are kept and not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

sys.path.append(str(Path(__file__).resolve().parents[1]))
from environment import environment

from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.growth import grow
from solar_plugins.depth_up_scaling.published import STACKS
from solar_plugins.depth_up_scaling.remap import up_scaled_loading
from solar_plugins.miniature.benchmarks import build_benchmarks
from solar_plugins.miniature.facts import build_world
from solar_plugins.miniature.texts import Author
from solar_plugins.miniature.tokens import PIECE, vocabulary

SEEDS = (1, 2, 3)
WORLD_SEED = 2312  # as in recipes/tiny/world.yml
LAYERS, BATCH, WORDS = 8, 4, 126
BASE_STEPS, STEPS, HELD_OUT = 600, 200, 120
BASE_RATE, RATE, WARM_UP = 2e-3, 1e-3, 50
BETWEEN = {"layout": "interleave", "every": 2}
ARMS = {
    "base trained on (control)": None,
    "overlap, m = n/4": {"remove_layers": LAYERS // 4},
    "interleave, identity, all": {**BETWEEN, "init": "identity"},
    "interleave, identity, added only": {**BETWEEN, "init": "identity", "train": "added"},
    "interleave, average, all": {**BETWEEN, "init": "average"},
    "interleave, optimal transport, all": {**BETWEEN, "init": "optimal_transport"},
    "upper half, optimal transport, added only": STACKS["opt-deus"].block(LAYERS),
    "repeat, twice": {"layout": "repeat", "times": 2},
}
CONTROL = next(iter(ARMS))
HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "solar_plugins" / "depth_up_scaling" / "README.md"
BEGIN, END = "<!-- table of the comparison -->", "<!-- end of the comparison -->"
IGNORED = -100


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=HERE / "compare.json")
    parser.add_argument("--share", type=float, default=1.0, help="of all steps: for a trial")
    options = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    steps = [max(2, round(options.share * count)) for count in (BASE_STEPS, STEPS)]

    began = time.perf_counter()
    world = build_world(WORLD_SEED)
    benchmarks = build_benchmarks(world)
    counts = {"pretrain": BASE_STEPS * BATCH, "continued": STEPS * BATCH, "held out": HELD_OUT}
    texts = {
        purpose: list(Author(world, benchmarks, purpose).pages(count, WORDS))
        for purpose, count in counts.items()
    }
    words = vocabulary(text for pages in texts.values() for text in pages)
    pages = {purpose: encoded(found, words) for purpose, found in texts.items()}
    nbytes = sum(len(text.encode()) for text in texts["held out"])

    settings = {
        "base_steps": steps[0],
        "steps": steps[1],
        "tokens_per_step": BATCH * (WORDS + 2),
        "learning_rate": RATE,
        "unit": "bits per byte of held-out pages",
        "arms": ARMS,
    }
    made, runs = kept(options.out, settings)
    missing = [seed for seed in SEEDS if seed not in {run["seed"] for run in runs}]
    for seed in missing:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(seed)
            base = LlamaForCausalLM(base_config(len(words)))
            train(base, shuffled(pages["pretrain"], seed), steps[0], BASE_RATE)
            base.save_pretrained(folder)
            print(f"seed {seed}: base {bits_per_byte(base, pages['held out'], nbytes):.4f}")
            of_control = None
            for name, block in ARMS.items():
                model = loaded(folder, block)
                flops = flops_of_step(model, pages["continued"][:BATCH])
                of_control = of_control or flops
                run = {
                    "seed": seed,
                    "arm": name,
                    "layers": model.config.num_hidden_layers,
                    "parameters": model.num_parameters(),
                    "trained": sum(p.numel() for p in model.parameters() if p.requires_grad),
                    "flops_per_step": flops,
                    "start": bits_per_byte(model, pages["held out"], nbytes),
                }
                for budget, count in (
                    ("tokens", steps[1]),
                    ("flops", round(steps[1] * of_control / flops)),
                ):
                    if budget == "flops" and count == steps[1]:
                        run[budget] = run["tokens"]
                    else:
                        model = loaded(folder, block)
                        train(model, shuffled(pages["continued"], seed), count, RATE)
                        run[budget] = bits_per_byte(model, pages["held out"], nbytes)
                    run[f"steps_{budget}"] = count
                runs.append(run)
                print(json.dumps(run), flush=True)
    if missing:
        wall_s = round(time.perf_counter() - began)
        made.append({"seeds": missing, **environment(), "wall_s": wall_s})
    options.out.write_text(json.dumps({"made": made, **settings, "runs": runs}, indent=1) + "\n")
    report(runs)


def kept(out: Path, settings: dict) -> tuple[list[dict], list[dict]]:
    """What earlier calls with these settings made: where and with what, and their runs."""
    if not out.is_file():
        return [], []
    found = json.loads(out.read_text(encoding="utf-8"))
    if {name: found[name] for name in settings} != settings:
        sys.exit(f"{out}: was made with other settings. Give another --out")
    return found["made"], found["runs"]


def base_config(words: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=-(-words // 64) * 64,
        hidden_size=48,
        intermediate_size=128,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        attn_implementation="eager",  # matrix products, which can be counted
    )


def encoded(pages: list[str], words: list[str]) -> torch.Tensor:
    """Pages as (pages, WORDS + 2) token ids: start, words, end, and `IGNORED` behind it."""
    ids = {word: i for i, word in enumerate(words)}
    rows = torch.full((len(pages), WORDS + 2), IGNORED)
    for row, page in zip(rows, pages, strict=True):
        tokens = [0, *(ids[piece] for piece in re.findall(PIECE, page)), 1][: WORDS + 2]
        row[: len(tokens)] = torch.tensor(tokens)
    return rows


def shuffled(pages: torch.Tensor, seed: int) -> torch.Tensor:
    order = list(range(len(pages)))
    random.Random(seed).shuffle(order)
    return pages[order]


def loaded(folder: str, block: dict | None) -> LlamaForCausalLM:
    """The base, or the model of `block` as the plugin loads it; frozen where it does not learn."""
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    if block is None:
        return AutoModelForCausalLM.from_pretrained(folder, **options)
    parsed = parse(block)
    growth = grow(AutoConfig.from_pretrained(folder), parsed.layer_map(LAYERS), parsed.init)
    with up_scaled_loading(growth):
        model = AutoModelForCausalLM.from_pretrained(folder, config=growth.config, **options)
    if parsed.train == "added":
        model.requires_grad_(False)
        for i in growth.added:
            model.model.layers[i].requires_grad_(True)
    return model


def loss_of(model: LlamaForCausalLM, rows: torch.Tensor, reduction: str) -> torch.Tensor:
    logits = model(rows.clamp(min=0), use_cache=False).logits[:, :-1]
    return functional.cross_entropy(
        logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=IGNORED, reduction=reduction
    )


def train(model: LlamaForCausalLM, pages: torch.Tensor, steps: int, rate: float) -> None:
    """AdamW with warm-up and a cosine to zero, as in recipes/tiny."""
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    warm_up = min(WARM_UP, steps // 4)
    model.train()
    for step in range(steps):
        if step < warm_up:
            share = (step + 1) / warm_up
        else:
            share = (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2
        for group in optimizer.param_groups:
            group["lr"] = rate * share
        at = step * BATCH % len(pages)
        loss_of(model, pages[at : at + BATCH], "mean").backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def flops_of_step(model: LlamaForCausalLM, rows: torch.Tensor) -> int:
    """FLOPs of one forward and backward pass, matrix products alone."""
    with FlopCounterMode(display=False) as counter:
        loss_of(model, rows, "mean").backward()
    model.zero_grad()
    return counter.get_total_flops()


@torch.no_grad()
def bits_per_byte(model: LlamaForCausalLM, pages: torch.Tensor, nbytes: int) -> float:
    nats = sum(loss_of(model, part, "sum").item() for part in pages.split(50))
    return nats / math.log(2) / nbytes


def report(runs: list[dict]) -> None:
    rows = [
        (
            "model",
            "layers",
            "trained",
            "FLOPs a step",
            "before",
            "equal tokens",
            "less than control",
            "equal FLOPs",
            "less than control",
        )
    ]
    control = {run["seed"]: run for run in runs if run["arm"] == CONTROL}
    for arm in ARMS:
        found = [run for run in runs if run["arm"] == arm]
        first = found[0]
        cells = [
            arm,
            str(first["layers"]),
            f"{first['trained'] / first['parameters']:.0%} of {first['parameters'] / 1e6:.2f}M",
            f"{first['flops_per_step'] / control[SEEDS[0]]['flops_per_step']:.2f}x",
            mean_and_error([run["start"] for run in found]),
        ]
        for budget in ("tokens", "flops"):
            gains = [control[run["seed"]][budget] - run[budget] for run in found]
            cells += [
                mean_and_error([run[budget] for run in found]),
                mean_and_error(gains) if arm != CONTROL else "",
            ]
        rows.append(tuple(cells))
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    table = "\n".join(lines) + "\n"
    print(table)
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


def mean_and_error(values: list[float]) -> str:
    """The mean with its standard error over the seeds."""
    error = statistics.stdev(values) / math.sqrt(len(values))
    return f"{statistics.mean(values):.4f} ± {error:.4f}"


if __name__ == "__main__":
    main()
