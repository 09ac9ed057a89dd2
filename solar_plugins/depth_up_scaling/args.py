"""The YAML block ``depth_up_scaling:``."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, StrictInt, ValidationError, model_validator

from solar_plugins.errors import SolarError, nearest

BLOCK = "depth_up_scaling"


class DepthUpScalingBlock(BaseModel):
    """What stands under ``depth_up_scaling:``."""

    model_config = {"extra": "forbid"}

    remove_layers: StrictInt | None = Field(
        default=None,
        description=(
            "Layers that each of the two copies of the base loses at the seam (the paper's m). "
            "32 layers and 8 give 2*(32-8) = 48. Default: a quarter of the base's layers."
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
        return block


class DepthUpScalingArgs(BaseModel):
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
        first = error.errors()[0]
        if first["type"] == "value_error":
            raise SolarError(str(first["ctx"]["error"])) from None
        where = ".".join([BLOCK, *map(str, first["loc"])])
        raise SolarError(
            f"{where}: {first['input']!r} is not a whole number. "
            "Write how many layers each copy loses, e.g. 8 of 32."
        ) from None
