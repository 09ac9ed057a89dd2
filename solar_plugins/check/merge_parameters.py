"""The parameters of a merge config: known to the method, where it reads them, and in range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from solar_plugins.check.source import Path_, YamlFile, walk
from solar_plugins.check.tool_schemas import known
from solar_plugins.check.unambiguous_match import unambiguous_match
from solar_plugins.errors import nearest


def check(source: YamlFile, method: str) -> None:
    """Add what is wrong with the parameters that the merge config `source` gives to `method`."""
    for place, parameters in walk(source.content):
        if place[-1:] == ("parameters",) and isinstance(parameters, dict):
            _parameters(source, place, parameters, method)
    _weights(source)
    for name, facts in known("mergekit")["methods"][method]["parameters"].items():
        if facts["required"] and not _sets(source.content, name):
            _required(source, name, facts["scope"], method)


def _weights(source: YamlFile) -> None:
    """Weights that add up to nothing: MergeKit divides by their sum."""
    models = source.content.get("models")
    parameters = [m.get("parameters") for m in models or () if isinstance(m, dict)] if isinstance(
        models, list) else []  # fmt: skip
    weights = [p.get("weight") for p in parameters if isinstance(p, dict)]
    numbers = [w for w in weights if isinstance(w, int | float) and not isinstance(w, bool)]
    if len(numbers) == len(parameters) > 1 and sum(numbers) == 0:
        source.add(
            ("models", 0, "parameters", "weight"),
            "wrong-value",
            "the weights of all models add up to 0: the merge would divide by it. Write weights "
            "whose sum is 1.",
        )


def _parameters(source: YamlFile, place: Path_, parameters: dict, method: str) -> None:
    wanted = known("mergekit")["methods"][method]["parameters"]
    per_model = place[-2:-1] != () and isinstance(place[-2], int) and place[-3] != "slices"
    for name, setting in parameters.items():
        here = (*place, str(name))
        if name not in wanted:
            has = ", ".join(wanted) or "none"
            source.add(
                here,
                "unknown-key",
                f"{method} has no parameter {name!r}, MergeKit would drop it in silence."
                f"{nearest(str(name), wanted)} Its parameters: {has}.",
                new_key=unambiguous_match(str(name), [n for n in wanted if n not in parameters]),
            )
            continue
        if per_model and wanted[name]["scope"] == "shared":
            source.add(
                here,
                "wrong-value",
                f"{name} is one value for the whole merge, MergeKit does not read it at a model. "
                "Write it below the `parameters:` of the file.",
            )
        _filters(source, here, setting)
        for where, value in _values(setting, here):
            _value(source, where, value, name, wanted[name]["type"], method)


def _filters(source: YamlFile, place: Path_, setting: Any) -> None:
    """A filter is a part of a tensor's name; one that is in none is passed over in silence."""
    tensors = known("mergekit")["tensors"]
    for index, item in enumerate(setting if isinstance(setting, list) else [setting]):
        part = item.get("filter") if isinstance(item, dict) else None
        if not isinstance(part, str) or part == "*" or any(part in name for name in tensors):
            continue
        meant = unambiguous_match(part, {p for name in tensors for p in name.split(".")})
        if meant is None:
            continue  # perhaps of an architecture that MergeKit reads from the tensors themselves
        here = (*place, index, "filter") if isinstance(setting, list) else (*place, "filter")
        source.add(
            here,
            "no-effect",
            f"{part!r} is in the name of no tensor, so it filters nothing. Did you mean {meant!r}?",
            new_value=meant,
        )


def _values(setting: Any, place: Path_) -> Iterator[tuple[Path_, Any]]:
    """The plain values of a setting: one, a gradient, or one per filter."""
    if isinstance(setting, dict):
        yield from _values(setting.get("value"), (*place, "value"))
    elif isinstance(setting, list):
        for index, item in enumerate(setting):
            yield from _values(item, (*place, index))
    else:
        yield place, setting


def _value(source: YamlFile, place: Path_, value: Any, name: str, type_: str, method: str) -> None:
    if type_ == "bool":
        if not isinstance(value, bool):
            source.add(place, "wrong-value", f"{value!r} found, true or false is needed.")
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        source.add(place, "wrong-value", f"{value!r} found, a number is needed.")
        return
    if name in ("t", "density") and not 0 <= number <= 1:
        message = f"{value} found, {name} of {method} runs from 0 to 1."
        source.add(place, "wrong-value", message)


def _required(source: YamlFile, name: str, scope: str, method: str) -> None:
    """Add a finding wherever a parameter without a default does not reach.

    MergeKit looks at the input (not for a shared parameter), its slice, its module and the file.
    """
    modules = source.content.get("modules")
    outputs: list[tuple[Path_, dict]] = [((), source.content)]
    if isinstance(modules, dict):
        outputs = [(("modules", key), m) for key, m in modules.items() if isinstance(m, dict)]
    for place, output in outputs:
        if _sets(output, name):
            continue
        groups: list[tuple[Path_, dict, Any]]
        groups = [((*place, "slices", i), s, s.get("sources")) for i, s in _items(output, "slices")]
        groups += [(place, {}, output["models"])] if output.get("models") else []
        for where, group, inputs in groups:
            if _sets(group, name):
                continue
            if scope == "shared":
                _missing(source, where, name, f"{method} needs {name}.")
                continue
            key = "sources" if group else "models"
            for index, entry in _items({key: inputs}, key):
                is_base = str(entry.get("model")) == str(source.content.get("base_model"))
                if not _sets(entry, name) and not (scope == "non_base" and is_base):
                    needs = f"{method} needs {name} for every model."
                    _missing(source, (*where, key, index), name, needs)


def _missing(source: YamlFile, place: Path_, name: str, needs: str) -> None:
    where = (*place, "parameters", name)
    source.add(where, "missing-key", f"missing. {needs} Write `parameters: {{{name}: 0.5}}` here.")


def _items(holder: dict, key: str) -> list[tuple[int, dict]]:
    """The mappings of the list at `key`, with their index; nothing if it is not a list."""
    value = holder.get(key)
    listed = value if isinstance(value, list) else []
    return [(index, item) for index, item in enumerate(listed) if isinstance(item, dict)]


def _sets(holder: dict, name: str) -> bool:
    parameters = holder.get("parameters")
    return isinstance(parameters, dict) and name in parameters
