"""`solar_plugins.evaluation.h6` as one rank over gloo, without a GPU.

    torchrun --nproc-per-node 2 evaluate_on_cpu_ranks.py CONFIG MODEL RESULT NAME

lm-eval shares items out only where it counts several GPUs; the rest is what it does on them.
"""

import os
import sys

import torch
from accelerate.state import DistributedType, PartialState

from solar_plugins.evaluation.h6 import main

if __name__ == "__main__":
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_CPU)
    torch.cuda.device_count = lambda: int(os.environ["WORLD_SIZE"])
    main(sys.argv[1:])
