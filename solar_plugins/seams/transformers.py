"""The private names of transformers (and of the modules it builds) that this package uses."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
import transformers
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from solar_plugins.errors import SolarError, show_errors_in_one_line

TRIED = ">=5.14,<5.17"
"""Versions of transformers that the tests were run with."""


def _misfit(what: str) -> SolarError:
    return SolarError(
        f"transformers {transformers.__version__}: {what}, which depth up-scaling needs. "
        f'Install a version that works: pip install "transformers{TRIED}".'
    )


try:
    from transformers import core_model_loading, initialization
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming
except ImportError as error:  # Axolotl would drop the plugin and train the base
    show_errors_in_one_line()
    raise _misfit(str(error)) from None

conversions_of = get_model_conversion_mapping
"""How transformers renames the checkpoint names of a model."""

Conversion: TypeAlias = WeightRenaming | WeightConverter


@contextmanager
def replaced_load(load: Callable[..., Any]) -> Iterator[None]:
    """Within the block, ``from_pretrained`` fills a built model with `load`.

    There is no public hook: ``from_pretrained`` refuses a name together with a state dict.

    Args:
        load: called as ``load(original, model, state_dict, checkpoint_files, load_config,
            expected_keys)``; `original` is transformers' own function of the other arguments.
    """
    original = PreTrainedModel._load_pretrained_model

    def replacement(
        model: Any,
        state_dict: Any,
        checkpoint_files: Any,
        load_config: Any,
        expected_keys: Any = None,
    ) -> Any:
        return load(original, model, state_dict, checkpoint_files, load_config, expected_keys)

    PreTrainedModel._load_pretrained_model = staticmethod(replacement)
    try:
        yield
    finally:
        PreTrainedModel._load_pretrained_model = staticmethod(original)


def skeleton(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """`model_class` with this config and no weights.

    Built by the class itself: ``AutoModel.from_config`` would enter ``zero.Init`` under ZeRO-3.
    """
    with (
        torch.device("meta"),
        initialization.meta_device_safe_creation_ops(),
        initialization.no_init_weights(),
        initialization.no_tie_weights(),
    ):
        return model_class(copy.deepcopy(config))


def parameter_names(
    prefix: str, own: dict[str, Any], conversions: Sequence[Conversion]
) -> Callable[[str], tuple[str, bool]]:
    """A function: checkpoint name -> the model's name of it, and whether a converter makes it.

    The names of parameters that the model does not have are returned as the renaming leaves them.

    Args:
        prefix: the model's ``base_model_prefix``.
        own: its ``state_dict(keep_vars=True)``.
        conversions: `conversions_of` the model.
    """
    renamings = [entry for entry in conversions if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in conversions if isinstance(entry, WeightConverter)]

    def name_of(key: str) -> tuple[str, bool]:
        name, converter = core_model_loading.rename_source_key(
            key, renamings, converters, prefix, own
        )
        if name not in own and key in own:
            return key, False
        return name, converter is not None

    return name_of


def optional_parameters(model: PreTrainedModel) -> re.Pattern[str]:
    """Matches names of parameters that a checkpoint of `model` may lack."""
    return re.compile("|".join(model._keys_to_ignore_on_load_missing) or "(?!)")


def to_json_values(config_class: type[PreTrainedConfig], content: dict) -> dict[str, Any]:
    """`content` of a config with infinities written as ``{"__float__": "Infinity"}``."""
    return config_class._encode_special_floats(content)


def from_json_values(config_class: type[PreTrainedConfig], content: dict) -> PreTrainedConfig:
    """The config of a ``config.json`` (the inverse of `to_json_values`)."""
    return config_class.from_dict(config_class._decode_special_floats(content))


_MODULE_PARTS = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}


def parts_of(module: nn.Module) -> tuple[dict, dict, dict]:
    """The module's own parameters, buffers and children by name (a None has a name, too).

    The public iterators give the same, ten times as slowly: this is called for every module of a
    model while it is loaded.
    """
    own = vars(module)
    return own["_parameters"], own["_buffers"], own["_modules"]


def stored_tensors_of(module: nn.Module) -> dict[str, torch.Tensor | None]:
    """The module's own tensors that a checkpoint holds, without those of its children."""
    own = vars(module)
    tensors = own["_parameters"] | own["_buffers"]
    transient = own["_non_persistent_buffers_set"]
    return {name: tensor for name, tensor in tensors.items() if name not in transient}


def without_flash_attention(model_class: type[PreTrainedModel]) -> str | None:
    """The implementation to use where a model has no flash attention; None where it has."""
    if model_class._supports_flash_attn:
        return None
    return "sdpa" if model_class._supports_sdpa else "eager"


def self_test() -> None:
    """Check that the installed transformers has these names, with the expected arguments.

    Raises:
        SolarError: it does not.
    """
    expected = {
        "PreTrainedModel._load_pretrained_model": (
            getattr(PreTrainedModel, "_load_pretrained_model", None),
            ("model", "state_dict", "checkpoint_files", "load_config", "expected_keys"),
        ),
        "core_model_loading.rename_source_key": (
            getattr(core_model_loading, "rename_source_key", None),
            (
                "source_key",
                "weight_renamings",
                "weight_converters",
                "base_model_prefix",
                "meta_state_dict",
            ),
        ),
        "PreTrainedConfig._encode_special_floats": (
            getattr(PreTrainedConfig, "_encode_special_floats", None),
            ("obj",),
        ),
        "PreTrainedConfig._decode_special_floats": (
            getattr(PreTrainedConfig, "_decode_special_floats", None),
            ("obj",),
        ),
        **{
            f"initialization.{name}": (getattr(initialization, name, None), ())
            for name in ("meta_device_safe_creation_ops", "no_init_weights", "no_tie_weights")
        },
    }
    for name, (function, arguments) in expected.items():
        found = None if function is None else tuple(inspect.signature(function).parameters)
        if found is None or found[: len(arguments)] != arguments:
            raise _misfit(f"{name} is missing or takes other arguments")
    if not hasattr(PreTrainedModel, "_keys_to_ignore_on_load_missing"):
        raise _misfit("PreTrainedModel._keys_to_ignore_on_load_missing is missing")
    if not vars(nn.Module()).keys() >= _MODULE_PARTS:
        raise _misfit(f"torch {torch.__version__} keeps a module's parts under other names")
