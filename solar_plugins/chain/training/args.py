"""The key that `StagePlugin` adds to Axolotl's."""

from __future__ import annotations

from pydantic import Field

from solar_plugins.watch.args import WatchedArgs


class StageArgs(WatchedArgs):
    """See `solar_plugins.recipes.global_batch`."""

    global_batch_size: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Sequences (pairs, in preference tuning) per optimizer step over all GPUs. "
            "gradient_accumulation_steps follows from it, micro_batch_size and the number of GPUs."
        ),
    )
