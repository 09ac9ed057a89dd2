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
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from solar_plugins.check import tokenizer_files
from solar_plugins.check.files import Files
from solar_plugins.check.finding import RULES
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.models.safetensors_header import INDEX, WEIGHTS

_SHAPES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")


class Group(NamedTuple):
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
    def base_model(self) -> str | None:
        return next((name_of(h["base_model"]) for _, h in self.around if h.get("base_model")), None)


class _Model(NamedTuple):
    """A model of a merge that is on this machine, with the text part of its config."""

    name: str
    place: Path_
    config: dict[str, Any]
    tokenizer: tokenizer_files.Tokenizer | None


def name_of(reference: Any) -> str:
    """An input as one text: ``MODEL``, ``MODEL@REVISION`` or ``MODEL+ADAPTER``."""
    if not isinstance(reference, dict):
        return str(reference)
    if "path" in reference:
        return "@".join(str(reference[k]) for k in ("path", "revision") if reference.get(k))
    return "+".join(name_of(reference[k]) for k in ("model", "lora") if reference.get(k))


def check_reference(source: YamlFile, place: Path_, name: str, files: Files) -> None:
    """Add what is wrong with one model that a merge config names: form, presence, adapters."""
    parts = name.split("+")
    if len(parts) > 2 or any(part.count("@") > 1 for part in parts):
        source.say(place, "wrong-value/model-name", found=name)
        return
    for index, part in enumerate(parts):
        files.expect_model(source, place, part)
        folder = Path(os.path.expanduser(part))
        is_adapter = (folder / "adapter_config.json").is_file()
        # Axolotl's adapter folders have the base's config.json as well, but no weights of a model
        is_model = any((folder / name).is_file() for name in (WEIGHTS, INDEX))
        if index == 0 and is_adapter and not is_model:
            source.say(place, "model/adapter-alone", part=part)
        elif index == 1 and folder.is_dir() and not is_adapter:
            source.say(place, "model/no-adapter", part=part)


def check(source: YamlFile, groups: Sequence[Group], is_stacked: bool, donor: str | None) -> None:
    """Add a finding where the models of `groups` differ in what a merge needs to be the same.

    Args:
        is_stacked: Whether layers are only put on top of each other, and none are mixed.
        donor: Whose config and tokenizer the merge has, if that is decided.
    """
    content, here = source.content, []
    base, is_whole = content.get("base_model"), any(group.is_whole for group in groups)
    inputs: dict[str, Path_] = {name_of(base): ("base_model",)} if base else {}
    for where, entry in [pair for group in groups for pair in group.entries]:
        inputs.setdefault(name_of(entry.get("model")), (*where, "model"))
    for name, place in inputs.items():
        model = name.partition("+")[0]
        try:
            config = model_config.find(model)
        except SolarError as error:
            source.add(place, "model", str(error))
            continue
        if config is not None:
            here.append(_Model(name, place, config, tokenizer_files.find(model)))
            if fault := _foreign_adapter(name, here[-1]):
                source.add(place, "model", fault)
    aligns = content.get("tokenizer_source") or content.get("tokenizer")
    for other in here[1:]:
        if fault := _unfit(here[0], other, is_whole):
            source.add(other.place, "model", fault)
            continue
        if not is_stacked and not aligns and (fault := _vocabularies(here[0], other)):
            source.add(other.place, "tokenizer", fault)
        if found := _differences(content, here[0], other):
            way = f" The merge has those of {donor}."
            if not donor:
                method = known("mergekit")["methods"].get(content.get("merge_method"), {})
                way = " MergeKit takes those of either, by chance. "
                way += (
                    "`solar run` takes those of the first model."
                    if method.get("base") == "optional"  # with a base it is another merge
                    else f"Write `base_model: {here[0].name}`, or the other."
                )
            source.add(other.place, "model", found + way, is_note=bool(donor))


def _foreign_adapter(name: str, model: _Model) -> str | None:
    """Why the adapter of ``MODEL+ADAPTER`` does not fit the model, where its own base is here."""
    folder = Path(os.path.expanduser(name.partition("+")[2]))
    file = folder / "adapter_config.json"
    if not name.partition("+")[2] or not file.is_file():
        return None
    try:
        base = str(model_config.read(file).get("base_model_name_or_path"))
        config = model_config.find(base)
    except SolarError:
        return None
    plain = model._replace(name=name.partition("+")[0])
    fault = _unfit(plain, _Model(base, model.place, config, None), True) if config else None
    return fault and f"{folder} is an adapter of {base}. {fault}"


