"""What a recipe says to have its model split over the processes, and what they say when it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOLD = {
    "zero2": "ZeRO stage 2",
    "zero3": "ZeRO stage 3",
    "fsdp2": "FSDP2",
    "fsdp2, read once": "FSDP2",
}
"""By the kind of splitting: what each rank prints, see `train_on_cpu_ranks`."""

_ZERO = {
    "zero2": {"stage": 2},
    "zero3": {
        "stage": 3,
        # every parameter is really split, however small it is here
        "stage3_param_persistence_threshold": 0,
        "stage3_gather_16bit_weights_on_model_save": True,
    },
}


def sharded(kind: str, folder: Path) -> dict[str, Any]:
    """The keys of a recipe for one kind of `TOLD`; DeepSpeed's file is written into `folder`."""
    if kind in _ZERO:
        names = ("gradient_accumulation_steps", "gradient_clipping", "train_batch_size")
        auto = dict.fromkeys((*names, "train_micro_batch_size_per_gpu"), "auto")
        file = folder / f"{kind}.json"
        file.write_text(json.dumps({"zero_optimization": _ZERO[kind], **auto}))
        return {"deepspeed": str(file)}
    config = {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "transformer_layer_cls_to_wrap": "LlamaDecoderLayer",
        "state_dict_type": "FULL_STATE_DICT",
        "reshard_after_forward": True,
        "offload_params": False,
        # only the first rank reads the weights; the others get theirs when they are sharded
        "cpu_ram_efficient_loading": kind == "fsdp2, read once",
    }
    return {"fsdp_version": 2, "fsdp_config": config}
