"""The YAML block ``depth_up_scaling:``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    Field,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from solar_plugins.depth_up_scaling import layer_map
from solar_plugins.errors import SolarError, nearest
from solar_plugins.watch.args import WatchedArgs

BLOCK = layer_map.BLOCK
Layout = Literal["overlap", "interleave", "repeat"]
Init = Literal["copy", "identity", "average"]
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

_NUMBERS = {
    "remove_layers": "Write how many layers each copy loses, e.g. 8 of 32.",
    "target_layers": "Write the number of layers of the model, e.g. 48 out of 32.",
    "every": "Write after how many layers of the base a new one follows, e.g. 4.",
    "times": "Write how many copies of the base are stacked, e.g. 2.",
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
            "average: an added layer starts as the mean of the two base layers that it is between."
        ),
    )
    train: Train = Field(
        default="all",
        description=(
            "added: only the added layers are trained (and have optimizer state), all others stay "
            "as the base's."
        ),
    )
    as_llama: bool = Field(
        default=False, description="A Mistral is trained and saved as the Llama of its tensors."
    )

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, block: Any) -> Any:
        if not isinstance(block, dict):
            raise ValueError(
                f"{BLOCK}: {block!r} is not a block of keys. "
                f"Write `{BLOCK}: {{remove_layers: 8}}`, or `{BLOCK}: {{}}` for a quarter."
            )
        for key in block:
            if key not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                meant = nearest(str(key), cls.model_fields)
                raise ValueError(f"{BLOCK}.{key}: unknown key. Known: {known}.{meant}")
        named = [key for key in LAYOUT_OF if block.get(key) is not None]
        if len(named) > 1:
            raise ValueError(
                f"{BLOCK}.{named[1]}: {named[1]} and {named[0]} are mutually exclusive: each of "
                "them alone sets the depth. Keep one."
            )
        layout = block.get("layout")
        if layout not in (None, *CHOICES["layout"]):
            return block  # which `_known_choice` refuses
        for key in named:
            wanted = LAYOUT_OF[key]
            if wanted is None and layout is not None:
                raise ValueError(
                    f"{BLOCK}.{key}: {key} and layout are mutually exclusive: each of them alone "
                    "sets the stack. Keep one."
                )
            if wanted not in (None, layout or "overlap"):
                raise ValueError(
                    f"{BLOCK}.{key}: belongs to layout: {wanted}, and the layout is "
                    f"{layout or 'overlap'}. Write layout: {wanted}, or remove {key}."
                )
        return block

    @field_validator(*_NUMBERS, mode="before")
    @classmethod
    def _whole_number(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or _is_whole(value):
            return value
        name = str(info.field_name)
        raise ValueError(f"{BLOCK}.{name}: {value!r} is not a whole number. {_NUMBERS[name]}")

    @field_validator("layer_ranges", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        wanted = "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]]."
        if value is None:
            return value
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"{BLOCK}.layer_ranges: {value!r} is not a list of ranges. {wanted}")
        for index, pair in enumerate(value):
            is_list = isinstance(pair, list | tuple)
            if not is_list or len(pair) != 2 or not all(map(_is_whole, pair)):
                raise ValueError(
                    f"{BLOCK}.layer_ranges[{index}]: {pair!r} is not a pair of whole numbers. "
                    f"{wanted}"
                )
        return value

    @field_validator(*CHOICES, "as_llama", mode="before")
    @classmethod
    def _known_choice(cls, value: Any, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        choices = CHOICES.get(name, (True, False))
        if value not in choices and (value, name) != (None, "layout"):
            raise ValueError(
                f"{BLOCK}.{name}: {value!r} is unknown. Write one of: "
                f"{', '.join(map(str, choices)).lower()}.{nearest(str(value), map(str, choices))}"
            )
        return value

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
    try:
        return DepthUpScalingBlock.model_validate({} if block is None else block)
    except ValidationError as error:
        # every fault that a YAML block can have is caught by a validator above, with its line
        raise SolarError(str(error.errors()[0]["ctx"]["error"])) from None


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def command_line(base: str, block: DepthUpScalingBlock, out: str | Path) -> str:
    """The command that writes the same model, without the folders of this machine."""
    words = ["solar", "dus", Path(base).resolve().name if Path(base).is_dir() else base]
    for key, value in block.model_dump(exclude_defaults=True, exclude={"train"}).items():
        if key == "layer_ranges":
            value = ",".join(f"{start}-{end}" for start, end in value)
        words += [f"--{key.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join([*words, "--out", Path(out).resolve().name])
