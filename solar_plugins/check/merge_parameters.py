"""The parameters of a merge config: known to the method, where it reads them, and in range."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from solar_plugins.check.finding import RULES, unambiguous_match
from solar_plugins.check.merge_models import Group, name_of
from solar_plugins.check.source import Path_, YamlFile, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.errors import SolarError, nearest
from solar_plugins.models import safetensors_header


def check(source: YamlFile, method: str, groups: Sequence[Group]) -> None:
    """Add what is wrong with the parameters that the merge config `source` gives to `method`."""
    wanted = known("mergekit")["methods"][method]["parameters"]
    tensors = _tensors(groups)
    per_model = [where for group in groups for where, _ in group.entries if group.is_whole]
    for place, parameters in walk(source.content):
        if place[-1:] != ("parameters",) or not isinstance(parameters, dict):
            continue
        for name, setting in parameters.items():
            here = (*place, str(name))
            if name not in wanted:
                free = [n for n in wanted if n not in parameters]
                meant, hint = unambiguous_match(str(name), free), nearest(str(name), wanted)
                found = {"method": method, "parameter": name, "hint": hint}
                found["known"] = ", ".join(wanted) or "none"
                source.say(here, "unknown-key/parameter", new_key=meant, **found)
                continue
            if place[:-1] in per_model and wanted[name]["scope"] == "shared":
                source.say(here, "wrong-value/shared-parameter", name=name)
            for where, value in walk(setting, here):
                if where[-1] == "filter":
                    _filter(source, where, str(value or "*"), tensors)
                elif fault := _fault(value, name, wanted[name]["type"]):
                    source.say(where, fault, found=value, name=name, method=method)
    for group in groups:
        _weights(source, group)
        for name, facts in wanted.items():
            if facts["required"]:
                some = sorted(tensors) or RULES["llama"].split()
                _required(source, group, name, facts["scope"], method, some)


def _tensors(groups: Sequence[Group]) -> set[str]:
    """The names of the tensors of the models that are in a folder on this machine."""
    names: set[str] = set()
    models = (name_of(entry.get("model")) for group in groups for _, entry in group.entries)
    for model in dict.fromkeys(models):
        folder = os.path.expanduser(model.partition("+")[0])
        try:
            names |= set(safetensors_header.read_model(folder)) if os.path.isdir(folder) else set()
        except SolarError:
            continue  # a folder without weights is not what this is about
    return names


def _weights(source: YamlFile, group: Group) -> None:
    """Weights that add up to nothing: MergeKit divides by their sum."""
    parameters = [entry.get("parameters") for _, entry in group.entries]
    weights: list[Any] = [p.get("weight") if isinstance(p, dict) else None for p in parameters]
    if len(weights) > 1 and all(type(w) in (int, float) for w in weights) and sum(weights) == 0:
        source.say((*group.entries[0][0], "parameters", "weight"), "wrong-value/weights-of-0")


def _filter(source: YamlFile, place: Path_, part: str, tensors: set[str]) -> None:
    """A filter is a part of a tensor's name; one that is in none is passed over in silence."""
    every = [*known("mergekit")["tensors"], *tensors]
    if part == "*" or any(part in name for name in every):
        return
    meant = unambiguous_match(part, {word for name in every for word in name.split(".")})
    hint = f"Did you mean {meant!r}?" if meant else "Take it out."
    # Perhaps of an architecture that MergeKit reads from the tensors themselves.
    is_note = meant is None and not tensors
    source.say(place, "no-effect/filter", is_note, new_value=meant, part=part, hint=hint)


def _fault(value: Any, name: str, type_: str) -> str | None:
    if isinstance(value, dict | list):
        return None
    if type_ == "bool":
        return None if isinstance(value, bool) else "wrong-value/no-bool"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (type_ == "int" and number != int(number)):
        return f"wrong-value/no-{'int' if type_ == 'int' else 'number'}"
    is_share = name in ("t", "density")
    return "wrong-value/no-share" if is_share and not 0 <= number <= 1 else None


def _required(
    source: YamlFile, group: Group, name: str, scope: str, method: str, tensors: Sequence[str]
) -> None:
    """Add a finding where a parameter without a default does not reach.

    MergeKit looks at the input (not for a shared parameter), its slice, its module and the file,
    and goes on where the filters of one of them let a tensor through.
    """
    inputs = group.entries if scope != "shared" else group.around[:1]
    for where, entry in inputs:
        if scope == "non_base" and name_of(entry.get("model")) == group.base_model:
            continue
        left, last = list(tensors), None
        for place, holder in [(where, entry), *group.around]:
            parameters = holder.get("parameters")
            setting = parameters.get(name) if isinstance(parameters, dict) else None
            for item in setting if isinstance(setting, list) else [setting]:
                if item is not None:
                    part, last = item.get("filter") if isinstance(item, dict) else None, place
                    left = [t for t in left if part not in (None, "*") and str(part) not in t]
        if not left:
            continue
        whose = " for every model" * (scope != "shared")
        values = {"method": method, "parameter": name, "whose": whose, "tensor": left[0]}
        what = "parameter" if last is None else "parameter-of-tensor"
        place = (*(where if last is None else last), "parameters", name)
        source.say(place, f"missing-key/{what}", **values)
