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
from solar_plugins.check.finding import RULES, unambiguous_match
from solar_plugins.check.keys import unknown_name
from solar_plugins.check.merge_models import Group, name_of
from solar_plugins.check.source import Path_, YamlFile, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import model_config

Depth = Callable[[str], int | None]
"""How many layers the model at a path or Hub id has; None where that cannot be known here."""

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
        source.say(("merge_method",), "missing-key/method")
    elif not isinstance(method, str) or method not in facts["methods"]:
        found = f"no merge method is called {method!r}."
        unknown_name(source, ("merge_method",), found, str(method), list(facts["methods"]))
        method = None
    for key in ("dtype", "out_dtype"):
        dtype, dtypes = str(content.get(key, "float32")), facts["dtypes"]
        if dtype.removeprefix("torch.") not in (*dtypes, "None"):
            meant = RULES["dtypes"].get(dtype) or unambiguous_match(dtype, dtypes)
            known_ = {"known": ", ".join(dtypes), "hint": nearest(dtype, dtypes)}
            source.say((key,), "wrong-value/one-of", new_value=meant, found=dtype, **known_)
    forms = [key for key in ("models", "slices", "modules") if content.get(key)]
    if len(forms) != 1:
        source.say((), "missing-key/one-form", found=" and ".join(forms) or "none of them")
    groups = list(_groups(source))
    before = len(source.findings)
    for group in groups:
        for place, what, values in (*_inputs(group, method), *_layer_ranges(group, depth)):
            source.say(place, what, **values)
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
                source.say(here, "missing-key/sources")
            yield Group(here, _listed(source, here, sources), [(where, slice_), *around])


def _listed(source: YamlFile, place: Path_, value: Any) -> list[tuple[Path_, dict]]:
    """The mappings of the list at `place`; a finding for whatever else is there."""
    if value is not None and not isinstance(value, list):
        source.say(place, "wrong-value/no-list", found=value)
        return []
    for index, item in enumerate(value or ()):
        if not isinstance(item, dict):
            source.say((*place, index), "wrong-value/no-block", found=item)
    return [((*place, i), item) for i, item in enumerate(value or ()) if isinstance(item, dict)]


Fault = tuple[Path_, str, dict[str, Any]]
"""Where, which text of ``findings.yml``, and what stands in its braces."""


def _inputs(group: Group, method: str | None) -> Iterator[Fault]:
    """Whether the method takes this number of inputs, and has the base that it needs."""
    names: list[str] = []
    for where, entry in group.entries:
        here, name = (*where, "model"), name_of(entry.get("model"))
        if not isinstance(entry.get("model"), str | dict):
            yield here, "missing-key/model", {}
            return
        if os.path.normpath(name) in map(os.path.normpath, names):
            yield here, "wrong-value/model-twice", {"name": name}
            return
        names.append(name)
    if not names or method is None:
        return
    contract, base = known("mergekit")["methods"][method], group.base_model
    is_outside, is_required = base not in (None, *names), contract["base"] == "required"
    values = {"method": method, "base": base, "first": names[0]}
    if is_required and base is None:
        yield ("base_model",), "missing-key/base", values
    elif is_outside and is_required and not group.is_whole:
        yield group.place, "wrong-value/base-not-among-sources", values
    elif is_outside and contract["base"] == "ignored" and group.is_whole:
        yield ("base_model",), "wrong-value/base-ignored", values
    else:
        every = len(names) + (is_outside and group.is_whole)  # MergeKit adds it
        beside = len([name for name in names if name != base])
        counts = (every, "inputs", "found"), (beside, "non_base", "beside the base found")
        for count, key, what in counts:
            least, most = contract[key]
            if count < (least or 0) or (most is not None and count > most):
                wanted = str(least) if least == most else f"at least {least}"
                values |= {"models": f"{count} model{'s' * (count != 1)}", "what": what}
                yield group.place, "wrong-value/number-of-models", {**values, "wanted": wanted}


def _layer_ranges(group: Group, depth: Depth) -> Iterator[Fault]:
    first_length = None
    for where, entry in () if group.is_whole else group.entries:
        layers, here = entry.get("layer_range"), (*where, "layer_range")
        if layers is None:
            yield here, "missing-key/layer-range", {}
            continue
        if not isinstance(layers, list) or [type(number) for number in layers] != [int, int]:
            yield here, "wrong-value/layer-range", {"found": layers}
            continue
        first, end = layers
        deep, fault = depth(name_of(entry.get("model")).partition("+")[0]), ""
        if first < 0:
            fault = "before-0"
        elif first == end:
            fault = "empty"
        elif first > end:
            fault = "backwards"
        elif deep is not None and end > deep:
            fault = "past-the-end"
        elif first_length not in (None, end - first):
            fault = "other-length"
        if fault:
            values = {"found": layers, "first": first, "end": end, "length": end - first}
            values |= {"deep": deep, "before": first_length, "model": entry.get("model")}
            yield here, f"layer-range/{fault}", values
        first_length = first_length or end - first


def _tokenizer(source: YamlFile) -> None:
    """Tokenizer and template that MergeKit looks for after the merge."""
    content, block = source.content, source.content.get("tokenizer")
    place: Path_ = ("tokenizer_source",)
    value = content.get("tokenizer_source")
    if value and block:
        source.say(place, "wrong-value/two-tokenizers")
    if isinstance(block, dict):
        place, value = ("tokenizer", "source"), block.get("source")
    elif block is not None:
        source.say(("tokenizer",), "wrong-value/tokenizer-block", found=block)
    template, templates = content.get("chat_template"), known("mergekit")["chat_templates"]
    if isinstance(template, str) and "{" not in template and template not in templates:
        found = f"MergeKit has no chat template {template!r}."
        unknown_name(source, ("chat_template",), found, template, templates)
    if value == "base" and content.get("base_model") is None:
        source.say(("base_model",), "missing-key/base-of-tokenizer", key=place[-1])
    # A tokenizer from outside of the merge is fine.
    names = ["union", "base", *(model for _, model in named_models(content))]
    if not isinstance(value, str) or value in names or os.path.isdir(value):
        return
    plain = value.removeprefix("model:")
    if plain != value:
        key = place[-1]
        source.say(place, "deprecated-key/form", new_value=plain, found=value, key=key, plain=plain)
    elif "/" not in value or is_local(value):
        meant = unambiguous_match(value, names)
        hint = f" Did you mean {meant!r}?" if meant else ""
        source.say(place, "wrong-value/tokenizer", new_value=meant, found=value, hint=hint)
