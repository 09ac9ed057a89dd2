"""What each way to grow a base costs before training: its loss on a text, from the base alone.

No deeper model is built. Its forward pass is the base's own layers in the order of the layer map
(SOLAR paper, section 2: the distance of the layers at the seam), so that one model in memory serves
every stack.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.args import DepthUpScalingBlock, parse
from solar_plugins.depth_up_scaling.growth import Growth, base_depth, grow, load_config
from solar_plugins.depth_up_scaling.tensor_plan import Blueprint, blueprint, mean
from solar_plugins.errors import SolarError
from solar_plugins.models import base_files
from solar_plugins.models.safetensors_header import read_files, weight_files

SEQUENCE, MOST_TOKENS = 1024, 4096
"""Tokens in one forward pass, and of the text in all."""


@dataclass(frozen=True)
class Measured:
    """One way to grow the base.

    Attributes:
        name: the block in short; ``base`` for the base itself.
        num_hidden_layers: layers of the model.
        parameters: its parameters.
        bits_per_byte: its loss on the text before training; None where it could not be built.
        why_not: the line that says why.
    """

    name: str
    num_hidden_layers: int
    parameters: int
    bits_per_byte: float | None
    why_not: str = ""


class Measurement:
    """A base in memory and a text in windows, for as many stacks as wanted.

    Args:
        base: a folder or a Hub id.
        file: the text, UTF-8.
        trust_remote_code: as in transformers.

    Raises:
        SolarError: no text, less than one window of it, or the base cannot be up-scaled.
    """

    def __init__(self, base: str, file: str | Path, trust_remote_code: bool = False):
        folder = base_files.find_base(base)
        config = load_config(folder, trust_remote_code)
        self.depth = base_depth(config)
        for found in config_rules.depth_in_the_maths(config.to_dict(), self.depth, 0):
            raise SolarError(
                f"--measure: {config.model_type} computes with the layer's position "
                f"({found.partition(':')[0]}), so that the base's layers cannot stand in for the "
                "model's. Write each model with --out, and evaluate it."
            )
        read_files(weight_files(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
        self.windows, self.nbytes = _windows(tokenizer, Path(file), config)
        on_gpu = torch.cuda.is_available()
        self.model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype="auto" if on_gpu else torch.float32,
            trust_remote_code=trust_remote_code,
        ).eval()
        self.model.to("cuda" if on_gpu else "cpu")

    def of_base(self) -> tuple[Measured, list[float]]:
        """The base itself, and how alike the input and output of each of its layers are (cosine).

        Where a layer changes its input least, another one is most easily added or left out.
        """
        layers = self.model.get_submodule(self._blueprint(parse({})).layer_lists[0])
        assert isinstance(layers, nn.ModuleList)
        alike = [0.0] * len(layers)

        def hook(index: int) -> Callable[..., None]:
            def compare(module: nn.Module, inputs: Any, output: Any) -> None:
                after = output[0] if isinstance(output, tuple) else output
                cosine = torch.cosine_similarity(inputs[0].float(), after.float(), dim=-1)
                alike[index] += cosine.mean().item() / len(self.windows)

            return compare

        handles = [layer.register_forward_hook(hook(i)) for i, layer in enumerate(layers)]
        try:
            bits = self._bits_per_byte()
        finally:
            for handle in handles:
                handle.remove()
        return Measured("base", self.depth, self.model.num_parameters(), bits), alike

    def of(self, block: DepthUpScalingBlock) -> Measured:
        """The model that `block` makes, before training."""
        name = in_short(block)
        try:
            found = self._blueprint(block)
        except SolarError as error:
            return Measured(name, 0, 0, None, str(error))
        growth = found.growth
        per_layer = [
            sum(p.numel() for path in found.layer_lists for p in self._layer(path, j).parameters())
            for j in range(self.depth)
        ]
        parameters = self.model.num_parameters() - sum(per_layer)
        parameters += sum(per_layer[j] for j in growth.layer_map)
        # added layers of `identity` add nothing before training: the map without them is the base
        as_base = growth.init == "identity"
        with self._stacked(found) if not as_base else nullcontext():
            bits = self._bits_per_byte()
        return Measured(name, len(growth.layer_map), parameters, bits)

    def _blueprint(self, block: DepthUpScalingBlock) -> Blueprint:
        growth = grow(self.model.config, block.layer_map(self.depth), block.init)
        return blueprint(type(self.model), growth)

    def _layer(self, path: str, j: int) -> nn.Module:
        layers = self.model.get_submodule(path)
        assert isinstance(layers, nn.ModuleList)
        return layers[j]

    @contextmanager
    def _stacked(self, found: Blueprint) -> Iterator[None]:
        """Within the block the base's own layers stand in the order of the layer map."""
        growth, text = found.growth, self.model.config.get_text_config()
        before = {name: getattr(text, name) for name in growth.changes}
        lists = {path: self.model.get_submodule(path) for path in found.layer_lists}
        try:
            for path in lists:
                parent, _, name = path.rpartition(".")
                layers = nn.ModuleList(self._layers(path, growth))
                setattr(self.model.get_submodule(parent), name, layers)
            for name, value in growth.changes.items():
                setattr(text, name, value)
            yield
        finally:
            for path, own in lists.items():
                parent, _, name = path.rpartition(".")
                setattr(self.model.get_submodule(parent), name, own)
            for name, value in before.items():
                setattr(text, name, value)

    def _layers(self, path: str, growth: Growth) -> list[nn.Module]:
        layers = [self._layer(path, j) for j in growth.layer_map]
        if growth.init == "average":
            for i in growth.added:
                following = growth.layer_map[i] + 1
                if following < self.depth:
                    layers[i] = _averaged(layers[i], self._layer(path, following))
        return layers

    @torch.no_grad()
    def _bits_per_byte(self) -> float:
        nats = 0.0
        for window in self.windows:
            logits = self.model(window.to(self.model.device)[None], use_cache=False).logits[0]
            nats += nn.functional.cross_entropy(
                logits[:-1].float(), window[1:].to(logits.device), reduction="sum"
            ).item()
        return nats / math.log(2) / self.nbytes


