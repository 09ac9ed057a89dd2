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

ADAPTER = "adapter_config.json"


@contextmanager
def loaded(cfg: DictDefault, path: str) -> Iterator[tuple[Any, Any, Any, str | None]]:
    """A model as Axolotl loads it for training; freed at the end.

    Args:
        cfg: the recipe.
        path: a model, or an adapter on the recipe's base model.

    Yields:
        Model, tokenizer, the PEFT config of a recipe with an adapter, and the folder of the
        adapter to load onto it.
    """
    adapter = path if (Path(path) / ADAPTER).is_file() else None
    if adapter is None:
        cfg = DictDefault({**cfg, "base_model": path, "base_model_config": path})
    tokenizer = load_tokenizer(cfg)
    model, peft_config = ModelLoader(cfg, tokenizer).load()
    try:
        yield model, tokenizer, peft_config, adapter
    finally:
        del model
        free()


def free() -> None:
    """Give the memory of what is no longer referred to back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def live_reference(cfg: DictDefault, path: str) -> Any:
    """A reference model for the run's memory, as Axolotl loads one for plain DPO."""
    cfg = DictDefault({**cfg, "base_model": path, "base_model_config": path})
    return ModelLoader(cfg, load_tokenizer(cfg), reference_model=True).load()[0]


def drop_base_beside_adapter(folder: Path) -> None:
    """Delete the base model that Axolotl 0.19 saves beside a DPO run's adapter.

    It has the adapter's layers in it, under names that nothing loads, and the size of the base.
    """
    if (folder / "adapter_model.safetensors").is_file():
        for path in folder.glob("model*.safetensors*"):
            path.unlink()


def check_same_shape(cfg: DictDefault, path: str, where: str) -> None:
    """Refuse a reference that does not read the policy's tokens, or is another architecture.

    Args:
        cfg: the recipe.
        path: the reference.
        where: its YAML path.

    Raises:
        SolarError: no model there, another vocabulary, or weights of another shape.
    """
    if (Path(path) / ADAPTER).is_file():
        if not cfg.adapter:
            raise SolarError(
                f"{where}: {path} is an adapter, and the recipe has none. Merge it and name the "
                "merged model, or set `adapter`."
            )
        return
    try:
        theirs = AutoConfig.from_pretrained(path, trust_remote_code=cfg.trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SolarError(f"{where}: {path}: no model is found there ({reason}).") from error
    ours = AutoConfig.from_pretrained(cfg.base_model, trust_remote_code=cfg.trust_remote_code)
    sizes = [config.get_text_config().vocab_size for config in (theirs, ours)]
    if sizes[0] != sizes[1]:
        raise SolarError(
            f"{where}: {path} has a vocabulary of {sizes[0]}, {cfg.base_model} one of {sizes[1]}. "
            "A reference scores the policy's tokens; name a model with the same tokenizer."
        )
    if _has_tokenizer(path):
        vocabularies = [
            AutoTokenizer.from_pretrained(
                place, trust_remote_code=cfg.trust_remote_code
            ).get_vocab()
            for place in (path, cfg.tokenizer_config or cfg.base_model)
        ]
        other = [
            token
            for token, number in vocabularies[0].items()
            if vocabularies[1].get(token) != number
        ]
        if other:
            raise SolarError(
                f"{where}: {path} has other tokens than the policy ({other[0]!r} is one of "
                f"{len(other)}). A reference scores the policy's tokens; name a model with its "
                "tokenizer."
            )
    shapes, wanted = _shapes(theirs), _shapes(ours)
    if shapes is not None and wanted is not None and shapes != wanted:
        name = min(shapes.items() ^ wanted.items())[0]
        raise SolarError(
            f"{where}: {path} has another shape than {cfg.base_model} ({name}: "
            f"{shapes.get(name, 'absent')} against {wanted.get(name, 'absent')}). "
            "Name a model of the same architecture and size."
        )


def _has_tokenizer(path: str) -> bool:
    return not Path(path).is_dir() or (Path(path) / "tokenizer_config.json").is_file()


def _shapes(config: PreTrainedConfig) -> dict[str, tuple[int, ...]] | None:
    """Shape by parameter name; None for code that transformers does not ship."""
    model_class = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    if model_class is None:
        return None
    with torch.device("meta"):
        model = model_class(config)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}
