"""How long `init: optimal_transport` matches two layers of Mistral 7B's width.

    .venv/bin/python benchmarks/depth_up_scaling/transport_time.py [--hidden 4096]

A base of two layers in bf16 (hidden 4096, intermediate 14336, 32 heads of which 8 for keys and
values) is loaded with one layer more between them, as `depth_up_scaling:` loads it: once copied,
once matched. The difference is what matching costs for one added layer; the load does it layer by
layer, so that more of them take as many times as long. Products (which units are alike) and
assignment (which order is best) are also timed alone. The second layer is drawn twice: on its own,
and as the first with its neurons in another order and noise, which an assignment finds sooner.
Needs 8 GB of memory. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from transformers import AutoConfig, AutoModelForCausalLM, MistralConfig, MistralForCausalLM

sys.path.append(str(Path(__file__).resolve().parents[1]))
from environment import environment

from solar_plugins.depth_up_scaling import transport
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.depth_up_scaling.growth import grow
from solar_plugins.depth_up_scaling.remap import up_scaled_loading

BETWEEN = {"layer_ranges": [[0, 1], [0, 2]]}  # 0, a new one, 1
NOISE = 0.5  # of the weights' own deviation


def write_base(folder: Path, hidden: int, intermediate: int, alike: bool) -> None:
    torch.manual_seed(1)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=2,
        num_attention_heads=hidden // 128,
        num_key_value_heads=hidden // 512,
    )
    model = MistralForCausalLM(config)
    if alike:
        first, second = model.model.layers
        second.load_state_dict(first.state_dict())
        order = torch.randperm(intermediate)
        with torch.no_grad():
            for name in ("gate_proj", "up_proj"):
                weight = getattr(second.mlp, name).weight
                moved = weight[order]
                weight.copy_(moved + NOISE * moved.std() * torch.randn_like(moved))
            second.mlp.down_proj.weight.copy_(second.mlp.down_proj.weight[:, order])
    model.bfloat16().save_pretrained(folder)


def load(folder: Path, init: str) -> float:
    """Seconds of the load of three layers."""
    block = parse({**BETWEEN, "init": init})
    growth = grow(AutoConfig.from_pretrained(folder), block.layer_map(2), block.init)
    began = time.perf_counter()
    with up_scaled_loading(growth):
        AutoModelForCausalLM.from_pretrained(folder, config=growth.config, dtype=torch.bfloat16)
    return time.perf_counter() - began


def timed(function: Callable, seconds: list[float]) -> Callable:
    def call(*args, **options):
        began = time.perf_counter()
        found = function(*args, **options)
        seconds.append(time.perf_counter() - began)
        return found

    return call


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hidden", type=int, default=4096)
    parser.add_argument("--intermediate", type=int, default=14336)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, alike in (("reordered with noise", True), ("independent", False)):
        with tempfile.TemporaryDirectory() as path:
            folder = Path(path)
            write_base(folder, options.hidden, options.intermediate, alike)
            load(folder, "copy")  # the page cache
            copied = load(folder, "copy")
            orders: list[float] = []
            assignments: list[float] = []
            assign = timed(transport.linear_sum_assignment, assignments)
            order = timed(transport.order, orders)
            with (
                mock.patch.object(transport, "linear_sum_assignment", assign),
                mock.patch.object(transport, "order", order),
            ):
                matched = load(folder, "optimal_transport")
        found[name] = {
            "load_copied_s": round(copied, 2),
            "load_matched_s": round(matched, 2),
            "products_s": round(sum(orders) - sum(assignments), 2),
            "assignment_s": round(sum(assignments), 2),
        }
        print(name, found[name], file=sys.stderr, flush=True)
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    shape = {"hidden_size": options.hidden, "intermediate_size": options.intermediate}
    result = {**shape, "peak_memory_gib": round(peak_gib, 1), "pairs": found, **environment()}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
