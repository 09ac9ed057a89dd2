"""The global batch of a recipe: sequences (or pairs) per optimizer step over all GPUs.

    global_batch_size: 256
    micro_batch_size: 4     # what one GPU takes at a time

Axolotl's own keys, ``batch_size`` included, are those of one process, so that the same recipe
trains with other batches on another number of GPUs. `StagePlugin` reads the key above and derives
``gradient_accumulation_steps`` from it where the training starts.

Nothing here is imported but the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from solar_plugins.errors import SolarError

KEY = "global_batch_size"

_RIVALS = ("gradient_accumulation_steps", "batch_size")
KEYS = (KEY, "micro_batch_size", *_RIVALS)
_OF_A_STEP = ("micro_batch_size", "gradient_accumulation_steps")


def accumulation_steps(recipe: Mapping[str, Any], processes: int) -> int:
    """Micro-batches that each of `processes` adds up for one optimizer step.

    >>> accumulation_steps({"global_batch_size": 256, "micro_batch_size": 4}, 8)
    8

    Raises:
        SolarError: the global batch cannot be shared out evenly.
    """
    micro = _whole(recipe, "micro_batch_size") or 1
    wanted = _whole(recipe, KEY)
    if wanted is None:
        given = _whole(recipe, "gradient_accumulation_steps")
        return given or max(1, (_whole(recipe, "batch_size") or micro) // micro)
    sharing = _sharing(recipe, processes)
    at_once = micro * sharing
    if wanted % at_once == 0:
        return wanted // at_once
    gpus = f"{sharing} GPU{'s' * (sharing > 1)}"
    below = wanted // at_once * at_once
    ways = [f"{KEY}: {count}" for count in (below, below + at_once) if count]
    if wanted % sharing == 0:
        smaller = max(n for n in range(1, micro + 1) if wanted % (n * sharing) == 0)
        ways.insert(0, f"micro_batch_size: {smaller}")
    fewer = next((n for n in range(sharing, 0, -1) if wanted % (n * micro) == 0), None)
    way_out = f"Write {' or '.join(ways)}" + (f", or train on {fewer}." if fewer else ".")
    raise SolarError(
        f"{KEY}: {wanted} is not a multiple of the {at_once} that {gpus} with micro_batch_size "
        f"{micro} take at a time. {way_out}"
    )


def of(recipe: Mapping[str, Any], processes: int) -> int:
    """The global batch on `processes`, as declared or as it comes out.

    >>> of({"micro_batch_size": 4, "gradient_accumulation_steps": 2}, 8)
    64
    """
    declared = _whole(recipe, KEY)
    if declared is not None:
        return declared
    micro = _whole(recipe, "micro_batch_size") or 1
    return micro * accumulation_steps(recipe, processes) * _sharing(recipe, processes)


def refuse_rivals(recipe: Mapping[str, Any]) -> None:
    """
    Raises:
        SolarError: a key says the global batch a second time.
    """
    if recipe.get(KEY) is None:
        return
    for key in _RIVALS:
        if recipe.get(key) is not None:
            raise SolarError(
                f"{key}: {recipe[key]} and {KEY}: {recipe[KEY]} are mutually exclusive: {key} "
                f"follows from {KEY} and the number of GPUs. Remove {key}."
            )
    block = recipe.get("sdpo")
    steps = block.get("steps") if isinstance(block, Mapping) else None
    for number, step in enumerate(steps if isinstance(steps, list) else []):
        for key in _OF_A_STEP:
            if isinstance(step, Mapping) and step.get(key) is not None:
                raise SolarError(
                    f"sdpo.steps[{number}].{key}: {step[key]} would change the batch of this "
                    f"step, which {KEY}: {recipe[KEY]} fixes. Remove one of the two."
                )


def _sharing(recipe: Mapping[str, Any], processes: int) -> int:
    """How many processes have batches of their own; those that split one model share theirs."""
    sizes = (_whole(recipe, f"{kind}_parallel_size") or 1 for kind in ("context", "tensor"))
    return max(1, processes // math.prod(sizes))


def _whole(recipe: Mapping[str, Any], key: str) -> int | None:
    value = recipe.get(key)
    if value is None:
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if number < 1 or isinstance(value, bool):
        raise SolarError(f"{key}: {value!r} found. A whole number from 1 up is needed.")
    return number
