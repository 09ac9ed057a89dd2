"""`solar dus --as-llama` at Mistral 7B's width: are the logits those of the Mistral, bit for bit?

    .venv/bin/python benchmarks/depth_up_scaling/as_llama.py [--window 256]

A random base with Mistral 7B's dimensions (hidden 4096, 32 heads of which 8 for keys and values,
intermediate 14336, vocabulary 32000, window 4096) and 3 layers, in bf16, is written up-scaled to 4
layers twice, as Mistral and as Llama. Both are loaded in float32, one after the other, and their
logits on random tokens are compared up to the whole window (a shorter one takes less time). Then
MergeKit averages the Llama with another one of its shape. Needs 9 GB of memory and 14 GB of disk;
everything is removed.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from pathlib import Path

import torch
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

sys.path.insert(0, str(Path(__file__).parents[1]))
from environment import environment

from solar_plugins.depth_up_scaling import on_disk
from solar_plugins.depth_up_scaling.args import parse

SHAPE = {"hidden_size": 4096, "intermediate_size": 14336, "vocab_size": 32000}
SHAPE |= {"num_attention_heads": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-5}


def write_random(folder: Path, config: MistralConfig | LlamaConfig, seed: int) -> None:
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def logits(folder: Path, window: int) -> tuple[str, dict[int, torch.Tensor]]:
    """Class of the model, and its logits for each length."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = {}
    for length in (16, window // 4, window):
        ids = torch.randint(
            SHAPE["vocab_size"], (1, length), generator=torch.Generator().manual_seed(length)
        )
        begin = time.perf_counter()
        with torch.no_grad():
            found[length] = model(ids).logits
        print(f"{folder.name}: {length} tokens, {time.perf_counter() - begin:.0f} s", flush=True)
    return type(model).__name__, found


def merged(one: Path, other: Path, out: Path) -> dict[str, object]:
    """What MergeKit makes of the two, each tensor compared with their mean."""
    models = [{"model": str(folder), "parameters": {"weight": 0.5}} for folder in (one, other)]
    text = {"merge_method": "linear", "base_model": str(one), "models": models}
    options = MergeOptions(cuda=False, quiet=True, copy_tokenizer=False)
    run_merge(MergeConfiguration.model_validate(text | {"dtype": "float32"}), str(out), options)
    files = [
        {key: file for file in folder.glob("*.safetensors") for key in _keys(file)}
        for folder in (out, one, other)
    ]
    furthest = 0.0
    for key in files[0]:
        made, a, b = (_tensor(found[key], key).float() for found in files)
        furthest = max(furthest, (made - (a + b) / 2).abs().max().item())
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    same = files[0].keys() == files[1].keys()
    return {
        "class": config["architectures"],
        "same_tensors": same,
        "furthest_from_mean": furthest,
    }


def _keys(file: Path) -> list[str]:
    with safe_open(file, "pt") as opened:
        return list(opened.keys())


def _tensor(file: Path, key: str) -> torch.Tensor:
    with safe_open(file, "pt") as opened:
        return opened.get_tensor(key)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--window", type=int, default=4096)
    window = parser.parse_args().window
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        positions = {"max_position_embeddings": 32768, "sliding_window": window}
        write_random(root / "base", MistralConfig(**SHAPE, **positions, num_hidden_layers=3), 0)
        found = {}
        for name, more in (("mistral", {}), ("llama", {"as_llama": True})):
            block = parse({"remove_layers": 1, **more})
            on_disk.write(on_disk.prepare(str(root / "base"), block), root / name, "benchmark")
            found[name] = logits(root / name, window)
            gc.collect()
        apart = {
            length: (found["mistral"][1][length] - found["llama"][1][length]).abs().max().item()
            for length in found["llama"][1]
        }
        other = LlamaConfig(**SHAPE, max_position_embeddings=window, num_hidden_layers=4)
        write_random(root / "other", other, 1)
        result = {
            "classes": [found[name][0] for name in ("mistral", "llama")],
            "bit_for_bit": {n: torch.equal(*(f[1][n] for f in found.values())) for n in apart},
            "furthest_apart": apart,
            "mergekit": merged(root / "llama", root / "other", root / "merged"),
            "environment": environment(),
        }
        print(json.dumps(result, indent=1, default=str))


if __name__ == "__main__":
    main()
