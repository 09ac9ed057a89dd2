"""MergeKit configs: keys, methods, inputs, layer ranges; without importing MergeKit.

MergeKit itself drops unknown keys and parameters, and writes a model of 0 layers for
``layer_range: [6, 0]``; ranges past the end fail after the weights were fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from solar_plugins.chain.missing_inputs import is_local
from solar_plugins.check import keys, merge_models, merge_parameters
from solar_plugins.check.files import Files
from solar_plugins.check.keys import unknown_name
from solar_plugins.check.merge_models import Group, name_of
from solar_plugins.check.source import Path_, YamlFile, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config

Depth = Callable[[str], int | None]
"""How many layers the model at a path or Hub id has; None where that cannot be known here."""

_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32"}
"""What other tools call the types of numbers."""

_REVISION = "MergeKit reads the revision from the name. Write `model: NAME@REVISION`."
_HINTS = {"models.revision": _REVISION, "slices.sources.revision": _REVISION}


def check(
    source: YamlFile,
    files: Files,
    depth: Depth,
    models_are_given: bool = False,
    donor: str | None = None,
) -> None:
    """Add what is wrong in the merge config `source`.

    Args:
        files: What is on this machine and what stages will make.
        depth: How deep a model is, as the file names it.
        models_are_given: Whether a chain puts its own models in the place of the file's.
        donor: Whose config and tokenizer the merge has, if that is decided: MergeKit takes those
            of `base_model`, or of any.
    """
    content, facts = source.content, known("mergekit")
    tree = {**dict.fromkeys(keys.anchors(source)), **facts["keys"]}
    keys.add_unknown_keys(source, content, (), tree, "MergeKit", _HINTS)
    method = content.get("merge_method")
    if method is None:
        found = "missing. Write one of MergeKit's methods, for example `merge_method: linear`."
        source.add(("merge_method",), "missing-key", found)
    elif not isinstance(method, str) or method not in facts["methods"]:
        found = f"no merge method is called {method!r}."
        unknown_name(source, ("merge_method",), found, str(method), list(facts["methods"]))
        method = None
    for key in ("dtype", "out_dtype"):
        dtype, dtypes = str(content.get(key, "float32")), facts["dtypes"]
        if dtype.removeprefix("torch.") not in (*dtypes, "None"):
            found = (
                f"{dtype!r} found, one of {', '.join(dtypes)} is needed.{nearest(dtype, dtypes)}"
            )
            meant = _DTYPES.get(dtype) or unambiguous_match(dtype, dtypes)
            source.add((key,), "wrong-value", found, new_value=meant)
    forms = [key for key in ("models", "slices", "modules") if content.get(key)]
    if len(forms) != 1:
        found = " and ".join(forms) or "none of them"
        found = f"{found} found. Exactly one of models, slices and modules is needed."
        source.add((), "missing-key", found)
    groups = list(_groups(source))
    before = len(source.findings)
    for group in groups:
        for place, kind, fault in (*_inputs(group, method), *_layer_ranges(group, depth)):
            source.add(place, kind, fault)
    if len(source.findings) == before and not models_are_given:
        donor = donor or name_of(content.get("base_model") or "")
        merge_models.check(source, groups, method == "passthrough", donor)
    if method is not None:
        merge_parameters.check(source, method, groups)
    _tokenizer(source)
    for place, name in named_models(content) if not models_are_given else ():
        merge_models.check_reference(source, place, name, files)


def refuse_unfit_models(file: Path, config: dict[str, Any]) -> list[str]:
    """Raise the first thing that is wrong with the models of `config`, now that they are there.

    Args:
        file: Where `config` is kept.

    Returns:
        What differs between the models that can be merged nevertheless.

    Raises:
        SolarError: MergeKit would fail after reading the weights, or mix rows that differ.
    """
    source = YamlFile(str(file), config, {})
    names = [name for _, name in named_models(config)] or ["the first"]
    donor = config.get("base_model") or names[0]
    check(source, Files(file), model_config.depth_of, donor=donor)
    fatal = [f for f in source.findings if f.kind in ("model", "tokenizer", "layer-range")]
    for finding in sorted(fatal):
        if not finding.is_note:
            raise SolarError(f"{finding.path}: {finding.message}")
    return [finding.message for finding in fatal]


def named_models(config: dict[str, Any]) -> list[tuple[Path_, str]]:
    """Every place of a merge config that names a model, with the name."""
    keys_of_models = (("model",), ("base_model",))
    return [(p, v) for p, v in walk(config) if p[-1:] in keys_of_models and isinstance(v, str)]


def _groups(source: YamlFile) -> Iterator[Group]:
    """The groups of inputs; a finding for whatever else stands in their places."""
    whole: list[tuple[Path_, dict]] = [((), source.content)]
    modules = source.content.get("modules")
    outputs = [whole]
    if isinstance(modules, dict):
        named = [(("modules", name), m) for name, m in modules.items() if isinstance(m, dict)]
        outputs = [[module, *whole] for module in named]
    for around in outputs:
        place, output = around[0]
        if output.get("models"):
            here = (*place, "models")
            yield Group(here, _listed(source, here, output["models"]), around)
        for where, slice_ in _listed(source, (*place, "slices"), output.get("slices")):
            here, sources = (*where, "sources"), slice_.get("sources")
            if not sources:
                source.add(here, "missing-key", "no sources found. Write `- model: …` below it.")
            yield Group(here, _listed(source, here, sources), [(where, slice_), *around])


def _listed(source: YamlFile, place: Path_, value: Any) -> list[tuple[Path_, dict]]:
    """The mappings of the list at `place`; a finding for whatever else is there."""
    if value is not None and not isinstance(value, list):
        source.add(place, "wrong-value", f"{value!r} found. A list is needed, with `- ` entries.")
        return []
    for index, item in enumerate(value or ()):
        if not isinstance(item, dict):
            found = f"{item!r} found. A block is needed; write `- model: {item}`."
            source.add((*place, index), "wrong-value", found)
    return [((*place, i), item) for i, item in enumerate(value or ()) if isinstance(item, dict)]


def _inputs(group: Group, method: str | None) -> Iterator[tuple[Path_, str, str]]:
    """Whether the method takes this number of inputs, and has the base that it needs."""
    names: list[str] = []
    for where, entry in group.entries:
        here, name = (*where, "model"), name_of(entry.get("model"))
        if not isinstance(entry.get("model"), str | dict):
            yield here, "missing-key", "missing. Write a folder or a Hub id."
            return
        if os.path.normpath(name) in map(os.path.normpath, names):
            fault = f"{name} is there already, and MergeKit takes a model once. Add up the weights."
            yield here, "wrong-value", fault
            return
        names.append(name)
    if not names or method is None:
        return
    contract, base = known("mergekit")["methods"][method], group.base_model
    is_outside, is_required = base not in (None, *names), contract["base"] == "required"
    if is_required and base is None:
        fault = f"missing. {method} needs one; write `base_model: {names[0]}`."
        yield ("base_model",), "missing-key", fault
    elif is_outside and is_required and not group.is_whole:
        fault = f"the base model {base} is not among the sources, {method} needs it there. "
        yield group.place, "wrong-value", f"{fault}Write `- model: {base}` with its layer_range."
    elif is_outside and contract["base"] == "ignored" and group.is_whole:
        fault = f"{base} is none of the models. {method} has no base: MergeKit would merge it as "
        fault += f"one more. Write one of the models, `base_model: {names[0]}`."
        yield ("base_model",), "wrong-value", fault
    else:
        every = len(names) + (is_outside and group.is_whole)  # MergeKit adds it
        beside = len([name for name in names if name != base])
        counts = (every, "inputs", "found"), (beside, "non_base", "beside the base found")
        for count, key, what in counts:
            least, most = contract[key]
            if count < (least or 0) or (most is not None and count > most):
                wanted = str(least) if least == most else f"at least {least}"
                models = f"{count} model{'s' * (count != 1)}"
                yield group.place, "wrong-value", f"{models} {what}, {method} merges {wanted}."


def _layer_ranges(group: Group, depth: Depth) -> Iterator[tuple[Path_, str, str]]:
    first_length = None
    for where, entry in () if group.is_whole else group.entries:
        layers, here = entry.get("layer_range"), (*where, "layer_range")
        if layers is None:
            fault = "missing. Write [first, one past the last], e.g. [0, 24]."
            yield here, "missing-key", fault
            continue
        if not isinstance(layers, list) or [type(number) for number in layers] != [int, int]:
            fault = f"{layers!r} found. Two whole numbers are needed: [first, one past the last]."
            yield here, "wrong-value", fault
            continue
        first, end = layers
        deep, fault = depth(name_of(entry.get("model")).partition("+")[0]), ""
        if first < 0:
            fault = f"{layers} begins before layer 0. Write [0, {end}]."
        elif first == end:
            fault = f"{layers} is empty: the second number is one past the last."
        elif first > end:
            fault = f"{layers} runs backwards. Write [{end}, {first}]."
        elif deep is not None and end > deep:
            fault = f"{layers} reaches past the end of {entry.get('model')}, which has {deep} "
            fault += f"layers. Write at most {deep}."
        elif first_length not in (None, end - first):
            fault = (
                f"{end - first} layers, and {first_length} of the source before. All sources of "
            )
            fault += "a slice need as many."
        if fault:
            yield here, "layer-range", fault
        first_length = first_length or end - first


def _tokenizer(source: YamlFile) -> None:
    """Tokenizer and template that MergeKit looks for after the merge."""
    content, block = source.content, source.content.get("tokenizer")
    place: Path_ = ("tokenizer_source",)
    value = content.get("tokenizer_source")
    if value and block:
        found = "`tokenizer_source` and `tokenizer` are mutually exclusive in MergeKit. Keep one."
        source.add(place, "wrong-value", found)
    if isinstance(block, dict):
        place, value = ("tokenizer", "source"), block.get("source")
    elif block is not None:
        found = f"a block is needed. Write `tokenizer_source: {block}`."
        source.add(("tokenizer",), "wrong-value", found)
    template, templates = content.get("chat_template"), known("mergekit")["chat_templates"]
    if isinstance(template, str) and "{" not in template and template not in templates:
        found = f"MergeKit has no chat template {template!r}."
        unknown_name(source, ("chat_template",), found, template, templates)
    if value == "base" and content.get("base_model") is None:
        source.add(("base_model",), "missing-key", f"missing. `{place[-1]}: base` needs one.")
    # A tokenizer from outside of the merge is fine.
    names = ["union", "base", *(model for _, model in named_models(content))]
    if not isinstance(value, str) or value in names or os.path.isdir(value):
        return
    plain = value.removeprefix("model:")
    if plain != value:
        found = f"{value!r} is the old form. Write `{place[-1]}: {plain}`."
        source.add(place, "deprecated-key", found, new_value=plain)
    elif "/" not in value or is_local(value):
        meant = unambiguous_match(value, names)
        hint = f" Did you mean {meant!r}?" if meant else ""
        found = f"{value!r} found. One of union, base or a model of the merge is needed.{hint}"
        source.add(place, "wrong-value", found, new_value=meant)
