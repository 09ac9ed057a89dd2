"""``axolotl train`` as one rank of a DeepSpeed run over gloo, without a GPU.

    DS_ACCELERATOR=cpu torchrun --nproc-per-node 2 train_on_cpu_ranks.py RECIPE.yml

accelerate 1.13 leaves the backend unset on CPU when it does not find a launcher of its own, so that
every rank believes it is alone. That is a matter of this launcher and not of the plugins.
"""

import os
import sys

import deepspeed
from accelerate.state import PartialState

_prepare_backend = PartialState._prepare_backend
_initialize = deepspeed.initialize


def _gloo_when_unset(self, *args, **kwargs):
    backend, distributed_type = _prepare_backend(self, *args, **kwargs)
    if backend is None and "LOCAL_RANK" in os.environ:
        backend = "gloo"
    return backend, distributed_type


def _tell_what_started(*args, **kwargs):
    engine, *rest = _initialize(*args, **kwargs)
    stage, ranks = engine.zero_optimization_stage(), engine.world_size
    print(f"ZeRO stage {stage}, rank {engine.global_rank} of {ranks}", flush=True)
    return engine, *rest


if __name__ == "__main__":
    deepspeed.initialize = _tell_what_started
    PartialState._prepare_backend = _gloo_when_unset
    recipe = sys.argv.pop(1)

    from axolotl.cli.train import do_cli

    do_cli(recipe)
