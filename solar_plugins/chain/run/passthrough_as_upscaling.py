"""Which merges are a depth up-scaling, and nothing else."""

from __future__ import annotations

from typing import Any

from solar_plugins.models import model_config


def stacked_ranges(config: dict[str, Any]) -> tuple[str, list[list[int]]] | None:
    """The one model that a MergeKit config stacks on itself, and the ranges of its layers.

    MergeKit 0.1.5 leaves a wrong or unreadable config behind a stack on most architectures, so
    such a merge is written by `solar_plugins.depth_up_scaling.on_disk`, which is right on them.

    Returns:
        None where the config asks for more than a stack (another dtype than the model is stored
        in, parameters, a tokenizer), or stacks no more layers than the model has.
    """
    if config.get("merge_method") != "passthrough":
        return None
    if set(config) - {"merge_method", "base_model", "slices", "dtype"}:
        return None
    models, ranges = {str(config["base_model"])} if config.get("base_model") else set(), []
    for slice_ in config.get("slices") or []:
        match slice_:
            case {
                "sources": [{"model": str(model), "layer_range": [int(), int()] as pair} as source]
            }:
                if len(slice_) > 1 or len(source) > 2:
                    return None
                models.add(model)
                ranges.append(list(pair))
            case _:
                return None
    if len(models) != 1:
        return None
    (model,) = models
    base = model_config.find(model)
    deep = model_config.depth(base) if base else None
    if base is None or deep is None or sum(end - start for start, end in ranges) <= deep:
        return None
    stored = base.get("dtype") or base.get("torch_dtype")
    return (model, ranges) if config.get("dtype") in (None, stored) else None
