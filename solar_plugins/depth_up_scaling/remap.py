"""Load the base's checkpoint straight into the deeper model.

transformers asks for tensors by name, wherever they come from. It is given a state dict with the
deeper model's names, whose tensors are still in the base's files: nothing is written, and nothing
is read twice.

A base layer that is used twice must become two parameters. One slice under two names would give
two views of the same pages: training one would train both, and saving would fail. A second
`safe_open` of the same file maps it again, copy-on-write, so that the repeated layers own no
memory until they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import safe_open
from transformers import PreTrainedConfig, PreTrainedModel, modeling_utils

from solar_plugins.depth_up_scaling.growth import Growth, refuse_uncovered
from solar_plugins.depth_up_scaling.tensor_plan import (
    Blueprint,
    TensorPlan,
    averages,
    blueprint,
    plan_tensors,
)
from solar_plugins.errors import SolarError
from solar_plugins.models.safetensors_header import read_files
from solar_plugins.seams.transformers import optional_parameters, replaced_load


@dataclass
class UpScaledLoading:
    """What one load through `up_scaled_loading` did.

    Attributes:
        model_class: class of the model that was loaded, None before.
        plan: what became of every tensor of the base, None before.
    """

    model_class: type[PreTrainedModel] | None = None
    plan: TensorPlan | None = None


@contextmanager
def up_scaled_loading(growth: Growth, known: Blueprint | None = None) -> Iterator[UpScaledLoading]:
    """Within the block, ``from_pretrained(base, config=growth.config)`` fills the deeper model.

    Acts on models of the new depth only, in the ordinary and in the ZeRO-3 branch of transformers.

    >>> growth = grow(base_config, layer_map)                         # doctest: +SKIP
    >>> with up_scaled_loading(growth):                               # doctest: +SKIP
    ...     model = AutoModelForCausalLM.from_pretrained(base, config=growth.config)

    Args:
        growth: the configs of the base on disk and of the deeper model.
        known: the `blueprint` of `growth`, if it was made before. The model that is loaded is
            compared with it; a new one is made if they differ.

    Raises:
        SolarError: on loading, when the base's files or its architecture cannot be remapped.
    """
    report = UpScaledLoading()

    def load(
        original: Any,
        model: PreTrainedModel,
        state_dict: Any,
        checkpoint_files: Any,
        load_config: Any,
        expected_keys: Any,
    ) -> Any:
        depth = model.config.get_text_config().num_hidden_layers
        if state_dict is not None or depth != len(growth.layer_map):
            return original(model, state_dict, checkpoint_files, load_config, expected_keys)
        _refuse_loading(growth.base, load_config)
        stored = read_files(checkpoint_files)
        zero3 = modeling_utils.is_deepspeed_zero3_enabled()
        # quantised or partitioned modules cannot be compared with the base's
        built = None if zero3 or load_config.is_quantized else model
        if built is not None and known is not None and known.fits(built):
            layers = known
        else:
            layers = blueprint(type(model), growth, built)
        plan = plan_tensors(layers, stored, load_config.weight_mapping or ())
        mapped = zero3 and not load_config.is_quantized
        state_dict = remapped_state_dict(checkpoint_files, plan, mapped)
        result = original(model, state_dict, checkpoint_files, load_config, expected_keys)
        _refuse_missing(model, result[0].missing_keys, load_config)
        report.model_class, report.plan = type(model), plan
        return result

    with replaced_load(load):
        yield report


def remapped_state_dict(files: Iterable[str], plan: TensorPlan, mapped: bool) -> dict[str, Any]:
    """The base's tensors under the names that the deeper model's checkpoint would have.

    Args:
        files: the base's safetensors files.
        plan: what each of their tensors becomes.
        mapped: give tensors that view the mapped file (ZeRO-3 needs real ones) in place of slices
            that are read when they are asked for.
    """
    state_dict: dict[str, Any] = {}
    opened = {file: safe_open(file, framework="pt", device="cpu") for file in files}
    file_of = {key: file for file, handle in opened.items() for key in handle.keys()}  # noqa: SIM118
    average = averages(plan.averaged, lambda key: opened[file_of[key]].get_tensor(key))
    for file, first in opened.items():
        keys = list(first.keys())
        # one handle, hence one private mapping, for each time that a layer is used
        uses = max((len(plan.targets[key]) for key in keys), default=0)
        handles = [first, *(safe_open(file, framework="pt", device="cpu") for _ in range(1, uses))]
        for key in keys:
            for name, handle in zip(plan.targets[key], handles, strict=False):
                if name in plan.zeroed:
                    state_dict[name] = torch.zeros_like(handle.get_tensor(key))
                elif name in plan.averaged:
                    state_dict[name] = average(name)
                else:
                    state_dict[name] = handle.get_tensor(key) if mapped else handle.get_slice(key)
    return state_dict


def _refuse_loading(base_config: PreTrainedConfig, load_config: Any) -> None:
    """Raise where transformers would read the base's files by their own names, or half of them."""
    if load_config.hf_quantizer is not None and load_config.hf_quantizer.pre_quantized:
        refuse_uncovered(base_config)
    device_map = load_config.device_map
    if isinstance(device_map, dict) and "disk" in device_map.values():
        raise SolarError(
            "device_map: puts layers on disk, which reads the base's files by their own names. "
            "Train with DeepSpeed ZeRO-3 and offloading to fit a larger model."
        )


def _refuse_missing(model: PreTrainedModel, missing_keys: Iterable[str], load_config: Any) -> None:
    """Raise if the files lack a parameter: transformers would only warn, and start it at random."""
    if not missing_keys:
        return
    may_lack = optional_parameters(model)
    own = {name for name, _ in model.named_parameters()} - model.all_tied_weights_keys.keys()
    missing = sorted(key for key in own & set(missing_keys) if not may_lack.search(key))
    if missing:
        raise SolarError(
            f"base_model: {load_config.pretrained_model_name_or_path} has no tensor for "
            f"{missing[0]} ({len(missing)} missing in all). Fetch or write the base again."
        )
