"""Is the output of a stage sound? What can be seen without torch.

The next stage would load a model with missing layers, empty weights or another tokenizer without
an error, and days later the scores would be bad. `solar_plugins.chain.verify.model` adds what needs
torch: whether every tensor of the architecture is there in the right shape, and NaN.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from solar_plugins import run_record
from solar_plugins.depth_up_scaling.layer_map import ranges_of
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config, safetensors_header
from solar_plugins.models.safetensors_header import Tensor
from solar_plugins.recipes.registry import blocks_of

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")
_PER_LAYER_LISTS = (
    "layer_types",
    "mlp_layer_types",
    "layers_block_type",
    "no_rope_layers",
    "attention_layers",
    "activation_sparsity_pattern",
    "layer_rope_theta",
    "num_attention_heads_per_layer",
    "sliding_windows",
)


def check_model_folder(folder: Path) -> dict[str, Any]:
    """Weights, config and tokenizer of a model folder against each other.

    Returns:
        ``num_hidden_layers`` and ``parameters`` (elements of all tensors); for an adapter only
        ``adapter`` and ``parameters``.

    Raises:
        SolarError: the first thing that is not sound.
    """
    tensors = safetensors_header.read_model(folder)
    if not tensors:
        raise SolarError(f"{folder}: the weights hold no tensor at all.")
    for name, info in tensors.items():
        if info.elements == 0:
            raise SolarError(
                f"{info.file}: {name} is empty (shape {list(info.shape)}). A save under "
                f"ZeRO-3 leaves this when the shards were not gathered: set "
                f"stage3_gather_16bit_weights_on_model_save: true in the DeepSpeed file."
            )
    parameters = sum(info.elements for info in tensors.values())
    if (folder / safetensors_header.ADAPTER).is_file():
        _read_json(folder / "adapter_config.json")
        return {"adapter": True, "parameters": parameters}
    config = _read_json(folder / "config.json")
    depth = model_config.depth(config)
    if depth is None:
        raise SolarError(f"{folder / 'config.json'}: num_hidden_layers: missing.")
    _check_depth(folder, config, depth, tensors)
    if not any((folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json")):
        raise SolarError(f"{folder}: no tokenizer (tokenizer_config.json, tokenizer.json).")
    return {"num_hidden_layers": depth, "parameters": parameters}


def check_run_records(folder: Path, recipe: dict[str, Any]) -> dict[str, dict]:
    """The run records of the plugins that a recipe names, by YAML block.

    Raises:
        SolarError: one of them left no record, so it did not run (Axolotl drops a plugin that it
            cannot import, and trains on).
    """
    records = {}
    for block in dict.fromkeys([*blocks_of(recipe), "stage", "training"]):
        facts = run_record.read(folder, block)
        if facts is None:
            raise SolarError(
                f"{run_record.path(folder, block)}: missing, so the plugin of {block}: did not run "
                f"to its end. The stage's log says why."
            )
        records[block] = facts
    return records


def check_evaluation(file: Path) -> dict[str, Any]:
    """A result file of an evaluation: every task has a finite value.

    Raises:
        SolarError: the file is missing, not JSON, or lacks a value.
    """
    result = _read_json(file)
    values = {**result.get("tasks", {}), **result.get("losses", {})}
    if not values and not result.get("other"):
        raise SolarError(f"{file}: holds no task's result.")
    for task, entry in values.items():
        value = entry.get("value")
        if not isinstance(value, int | float) or value != value or abs(value) == float("inf"):
            raise SolarError(f"{file}: {task}: {value!r} found. A number is needed.")
    return {"h6": result.get("h6")}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SolarError(f"{path}: missing.") from None
    except ValueError:
        raise SolarError(f"{path}: not JSON; cut short?") from None
    if not isinstance(value, dict):
        raise SolarError(f"{path}: a {type(value).__name__} found. A JSON object is needed.")
    return value


def _check_depth(
    folder: Path, config: dict[str, Any], depth: int, tensors: dict[str, Tensor]
) -> None:
    found = {int(match[1]) for name in tensors if (match := _LAYER.search(name))}
    if found and found != set(range(depth)):
        missing = sorted(set(range(depth)) - found)
        what = f"layers {_ranges(missing)} have no tensors" if missing else "there are more"
        raise SolarError(
            f"{folder / 'config.json'}: num_hidden_layers: {depth}, but the weights have layers "
            f"{_ranges(sorted(found))}: {what}."
        )
    for block in (config, config.get("text_config", {})):
        for key in _PER_LAYER_LISTS:
            value = block.get(key)
            if isinstance(value, list) and value and len(value) != depth:
                raise SolarError(
                    f"{folder / 'config.json'}: {key}: {len(value)} entries for {depth} layers. "
                    f"It needs one per layer."
                )


def _ranges(numbers: list[int]) -> str:
    """``[0, 1, 2, 5]`` as ``"0-2, 5"``."""
    spans = ((start, end - 1) for start, end in ranges_of(numbers))
    return ", ".join(f"{first}-{last}" if first < last else f"{first}" for first, last in spans)
