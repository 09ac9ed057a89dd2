"""Model folders written by hand, without torch: the safetensors format is a header and bytes."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path


def write_safetensors(path: Path, **shapes: list[int]) -> None:
    """A file of float32 zeros."""
    header: dict = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 4
        for length in shape:
            size *= length
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


def write_model(folder: Path, layers: int = 2, config: dict | None = None) -> None:
    """A model folder that the checks without torch find sound."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {"model.embed_tokens.weight": [8, 4]}
    shapes.update({f"model.layers.{i}.mlp.up_proj.weight": [6, 4] for i in range(layers)})
    write_safetensors(folder / "model.safetensors", **shapes)
    plain = {"model_type": "llama", "num_hidden_layers": layers}
    (folder / "config.json").write_text(json.dumps(plain | (config or {})))
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "tokenizer.model").touch()


def write_checkpoint(folder: Path, step: int, zero_processes: int = 0) -> Path:
    """A checkpoint that is whole, saved by Axolotl alone or by DeepSpeed on so many processes."""
    path = folder / f"checkpoint-{step}"
    write_model(path)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    names = ["optimizer.pt", "scheduler.pt", "rng_state.pth"]
    if zero_processes:
        (path / f"global_step{step}").mkdir()
        (path / "latest").write_text(f"global_step{step}")
        shards = [f"zero_pp_rank_{rank}_mp_rank_00" for rank in range(zero_processes)]
        names[0:1] = [f"global_step{step}/{shard}_optim_states.pt" for shard in shards]
    for name in names:
        with zipfile.ZipFile(path / name, "w") as archive:
            archive.writestr("data.pkl", "x" * 1000)
    return path
