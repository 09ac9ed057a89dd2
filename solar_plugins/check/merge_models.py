"""Models of a merge that are on this machine: whether they can be merged with each other.

MergeKit 0.1.5 compares shapes when it has read the tensors, and never compares tokenizers: two
vocabularies of the same size are merged, with exit status 0, into embeddings that mean two things
at once (linear and SLERP alike). With `tokenizer_source: union` both come out right, but the
embedding has as many rows as there are tokens: padding is lost without `pad_to_multiple_of`.

Without `base_model` it takes config, tokenizer and chat template from the first element of a set,
which changes with PYTHONHASHSEED.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solar_plugins.check import tokenizer_files
from solar_plugins.check.files import Files
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config

_SHAPES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")

_NO_MATTER = {
    *_SHAPES, *model_config.DEPTH_KEYS, "vocab_size", "model_type", "architectures",
    "_name_or_path", "transformers_version", "torch_dtype", "dtype", "use_cache",
    "initializer_range", "quantization_config", "depth_up_scaling", "auto_map", "layer_types",
}  # fmt: skip
"""Fields of config.json that have findings of their own, or that no result depends on."""


@dataclass(frozen=True)
class Group:
    """Inputs that are merged with each other.

    Attributes:
        place: Of their list; it ends with ``models`` (all layers) or ``sources`` (a range of each).
        entries: Each input, with its place.
        around: What encloses them, from the slice to the whole file, with its place: MergeKit looks
            there for what an input does not set.
    """

    place: Path_
    entries: list[tuple[Path_, dict]]
    around: list[tuple[Path_, dict]]

    @property
    def is_whole(self) -> bool:
        return self.place[-1] == "models"

    @property
    def base_model(self) -> Any:
        return next((h["base_model"] for _, h in self.around if h.get("base_model")), None)


def parts(reference: Any) -> list[str]:
    """The model of an input and its LoRA adapter (``MODEL+ADAPTER``), if it has one."""
    if isinstance(reference, dict):
        pair = [reference.get("model"), reference.get("lora")]
        return [str(p.get("path")) if isinstance(p, dict) else str(p) for p in pair if p] or [""]
    return str(reference).split("+")


def check_reference(source: YamlFile, place: Path_, name: str, files: Files) -> None:
    """Add what is wrong with one model that a merge config names: form, presence, adapters."""
    found = parts(name)
    if len(found) > 2 or any(part.count("@") > 1 for part in found):
        source.add(place, "wrong-value", f"{name!r} found. Write MODEL, MODEL@REVISION or "
                   "MODEL+ADAPTER.")  # fmt: skip
        return
    for index, part in enumerate(found):
        files.expect_model(source, place, part)
        folder = Path(os.path.expanduser(part))
        is_adapter = (folder / "adapter_config.json").is_file()
        if index == 0 and is_adapter and not (folder / "config.json").is_file():
            fault = f"{part} is a LoRA adapter. Write its model before it: `MODEL+{part}`."
            source.add(place, "model", fault)
        elif index == 1 and folder.is_dir() and not is_adapter:
            fault = f"{part} has no adapter_config.json; after the + stands a LoRA adapter."
            source.add(place, "model", fault)


def check(source: YamlFile, groups: Sequence[Group], is_stacked: bool, donor: str | None) -> None:
    """Add a finding where the models of `groups` differ in what a merge needs to be the same.

    Args:
        is_stacked: Whether layers are only put on top of each other, and none are mixed.
        donor: Whose config and tokenizer the merge has, if that is decided.
    """
    base = source.content.get("base_model")
    inputs: dict[str, Path_] = {base: ("base_model",)} if isinstance(base, str) else {}
    for group in groups:
        for where, entry in group.entries:
            inputs.setdefault(str(entry.get("model")), (*where, "model"))
    here = []
    for model, place in inputs.items():
        try:
            config = model_config.find(parts(model)[0])
        except SolarError as error:
            source.add(place, "model", str(error))
            continue
        if config is not None:
            here.append((place, model, config))
    for place, model, other in here[1:]:
        _, first, config = here[0]
        fault = _unfit(first, config, model, other, any(group.is_whole for group in groups))
        if fault:
            source.add(place, "model", fault)
        if is_stacked or source.content.get("tokenizer_source") or source.content.get("tokenizer"):
            fault = None
        else:
            fault = _vocabularies(first, config, model, other)
        if fault:
            source.add(place, "tokenizer", fault)
        _differences(source, place, (first, config), (model, other), donor)


def _unfit(
    first: str, config: dict[str, Any], model: str, other: dict[str, Any], are_whole: bool
) -> str | None:
    """Why these two cannot be merged."""
    if other.get("model_type") != config.get("model_type"):
        return (
            f"{model} is a {other.get('model_type')} model and {first} a "
            f"{config.get('model_type')} one. Merge models of one architecture."
        )
    text, other_text = model_config.language_model(config), model_config.language_model(other)
    for key in _SHAPES:
        if text.get(key) != other_text.get(key):
            return (
                f"{model} has {key} {other_text.get(key)} and {first} {text.get(key)}. "
                "Merge models of the same shape."
            )
    deep, other_deep = model_config.depth(config), model_config.depth(other)
    if are_whole and deep != other_deep:
        return (
            f"{model} has {other_deep} layers and {first} {deep}. Write `slices:` with the "
            "layer_range of each, or merge models of the same depth."
        )
    return None


def _vocabularies(
    first: str, config: dict[str, Any], model: str, other: dict[str, Any]
) -> str | None:
    """Why rows of these two embeddings cannot be mixed."""
    rows, other_rows = (
        model_config.language_model(each).get("vocab_size") for each in (config, other)
    )
    pair = [tokenizer_files.find(parts(name)[0]) for name in (first, model)]
    ours, theirs = (each.vocabulary if each else {} for each in pair)
    if ours and ours == theirs:
        if rows == other_rows:
            return None
        return (  # MergeKit stops on it when it has read the tensors
            f"{model} and {first} have the same {len(ours)} tokens, but embeddings "
            f"of {other_rows} and {rows} rows, and MergeKit mixes row by row. Write "
            "`tokenizer: {source: union, pad_to_multiple_of: 64}`, which mixes token by token "
            "and pads anew."
        )
    if rows != other_rows:
        found = f"{model} has a vocabulary of {other_rows} and {first} of {rows}."
    elif ours and theirs:
        differ = [t for t in {**ours, **theirs} if ours.get(t) != theirs.get(t)]
        found = (
            f"{model} and {first} keep {len(differ)} tokens in other rows, {differ[0]!r} among "
            "them: rows would be mixed that mean different things."
        )
    else:
        return None
    return f"{found} Write `tokenizer_source: union`, which aligns them token by token."


def _differences(
    source: YamlFile,
    place: Path_,
    one: tuple[str, dict[str, Any]],
    other: tuple[str, dict[str, Any]],
    donor: str | None,
) -> None:
    """What the merged model has from one of its models alone, where the others differ in it."""
    content = source.content
    tokenizer = content.get("tokenizer")
    given = (
        tokenizer.get("source") if isinstance(tokenizer, dict) else content.get("tokenizer_source")
    )
    takes_both = given in (None, "union", "base")
    ours, theirs = (
        _settings(*each, takes_both, takes_both and not content.get("chat_template"))
        for each in (one, other)
    )
    differ = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    if not differ:
        return
    shown = [f"{key} ({theirs[key]} and {ours[key]})" if " " not in key else key for key in differ]
    found = f"{other[0]} differs from {one[0]} in {', '.join(shown)}."
    if donor:
        source.add(place, "model", f"{found} The merge has those of {donor}.", is_note=True)
        return
    method = known("mergekit")["methods"].get(content.get("merge_method"), {})
    way = f"Write `base_model: {one[0]}`, or the other."
    if method.get("base") == "optional":  # with a base it is another merge
        way = "`solar run` takes those of the first model."
    source.add(place, "model", f"{found} MergeKit takes those of either, by chance. {way}")


def _settings(
    model: str, config: dict[str, Any], with_tokens: bool, with_template: bool
) -> dict[str, Any]:
    """What a model is run with, besides its weights, under the same names in all versions."""
    text = model_config.language_model(config)
    found = {key: value for key, value in text.items() if key not in _NO_MATTER}
    rope: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        block = found.pop(key, None)
        rope |= block if isinstance(block, dict) else {}
    found["rope_theta"] = rope.pop("rope_theta", found.get("rope_theta", 10000.0))
    found["rope_type"] = rope.pop("rope_type", rope.pop("type", "default"))
    found |= {f"rope {key}": value for key, value in rope.items()}
    if found.get("use_sliding_window") is False:
        found["sliding_window"] = None
    tokenizer = tokenizer_files.find(parts(model)[0])
    for name in tokenizer_files.SPECIAL:
        found.pop(f"{name}_id", None)
    if tokenizer is not None and with_tokens:
        found |= dict.fromkeys(tokenizer_files.SPECIAL) | tokenizer.special
    if tokenizer is not None and with_template:
        found["chat template"] = (tokenizer.chat_template or "").strip()
    return found