def _unfit(one: _Model, other: _Model, are_whole: bool) -> str | None:
    """Why these two cannot be merged."""
    kinds = [model.config.get("model_type") for model in (one, other)]
    depths = [model_config.depth(model.config) for model in (one, other)]
    text, other_text = (model_config.language_model(model.config) for model in (one, other))
    shapes = [(key, text.get(key), other_text.get(key), "shape") for key in _SHAPES]
    same = ("model_type", *kinds, "architecture"), *shapes, ("layers", *depths, "depth")
    for key, ours, theirs, what in same:
        if ours != theirs and (are_whole or key != "layers"):
            way = " (`slices:` takes a layer_range of each)" * (key == "layers")
            found = f"{other.name} has {key} {theirs} and {one.name} {ours}."
            return f"{found} Merge models of the same {what}{way}."
    return None


def _vocabularies(one: _Model, other: _Model) -> str | None:
    """Why rows of these two embeddings cannot be mixed."""
    pair = (one, other)
    rows, other_rows = (model_config.language_model(m.config).get("vocab_size") for m in pair)
    ours, theirs = (m.tokenizer.vocabulary if m.tokenizer else {} for m in pair)
    if ours and ours == theirs and rows == other_rows:
        return None
    if ours and ours == theirs:  # MergeKit stops on it when it has read the tensors
        return (
            f"{other.name} and {one.name} have the same {len(ours)} tokens, but embeddings "
            f"of {other_rows} and {rows} rows, and MergeKit mixes row by row. Write "
            "`tokenizer: {source: union, pad_to_multiple_of: 64}`, which mixes token by token "
            "and pads anew."
        )
    if rows != other_rows:
        found = f"{other.name} has a vocabulary of {other_rows} and {one.name} of {rows}."
    elif ours and theirs:
        differ = [t for t in {**ours, **theirs} if ours.get(t) != theirs.get(t)]
        found = (
            f"{other.name} and {one.name} keep {len(differ)} tokens in other rows, {differ[0]!r} "
            "among them: rows would be mixed that mean different things."
        )
    else:
        return None
    return f"{found} Write `tokenizer_source: union`, which aligns them token by token."


def _differences(content: dict[str, Any], one: _Model, other: _Model) -> str | None:
    """What the merged model has from one of these alone, where they differ in it."""
    block, given = content.get("tokenizer"), content.get("tokenizer_source")
    given = block.get("source") if isinstance(block, dict) else given
    ours, theirs = (_settings(m, given not in (None, "union", "base")) for m in (one, other))
    if content.get("chat_template"):
        ours.pop("chat template", None)
    differ = [key for key in ours if key in theirs and ours[key] != theirs[key]]
    shown = (f"{k} ({theirs[k]} and {ours[k]})" if " " not in k else k for k in differ)
    return f"{other.name} differs from {one.name} in {', '.join(shown)}." if differ else None


def _settings(model: _Model, is_tokenizer_given: bool) -> dict[str, Any]:
    """What a model is run with, besides its weights, under the same names in all versions."""
    text = model_config.language_model(model.config)
    no_matter = "|".join(RULES["no_matter"])
    found = {key: value for key, value in text.items() if not re.fullmatch(no_matter, key)}
    rope: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        block = found.pop(key, None)
        rope |= block if isinstance(block, dict) else {}
    # What an older config leaves out, as transformers fills it in for Llama and its relatives.
    found["rope_theta"] = rope.pop("rope_theta", found.get("rope_theta", 10000.0))
    found.setdefault("rms_norm_eps", 1e-6)
    found["rope_type"] = rope.pop("rope_type", rope.pop("type", "default"))
    found |= {f"rope {key}": value for key, value in rope.items()}
    if found.get("use_sliding_window") is False:
        found["sliding_window"] = None
    if model.tokenizer is not None and not is_tokenizer_given:
        found |= dict.fromkeys(tokenizer_files.SPECIAL) | model.tokenizer.special
        found["chat template"] = (model.tokenizer.chat_template or "").strip()
    return found
