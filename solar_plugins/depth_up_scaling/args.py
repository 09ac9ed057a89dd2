"""The YAML block ``depth_up_scaling:``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, StrictInt, ValidationError, field_validator, model_validator

from solar_plugins.depth_up_scaling import layer_map
from solar_plugins.errors import SolarError, nearest
from solar_plugins.watch.args import WatchedArgs

BLOCK = "depth_up_scaling"
DEPTHS = ("remove_layers", "target_layers", "layer_ranges")
Init = Literal["copy", "identity"]
INITS: tuple[Init, ...] = get_args(Init)


class DepthUpScalingBlock(BaseModel):
    """The block ``depth_up_scaling:``. At most one of its first three keys may be set."""

    model_config = {"extra": "forbid"}

    remove_layers: StrictInt | None = Field(
        default=None,
        description=(
            "Layers that each of the two copies of the base loses at the seam (the paper's m). "
            "32 layers and 8 give 2*(32-8) = 48. Default: a quarter of the base's layers."
        ),
    )
    target_layers: StrictInt | None = Field(
        default=None,
        description="Number of layers of the model (the paper's s): m = n - s/2.",
    )
    layer_ranges: list[tuple[StrictInt, StrictInt]] | None = Field(
        default=None,
        description=(
            "The stack itself, any number of [start, end) ranges of base layers, as MergeKit's "
            "passthrough takes them: [[0, 24], [8, 32]] is the paper's."
        ),
    )
    init: Init = Field(
        default="copy",
        description=(
            "copy (the paper): every copied layer starts as its base layer. identity: the output "
            "projections of the added layers start at zero, and the model as the base's function."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, block: Any) -> Any:
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
        named = [key for key in DEPTHS if block.get(key) is not None]
        if len(named) > 1:
            raise ValueError(
                f"{BLOCK}.{named[1]}: {named[1]} and {named[0]} are mutually exclusive: each of "
                "them alone sets the depth. Keep one."
            )
        return block

    @field_validator("remove_layers", "target_layers", mode="before")
    @classmethod
    def _whole_number(cls, value: Any, info: Any) -> Any:
        if value is None or _is_whole(value):
            return value
        wanted = {
            "remove_layers": "Write how many layers each copy loses, e.g. 8 of 32.",
            "target_layers": "Write the number of layers of the model, e.g. 48 out of 32.",
        }[info.field_name]
        raise ValueError(f"{BLOCK}.{info.field_name}: {value!r} is not a whole number. {wanted}")

    @field_validator("layer_ranges", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        wanted = "Write [start, end] of base layers for each, e.g. [[0, 24], [8, 32]]."
        if value is None:
            return value
        if not isinstance(value, list | tuple) or not value:
            raise ValueError(f"{BLOCK}.layer_ranges: {value!r} is not a list of ranges. {wanted}")
        for index, pair in enumerate(value):
            if (
                not isinstance(pair, list | tuple)
                or len(pair) != 2
                or not all(map(_is_whole, pair))
            ):
                raise ValueError(
                    f"{BLOCK}.layer_ranges[{index}]: {pair!r} is not a pair of whole numbers. "
                    f"{wanted}"
                )
        return value

    @field_validator("init", mode="before")
    @classmethod
    def _known_init(cls, value: Any) -> Any:
        if value not in INITS:
            raise ValueError(
                f"{BLOCK}.init: {value!r} is neither `copy` (the paper) nor `identity` (the added "
                f"layers start as no-ops).{nearest(str(value), INITS)}"
            )
        return value

    def ranges(self, num_hidden_layers: int) -> list[layer_map.Range]:
        """The stack for a base of this depth, a quarter removed by default.

        Raises:
            SolarError: it cannot be stacked like this; the line has the paper's arithmetic.
        """
        if self.layer_ranges is not None:
            return layer_map.check_ranges(num_hidden_layers, self.layer_ranges)
        if self.target_layers is not None:
            return layer_map.ranges_for_depth(num_hidden_layers, self.target_layers)
        remove_layers = self.remove_layers
        if remove_layers is None:
            remove_layers = layer_map.default_remove_layers(num_hidden_layers)
        return layer_map.layer_ranges(num_hidden_layers, remove_layers)

    def layer_map(self, num_hidden_layers: int) -> list[int]:
        """Base layer of every target layer (`ranges`, layer by layer)."""
        return layer_map.stacked(self.ranges(num_hidden_layers))


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
    if block.remove_layers is not None:
        words += ["--remove-layers", str(block.remove_layers)]
    if block.target_layers is not None:
        words += ["--target-layers", str(block.target_layers)]
    if block.layer_ranges is not None:
        words += ["--layer-ranges", ",".join(f"{start}-{end}" for start, end in block.layer_ranges)]
    if block.init != "copy":
        words += ["--init", block.init]
    return shlex.join([*words, "--out", Path(out).resolve().name])
