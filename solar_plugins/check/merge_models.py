"""Models of a merge that are on this machine: whether they can be merged with each other.

MergeKit 0.1.5 compares shapes when it has read the tensors, and never compares tokenizers: two
vocabularies of the same size are merged, with exit status 0, into embeddings that mean two things
at once (linear and SLERP alike). With `tokenizer_source: union` both come out right, but the
embedding has as many rows as there are tokens: padding is lost without `pad_to_multiple_of`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from solar_plugins.check import tokenizer_files
from solar_plugins.check.source import Path_, YamlFile
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config

_SHAPES = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")


def check(
    source: YamlFile, inputs: Sequence[tuple[Path_, str]], are_stacked: bool, are_whole: bool
) -> None:
    """Add a finding where `inputs` of the merge config differ in what a merge needs to be the same.

    Args:
        inputs: Each model that is merged with the others, with its place.
        are_stacked: Whether layers are only put on top of each other, and none are mixed.
        are_whole: Whether all layers of each go in, so that their depths must be the same.
    """
    here = []
    for place, model in inputs:
        try:
            config = model_config.find(model)
        except SolarError as error:
            source.add(place, "model", str(error))
            continue
        if config is not None:
            here.append((place, model, config))
    if len({model for _, model, _ in here}) < 2:
        return
    _, first, config = here[0]
    text = model_config.language_model(config)
    for place, model, other in here[1:]:
        other_text = model_config.language_model(other)
        if other.get("model_type") != config.get("model_type"):
            source.add(
                place,
                "model",
                f"{model} is a {other.get('model_type')} model and {first} a "
                f"{config.get('model_type')} one. Merge models of one architecture.",
            )
            continue
        for key in _SHAPES:
            if text.get(key) != other_text.get(key):
                source.add(
                    place,
                    "model",
                    f"{model} has {key} {other_text.get(key)} and {first} {text.get(key)}. "
                    "Merge models of the same shape.",
                )
                break
        deep, other_deep = model_config.depth(config), model_config.depth(other)
        if are_whole and deep != other_deep:
            source.add(
                place,
                "model",
                f"{model} has {other_deep} layers and {first} {deep}. Write `slices:` with the "
                "layer_range of each, or merge models of the same depth.",
            )
        _vocabularies(source, place, (first, text), (model, other_text), are_stacked)


def _vocabularies(
    source: YamlFile,
    place: Path_,
    one: tuple[str, dict[str, Any]],
    other: tuple[str, dict[str, Any]],
    are_stacked: bool,
) -> None:
    if are_stacked or source.content.get("tokenizer_source") or source.content.get("tokenizer"):
        return
    (first, text), (model, other_text) = one, other
    rows, other_rows = text.get("vocab_size"), other_text.get("vocab_size")
    ours, theirs = tokenizer_files.find(first), tokenizer_files.find(model)
    if ours and theirs and ours.vocabulary == theirs.vocabulary:
        if rows != other_rows:  # MergeKit stops on it when it has read the tensors
            source.add(
                place,
                "tokenizer",
                f"{model} and {first} have the same {len(ours.vocabulary)} tokens, but embeddings "
                f"of {other_rows} and {rows} rows, and MergeKit mixes row by row. Write "
                "`tokenizer: {source: union, pad_to_multiple_of: 64}`, which mixes token by token "
                "and pads anew.",
            )
        return
    way = "Write `tokenizer_source: union`, which aligns them token by token."
    if rows != other_rows:
        found = f"{model} has a vocabulary of {other_rows} and {first} of {rows}."
    elif ours and theirs:
        of_ours, of_theirs = ours.vocabulary, theirs.vocabulary
        differ = [t for t in {**of_ours, **of_theirs} if of_ours.get(t) != of_theirs.get(t)]
        found = (
            f"{model} and {first} keep {len(differ)} tokens in other rows, {differ[0]!r} among "
            "them: rows would be mixed that mean different things."
        )
    else:
        return
    source.add(place, "tokenizer", f"{found} {way}")
