"""MergeKit configs: keys, methods, parameters, layer ranges; without importing MergeKit.

MergeKit itself drops unknown keys and parameters, and writes a model of 0 layers for
``layer_range: [6, 0]``; ranges past the end fail after the weights were fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from solar_plugins.check import keys, merge_models, merge_parameters
from solar_plugins.check.files import Files
from solar_plugins.check.keys import unknown_name
from solar_plugins.check.source import Path_, YamlFile, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config

Depth = Callable[[str], int | None]
"""How many layers the model at a path or Hub id has; None where that cannot be known here."""


def check(source: YamlFile, files: Files, depth: Depth, models_are_given: bool = False) -> None:
    """Add what is wrong in the merge config `source`.

    Args:
        files: What is on this machine and what stages will make.
        depth: How deep a model is, as the file names it.
        models_are_given: Whether a chain puts its own models in the place of the file's.
    """
    content, facts = source.content, known("mergekit")
    keys.add_unknown_keys(source, content, (), facts["keys"], "MergeKit", {})
    method = content.get("merge_method")
    if method is None:
        source.add(
            ("merge_method",),
            "missing-key",
            "missing. Write one of MergeKit's methods, for example `merge_method: linear`.",
        )
    elif not isinstance(method, str) or method not in facts["methods"]:
        found = f"no merge method is called {method!r}."
        unknown_name(source, ("merge_method",), found, str(method), list(facts["methods"]))
        method = None
    for key in ("dtype", "out_dtype"):
        dtype = content.get(key)
        if dtype is not None and str(dtype).removeprefix("torch.") not in facts["dtypes"]:
            source.add(
                (key,),
                "wrong-value",
                f"{dtype!r} found, one of {', '.join(facts['dtypes'])} is needed."
                f"{nearest(str(dtype), facts['dtypes'])}",
                new_value=_DTYPES.get(str(dtype)) or unambiguous_match(str(dtype), facts["dtypes"]),
            )
    if content.get("tokenizer_source") and content.get("tokenizer"):
        source.add(
            ("tokenizer_source",),
            "wrong-value",
            "`tokenizer_source` and `tokenizer` are mutually exclusive in MergeKit. Take one out.",
        )
    forms = [key for key in ("models", "slices", "modules") if content.get(key)]
    if len(forms) != 1:
        found = " and ".join(forms) or "none of them"
        source.add(
            (),
            "missing-key",
            f"{found} found. Exactly one of models, slices and modules is needed.",
        )
    stacked = method == "passthrough"
    for place, group in _groups(source):
        before = len(source.findings)
        _inputs(source, place, group, method)
        _same_lengths(source, place, group)
        if len(source.findings) == before and not models_are_given:
            inputs = [((*where, "model"), str(entry["model"])) for where, entry in group]
            if isinstance(content.get("base_model"), str):
                inputs.insert(0, (("base_model",), content["base_model"]))
            merge_models.check(source, inputs, stacked, are_whole=place[-1] == "models")
    if stacked and not models_are_given:
        sources = [((*p, "model"), str(entry.get("model"))) for p, entry in _sources(source)]
        merge_models.check(source, sources, are_stacked=True, are_whole=False)
    _tokenizer_source(source)
    for place, entry in _sources(source):
        _layer_range(source, place, entry, depth)
    if method is not None:
        merge_parameters.check(source, method)
    if not models_are_given:
        for place, model in named_models(content):
            files.expect_model(source, place, model)


def refuse_unfit_models(file: Path, config: dict[str, Any]) -> None:
    """Raise the first thing that is wrong with the models of `config`, now that they are there.

    Args:
        file: Where `config` is kept.

    Raises:
        SolarError: MergeKit would fail after reading the weights, or mix rows that differ.
    """
    source = YamlFile(str(file), config, {})
    check(source, Files(file), model_config.depth_of)
    for finding in sorted(source.findings):
        if finding.kind in ("model", "tokenizer", "layer-range") and not finding.is_note:
            raise SolarError(f"{finding.path}: {finding.message}")


_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32"}
"""What other tools call the types of numbers."""


def _same_lengths(source: YamlFile, place: Path_, group: list[tuple[Path_, dict]]) -> None:
    """MergeKit compares the lengths of a slice's ranges when it has read the models' configs."""
    ranges = {}
    for where, entry in group:
        layers = entry.get("layer_range")
        if isinstance(layers, list) and len(layers) == 2 and all(type(n) is int for n in layers):
            ranges[where] = layers[1] - layers[0]
    first = next(iter(ranges.values()), None)
    for where, length in ranges.items():
        if length != first and length > 0:
            source.add(
                (*where, "layer_range"),
                "layer-range",
                f"{length} layers, and {first} of the source before. All sources of a slice need "
                "as many.",
            )


def _tokenizer_source(source: YamlFile) -> None:
    """Tokenizer and template that MergeKit looks for after the merge."""
    value = source.content.get("tokenizer_source")
    names = [model for _, model in named_models(source.content)]
    if isinstance(value, str) and value not in ("union", "base", *names):
        meant = unambiguous_match(value, ("union", "base", *names))
        if meant or ("/" not in value and not os.path.isdir(value)):
            hint = f" Did you mean {meant!r}?" if meant else ""
            source.add(
                ("tokenizer_source",),
                "wrong-value",
                f"{value!r} found. One of union, base or a model of the merge is needed.{hint}",
                new_value=meant,
            )
    template = source.content.get("chat_template")
    if isinstance(template, str) and "{" not in template:
        templates = known("mergekit")["chat_templates"]
        if template not in templates:
            found = f"MergeKit has no chat template {template!r}."
            unknown_name(source, ("chat_template",), found, template, templates)
    if value == "base" and source.content.get("base_model") is None:
        source.add(("base_model",), "missing-key", "missing. `tokenizer_source: base` needs one.")


def _listed(source: YamlFile, place: Path_, value: Any) -> list[tuple[Path_, dict]]:
    """The mappings of the list at `place`; a finding for whatever else is there."""
    if value is None:
        return []
    if not isinstance(value, list):
        source.add(place, "wrong-value", f"{value!r} found. A list is needed, with `- ` entries.")
        return []
    entries = []
    for index, item in enumerate(value):
        if isinstance(item, dict):
            entries.append(((*place, index), item))
        else:
            source.add(
                (*place, index),
                "wrong-value",
                f"{item!r} found. A block is needed; write `- model: {item}`.",
            )
    return entries


def _outputs(source: YamlFile) -> list[tuple[Path_, dict]]:
    """The file itself, or each of its modules: what holds `models` or `slices`."""
    modules = source.content.get("modules")
    if isinstance(modules, dict):
        return [(("modules", name), m) for name, m in modules.items() if isinstance(m, dict)]
    return [((), source.content)]


def _groups(source: YamlFile) -> Iterator[tuple[Path_, list[tuple[Path_, dict]]]]:
    """Every group of inputs that are merged with each other."""
    for place, output in _outputs(source):
        here = (*place, "models")
        if output.get("models"):
            yield here, _listed(source, here, output["models"])
        for where, slice_ in _listed(source, (*place, "slices"), output.get("slices")):
            here = (*where, "sources")
            if not slice_.get("sources"):
                source.add(here, "missing-key", "no sources found. Write `- model: …` below it.")
            yield here, _listed(source, here, slice_.get("sources"))


def _sources(source: YamlFile) -> Iterator[tuple[Path_, dict]]:
    for place, output in _outputs(source):
        slices = output.get("slices")
        for index, slice_ in enumerate(slices if isinstance(slices, list) else []):
            sources = slice_.get("sources") if isinstance(slice_, dict) else None
            for number, entry in enumerate(sources if isinstance(sources, list) else []):
                if isinstance(entry, dict):
                    yield (*place, "slices", index, "sources", number), entry


def _inputs(
    source: YamlFile, place: Path_, group: list[tuple[Path_, dict]], method: str | None
) -> None:
    """Whether the method takes this number of inputs, and has the base that it needs."""
    names = []
    for where, entry in group:
        if not isinstance(entry.get("model"), str | dict):
            source.add((*where, "model"), "missing-key", "missing. Write a folder or a Hub id.")
            return
        names.append(str(entry["model"]))
    if method is None or not group:
        return
    contract = known("mergekit")["methods"][method]
    base = source.content.get("base_model")
    parent: Any = source.content
    for part in place[:-1]:
        parent = parent[part]
    base = parent.get("base_model", base) if isinstance(parent, dict) else base
    if contract["base"] == "required" and base is None:
        source.add(
            ("base_model",),
            "missing-key",
            f"missing. {method} needs one; write `base_model: {names[0]}`.",
        )
        return
    in_models = place[-1] == "models"
    if base is not None and contract["base"] == "required" and str(base) not in names:
        if in_models:
            names.append(str(base))  # MergeKit adds it
        else:
            source.add(
                place,
                "wrong-value",
                f"the base model {base} is not among the sources, {method} needs it there. "
                f"Write `- model: {base}` with its layer_range.",
            )
            return
    least, most = contract["inputs"]
    if len(names) < least or (most is not None and len(names) > most):
        wanted = str(least) if least == most else f"at least {least}"
        source.add(
            place,
            "wrong-value",
            f"{len(names)} model{'s' * (len(names) != 1)} found, {method} merges {wanted}.",
        )
    without = [name for name in names if name != str(base)]
    least, most = contract["non_base"]
    if (least is not None and len(without) < least) or (most is not None and len(without) > most):
        wanted = str(least) if least == most else f"at least {least}"
        source.add(
            place,
            "wrong-value",
            f"{len(without)} models beside the base found, {method} merges {wanted}.",
        )


def _layer_range(source: YamlFile, place: Path_, entry: dict, depth: Depth) -> None:
    layers, here = entry.get("layer_range"), (*place, "layer_range")
    if layers is None:
        source.add(here, "missing-key", "missing. Write [first, one past the last], e.g. [0, 24].")
        return
    whole = isinstance(layers, list) and len(layers) == 2
    if not whole or not all(isinstance(n, int) and not isinstance(n, bool) for n in layers):
        source.add(
            here,
            "wrong-value",
            f"{layers!r} found. Two whole numbers are needed: [first, one past the last].",
        )
        return
    first, end = layers
    if first < 0:
        source.add(here, "layer-range", f"{layers} begins before layer 0. Write [0, {end}].")
    elif first == end:
        source.add(
            here, "layer-range", f"{layers} is empty: the second number is one past the last."
        )
    elif first > end:
        source.add(here, "layer-range", f"{layers} runs backwards. Write [{end}, {first}].")
    else:
        deep = depth(str(entry.get("model")))
        if deep is not None and end > deep:
            source.add(
                here,
                "layer-range",
                f"{layers} reaches past the end of {entry.get('model')}, which has {deep} layers. "
                f"Write at most {deep}.",
            )


def named_models(config: dict[str, Any]) -> list[tuple[Path_, str]]:
    """Every place of a merge config that names a model, with the name."""
    keys_of_models = (("model",), ("base_model",))
    return [(p, v) for p, v in walk(config) if p[-1:] in keys_of_models and isinstance(v, str)]
