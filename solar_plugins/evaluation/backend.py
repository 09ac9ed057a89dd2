"""The backend of an evaluation: Hugging Face models, one process per GPU, or vLLM."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from solar_plugins.errors import SolarError

if TYPE_CHECKING:
    from lm_eval.config.evaluate_config import EvaluatorConfig

# Keys of `model_args` that place a model of `hf` or `vllm` on GPUs.
_SPREADING = {
    *("parallelize", "device_map", "device_map_option", "max_memory_per_gpu"),
    *("data_parallel_size", "tensor_parallel_size"),
}


@dataclass(frozen=True)
class Backend:
    """How to spread an evaluation over GPUs.

    Attributes:
        name: `hf` or `vllm`, as lm-eval calls them; None for the config file's `model`.
        data_parallel: copies of the model, each with its share of the items.
        tensor_parallel: GPUs that share one copy. With `hf` its layers are spread over all GPUs
            that the process sees, whatever the number.
    """

    name: str | None = None
    data_parallel: int = 1
    tensor_parallel: int = 1

    def model_args(self, model: str) -> dict:
        """What lm-eval's `model` needs besides the config file's `model_args`.

        Raises:
            SolarError: `model` (lm-eval's name) cannot be run like this here.
        """
        copies, gpus = self.data_parallel, self.tensor_parallel
        if model == "vllm" and importlib.util.find_spec("vllm") is None:
            raise SolarError(
                "--backend vllm: vllm is not installed here. pip install 'lm-eval[vllm]', or take "
                "--backend hf"
            )
        if copies == gpus == 1:
            return {}
        if model not in ("hf", "vllm"):
            raise SolarError(
                f"model: {model!r} cannot be spread over GPUs here. --data-parallel and "
                "--tensor-parallel need --backend hf or vllm"
            )
        if model == "hf" and copies > 1 and gpus > 1:
            raise SolarError(
                "--tensor-parallel: with --backend hf it takes all GPUs for one copy of the model. "
                "Leave out --data-parallel, or take --backend vllm"
            )
        import torch

        if copies * gpus > torch.cuda.device_count():
            raise SolarError(
                f"--data-parallel {copies} x --tensor-parallel {gpus} needs {copies * gpus} GPUs. "
                f"This machine has {torch.cuda.device_count()}"
            )
        if model == "hf":
            return {"parallelize": True} if gpus > 1 else {}
        sizes = {"data_parallel_size": copies, "tensor_parallel_size": gpus}
        return {name: size for name, size in sizes.items() if size > 1}

    def needs_launch(self, model: str) -> bool:
        """Whether this process has to start one process per copy; vLLM starts its own."""
        return model == "hf" and self.data_parallel > 1 and "LOCAL_RANK" not in os.environ

    def launch_command(self, module: str, arguments: Sequence[str]) -> list[str]:
        """`module` with `arguments` in one process per copy, through accelerate's launcher."""
        return [
            *(sys.executable, "-m", "accelerate.commands.launch"),
            *("--multi_gpu", "--num_machines", "1", "--num_processes", str(self.data_parallel)),
            *("--mixed_precision", "no", "--dynamo_backend", "no"),
            *("--module", module, *arguments),
        ]


AS_CONFIGURED = Backend()


def on_all_gpus(config: EvaluatorConfig, gpus: int) -> Backend:
    """A copy of the model on each of `gpus` GPUs, unless the config file says how to spread it."""
    spread_by_config = _SPREADING.intersection(config.model_args)
    has_place = not str(config.device).startswith("cuda")
    if gpus < 2 or config.model not in ("hf", "vllm") or spread_by_config or has_place:
        return AS_CONFIGURED
    return Backend(data_parallel=gpus)
