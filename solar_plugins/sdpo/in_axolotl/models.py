"""Models beside the policy: loaded by Axolotl before it, read once, and freed."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from axolotl.loaders import ModelLoader, load_tokenizer
from axolotl.utils.dict import DictDefault
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig, AutoTokenizer, PreTrainedConfig

from solar_plugins.errors import SolarError


def is_adapter(path: str) -> bool:
    """Whether the folder is an adapter, and no model."""
    return (Path(path) / "adapter_config.json").is_file()


@contextmanager
def loaded(cfg: DictDefault, path: str) -> Iterator[list[Any]]:
    """A model (or an adapter on the recipe's) as Axolotl loads it for training; freed at the end.

    Yields:
        Model, PEFT config of a recipe with an adapter, tokenizer, and the folder of the adapter
        to load onto it.
    """
    adapter = path if is_adapter(path) else None
    cfg = cfg if adapter else _based_on(cfg, path)
    tokenizer = load_tokenizer(cfg)
    found = [*ModelLoader(cfg, tokenizer).load(), tokenizer, adapter]
    try:
        yield found
    finally:
        found.clear()  # the caller still has the list
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def live_reference(cfg: DictDefault, path: str) -> Any:
    """A reference model for the run's memory, as Axolotl loads one for plain DPO."""
    cfg = _based_on(cfg, path)
    return ModelLoader(cfg, load_tokenizer(cfg), reference_model=True).load()[0]


def _based_on(cfg: DictDefault, path: str) -> DictDefault:
    return DictDefault({**cfg, "base_model": path, "base_model_config": path})


def drop_base_beside_adapter(folder: Path) -> None:
    """Delete the base model that Axolotl 0.19 saves beside a DPO run's adapter.

    It has the adapter's layers in it, under names that nothing loads, and the size of the base.
    """
    if (folder / "adapter_model.safetensors").is_file():
        for path in folder.glob("model*.safetensors*"):
            path.unlink()


def check_same_shape(cfg: DictDefault, path: str, where: str) -> None:
    """Refuse a reference at `path` that cannot score the policy's tokens, or is another model.

    Raises:
        SolarError: no model there, another vocabulary, or weights of another shape; it begins
            with `where`, the reference's YAML path.
    """
    if is_adapter(path):
        if not cfg.adapter:
            raise SolarError(
                f"{where}: {path} is an adapter, and the recipe has none. Merge it and name the "
                "merged model, or set `adapter`."
            )
        return
    trust = cfg.trust_remote_code
    try:
        theirs = AutoConfig.from_pretrained(path, trust_remote_code=trust)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SolarError(f"{where}: {path}: no model is found there ({reason}).") from error
    ours = AutoConfig.from_pretrained(cfg.base_model, trust_remote_code=trust)
    tokens = "A reference scores the policy's tokens; name a model with the same tokenizer."
    sizes = [config.get_text_config().vocab_size for config in (theirs, ours)]
    if sizes[0] != sizes[1]:
        raise SolarError(
            f"{where}: {path} has a vocabulary of {sizes[0]}, {cfg.base_model} one of {sizes[1]}. "
            f"{tokens}"
        )
    if not Path(path).is_dir() or (Path(path) / "tokenizer_config.json").is_file():
        reference, policy = (
            AutoTokenizer.from_pretrained(place, trust_remote_code=trust).get_vocab()
            for place in (path, cfg.tokenizer_config or cfg.base_model)
        )
        other = [token for token, number in reference.items() if policy.get(token) != number]
        if other:
            raise SolarError(
                f"{where}: {path} has other tokens than the policy ({other[0]!r} is one of "
                f"{len(other)}). {tokens}"
            )
    shapes, wanted = _shapes(theirs), _shapes(ours)
    for name, _ in sorted(shapes.items() ^ wanted.items() if shapes and wanted else ()):
        raise SolarError(
            f"{where}: {path} has another shape than {cfg.base_model} ({name}: "
            f"{shapes.get(name, 'absent')} against {wanted.get(name, 'absent')}). "
            "Name a model of the same architecture and size."
        )


def _shapes(config: PreTrainedConfig) -> dict[str, tuple[int, ...]]:
    """Shape by parameter name; none for code that transformers does not ship."""
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if model_class is None:
        return {}
    with torch.device("meta"):
        model = model_class(config)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}
