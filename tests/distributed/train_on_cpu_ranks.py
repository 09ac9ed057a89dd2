"""``axolotl train`` as one rank of a distributed run over gloo, without a GPU.

    DS_ACCELERATOR=cpu torchrun --nproc-per-node 2 train_on_cpu_ranks.py RECIPE.yml

accelerate 1.13 leaves the backend unset on CPU when it does not find a launcher of its own, so that
every rank believes it is alone; it takes FSDP for something that only accelerators do; and Axolotl
places a rank's model on the accelerator of its number. All are matters of this launcher and not of
the plugins.
"""

import os
import sys

import deepspeed
from accelerate import Accelerator
from accelerate.parallelism_config import ParallelismConfig
from accelerate.state import DistributedType, PartialState
from deepspeed.comm.torch import TorchBackend
from torch.optim.optimizer import register_optimizer_step_post_hook

_prepare_backend = PartialState._prepare_backend
_build_device_mesh = ParallelismConfig.build_device_mesh
_initialize = deepspeed.initialize
_gather = TorchBackend.all_gather_into_tensor
_moments: dict[int, int] = {}  # of this rank: first moments of each parameter, shards alone
_prepare_fsdp2 = Accelerator._prepare_fsdp2


def _gloo_when_unset(self, *args, **kwargs):
    backend, distributed_type = _prepare_backend(self, *args, **kwargs)
    if backend is None and "LOCAL_RANK" in os.environ:
        backend = "gloo"
        if os.environ.get("ACCELERATE_USE_FSDP") == "true":
            distributed_type = DistributedType.MULTI_GPU  # what FSDP is chosen from
        elif os.environ.get("ACCELERATE_USE_DEEPSPEED") != "true":
            distributed_type = DistributedType.MULTI_CPU
    return backend, distributed_type


def _tell_what_started(*args, **kwargs):
    engine, *rest = _initialize(*args, **kwargs)
    stage, ranks = engine.zero_optimization_stage(), engine.world_size
    print(f"ZeRO stage {stage}, rank {engine.global_rank} of {ranks}", flush=True)
    return engine, *rest


def _tell_what_is_sharded(self, *args):
    prepared = _prepare_fsdp2(self, *args)
    print(f"FSDP2, rank {self.process_index} of {self.num_processes}", flush=True)
    return prepared


def _gather_into_view(self, output_tensor, input_tensor, **kwargs):
    # ZeRO-2 gathers into views that remember what they were split from, which gloo refuses.
    return _gather(self, output_tensor.detach(), input_tensor.detach(), **kwargs)


def _mesh_of_cpus(self, device_type):
    return _build_device_mesh(self, "cpu")  # Axolotl asks for "cuda"


def _count_moments(optimizer, args, kwargs):
    for state in optimizer.state.values():
        if "exp_avg" in state:
            kept = getattr(state["exp_avg"], "_local_tensor", state["exp_avg"])
            _moments[id(state["exp_avg"])] = kept.numel()


def main(recipe: str) -> None:
    """Train `recipe` as the rank that the environment names."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    deepspeed.initialize = _tell_what_started
    Accelerator._prepare_fsdp2 = _tell_what_is_sharded
    PartialState._prepare_backend = _gloo_when_unset
    ParallelismConfig.build_device_mesh = _mesh_of_cpus
    TorchBackend.all_gather_into_tensor = _gather_into_view

    from axolotl.cli.train import do_cli
    from axolotl.loaders import ModelLoader

    place = ModelLoader._set_device_map_config

    def place_on_cpu(self):
        self.cfg.device_map = {"": "cpu"}
        place(self)

    ModelLoader._set_device_map_config = place_on_cpu
    register_optimizer_step_post_hook(_count_moments)
    do_cli(recipe)
    print(f"AdamW keeps {sum(_moments.values())} first moments", flush=True)


if __name__ == "__main__":
    main(sys.argv.pop(1))