def _averaged(layer: nn.Module, following: nn.Module) -> nn.Module:
    made = copy.deepcopy(layer)
    theirs = following.state_dict()
    made.load_state_dict({name: mean(own, theirs[name]) for name, own in made.state_dict().items()})
    return made


def _windows(tokenizer: Any, file: Path, config: Any) -> tuple[list[torch.Tensor], int]:
    """Windows of tokens, each behind the token that a text begins with, and the bytes in them."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SolarError(f"--measure: {file}: {error}. Name a text file in UTF-8.") from None
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    length = min(SEQUENCE, getattr(config.get_text_config(), "max_position_embeddings", SEQUENCE))
    length -= 1
    ids = tokenizer(text, add_special_tokens=False)["input_ids"][:MOST_TOKENS]
    if len(ids) < length:
        raise SolarError(
            f"--measure: {file} has {len(ids)} tokens, and one sequence is {length}. Name a longer "
            "text."
        )
    ids = ids[: len(ids) // length * length]
    windows = [
        torch.tensor([*([start] if start is not None else []), *ids[at : at + length]])
        for at in range(0, len(ids), length)
    ]
    return windows, len(tokenizer.decode(ids).encode())


def in_short(block: DepthUpScalingBlock) -> str:
    """The block in a few words.

    >>> in_short(parse({"layout": "interleave", "every": 4, "init": "identity"}))
    'interleave every 4, identity'
    """
    words: str = block.layout or "overlap"
    for key in ("remove_layers", "target_layers", "every", "times"):
        value = getattr(block, key)
        if value is not None:
            words += f" {'m' if key == 'remove_layers' else key} {value}"
    if block.layer_ranges is not None:
        words = "+".join(f"{start}-{end}" for start, end in block.layer_ranges)
    return words if block.init == "copy" else f"{words}, {block.init}"


def usual_blocks(depth: int) -> Sequence[dict[str, Any]]:
    """What `solar dus --measure` compares where no stack is named: every m, and the others."""
    interleaves = [every for every in (1, 2, 4, 8) if depth % every == 0]
    return [
        *({"remove_layers": m} for m in range(1, (depth + 1) // 2)),
        *({"layout": "interleave", "every": every} for every in interleaves),
        *({"layout": "interleave", "every": every, "init": "average"} for every in interleaves),
        {"layout": "interleave", "every": interleaves[-1], "init": "identity"},
        {"layout": "repeat", "times": 2},
    ]
