"""The YAML block ``depth_up_scaling:``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, StrictBool, StrictInt, model_validator

from solar_plugins.depth_up_scaling import layer_map
from solar_plugins.errors import SolarError
from solar_plugins.recipes import typed_block
from solar_plugins.watch.args import WatchedArgs

BLOCK = layer_map.BLOCK
Layout = Literal["overlap", "interleave", "repeat"]
Init = Literal["copy", "identity", "average", "optimal_transport"]
Train = Literal["all", "added"]
CHOICES = {"layout": get_args(Layout), "init": get_args(Init), "train": get_args(Train)}

LAYOUT_OF = {
    "remove_layers": "overlap",
    "target_layers": "overlap",
    "every": "interleave",
    "times": "repeat",
    "layer_ranges": None,
}
"""Key that sets the depth -> the layout that takes it; at most one of them may be set."""

_WRITE = {
    "": f"Write `{BLOCK}: {{remove_layers: 8}}`, or `{BLOCK}: {{}}` for a quarter.",
    "remove_layers": "Write how many layers each copy loses, e.g. 8 of 32.",
    "target_layers": "Write the number of layers of the model, e.g. 48 out of 32.",
    "every": "Write after how many layers of the base a new one follows, e.g. 4.",
    "times": "Write how many copies of the base are stacked, e.g. 2.",
    "layer_ranges": "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]].",
}


class DepthUpScalingBlock(BaseModel):
    """The block ``depth_up_scaling:``."""

    model_config = {"extra": "forbid"}

    layout: Layout | None = Field(
        default=None,
        description=(
            "overlap (SOLAR, the default): two copies that meet at a seam. interleave (LLaMA Pro): "
            "new layers between those of the base. repeat (G_stack): whole copies."
        ),
    )
    remove_layers: StrictInt | None = Field(
        default=None,
        description=(
            "overlap: layers that each of the two copies of the base loses at the seam (the "
            "paper's m). 32 layers and 8 give 2*(32-8) = 48. Default: a quarter of the base's "
            "layers."
        ),
    )
    target_layers: StrictInt | None = Field(
        default=None,
        description="overlap: number of layers of the model (the paper's s): m = n - s/2.",
    )
    every: StrictInt | None = Field(
        default=None,
        description="interleave: after every so many base layers a new one. Default: 4.",
    )
    times: StrictInt | None = Field(
        default=None, description="repeat: number of whole copies of the base. Default: 2."
    )
    layer_ranges: list[tuple[StrictInt, StrictInt]] | None = Field(
        default=None,
        min_length=1,
        description=(
            "The stack itself, in place of a layout: any number of [start, end) ranges of base "
            "layers, as MergeKit's passthrough takes them: [[0, 24], [8, 32]] is the paper's."
        ),
    )
    init: Init = Field(
        default="copy",
        description=(
            "copy (the paper): every copied layer starts as its base layer. identity: the output "
            "projections of the added layers start at zero, and the model as the base's function. "
            "average: an added layer starts as the mean of the two base layers that it is between. "
            "optimal_transport (OpT-DeUS): the same, once the lower one's heads and neurons are in "
            "the order of the upper one's, and with output projections at zero."
        ),
    )
    train: Train = Field(
        default="all",
        description=(
            "added: only the added layers are trained (and have optimizer state), all others stay "
            "as the base's."
        ),
    )
    as_llama: StrictBool = Field(
        default=False, description="A Mistral is trained and saved as the Llama of its tensors."
    )

    @model_validator(mode="after")
    def _refuse_two_stacks(self) -> DepthUpScalingBlock:
        named = [key for key in LAYOUT_OF if getattr(self, key) is not None]
        if len(named) > 1:
            raise SolarError(
                f"{BLOCK}.{named[1]}: {named[1]} and {named[0]} are mutually exclusive: each of "
                "them alone sets the depth. Keep one."
            )
        for key in named:
            wanted, layout = LAYOUT_OF[key], self.layout or "overlap"
            if wanted is None and self.layout is not None:
                raise SolarError(
                    f"{BLOCK}.{key}: {key} and layout are mutually exclusive: each of them alone "
                    "sets the stack. Keep one."
                )
            if wanted not in (None, layout):
                raise SolarError(
                    f"{BLOCK}.{key}: belongs to layout: {wanted}, and the layout is {layout}. "
                    f"Write layout: {wanted}, or remove {key}."
                )
        return self

    def layer_map(self, num_hidden_layers: int) -> list[int]:
        """Base layer of every layer of the model, for a base of this depth.

        Raises:
            SolarError: it cannot be stacked like this; the line has the paper's arithmetic.
        """
        n = num_hidden_layers
        if self.layer_ranges is not None:
            return layer_map.from_ranges(n, self.layer_ranges)
        if self.layout == "interleave":
            return layer_map.interleave(n, 4 if self.every is None else self.every)
        if self.layout == "repeat":
            return layer_map.repeat(n, 2 if self.times is None else self.times)
        if self.target_layers is not None:
            return layer_map.for_depth(n, self.target_layers)
        m = self.remove_layers
        return layer_map.layer_map(n, layer_map.default_remove_layers(n) if m is None else m)


class DepthUpScalingArgs(WatchedArgs):
    """What the plugin adds to Axolotl's own schema."""

    depth_up_scaling: DepthUpScalingBlock | None = Field(
        default=None, description="Depth up-scaling of the base model (SOLAR paper, section 2)."
    )


def parse(block: Any) -> DepthUpScalingBlock:
    """The typed block of a raw recipe; a missing one (the plugin is only named) means defaults.

    Raises:
        SolarError: the block is not what the schema wants.
    """
    return typed_block.read(DepthUpScalingBlock, {} if block is None else block, BLOCK, _WRITE)


def command_line(base: str, block: DepthUpScalingBlock, out: str | Path) -> str:
    """The command that writes the same model, without the folders of this machine."""
    words = ["solar", "dus", Path(base).resolve().name if Path(base).is_dir() else base]
    for key, value in block.model_dump(exclude_defaults=True, exclude={"train"}).items():
        if key == "layer_ranges":
            value = ",".join(f"{start}-{end}" for start, end in value)
        words += [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join([*words, "--out", Path(out).resolve().name])
