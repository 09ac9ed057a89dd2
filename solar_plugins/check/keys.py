"""Keys that a tool does not know and would drop without a word, and names that it looks up late."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from solar_plugins.check.finding import RULES, suggestion, unambiguous_match
from solar_plugins.check.source import Path_, YamlFile, at, walk
from solar_plugins.check.tool_schemas import known, read_schema
from solar_plugins.errors import nearest
from solar_plugins.recipes.typed_block import dotted

Tree = dict
"""``{key: Tree or None}``; None: anything may stand below. See `read_tools.key_tree`."""

OTHER_NAMES: dict[str, str] = RULES["other_names"]
"""What other trainers call a key of Axolotl."""

# YAML 1.1 takes 1e-5 for a text: a number with an exponent needs a dot.
_NUMBER_AS_TEXT = re.compile(r"[-+]?\d+(\.\d+)?[eE][-+]?\d+")

_PREFERENCE = {"dpo": "preference", "ipo": "preference", "simpo": "preference", "kto": "kto"}
_OLD_FSDP = "fsdp_"
_OF_MESSAGES = (
    "Take it out, and call the fields of the data role and content: `rl` reads no others."
)


def check_recipe(source: YamlFile, plugins: list[str], blocks: Mapping[str, str]) -> None:
    """Add unknown and deprecated keys, unknown names and texts that were meant for numbers.

    Args:
        plugins: The plugins that it names.
        blocks: The blocks that our plugins read, each with its plugin.
    """
    _unknown(source, plugins, blocks)
    _deprecated(source)
    _names(source)
    _texts_for_numbers(source)


def add_unknown_keys(
    source: YamlFile,
    value: Any,
    place: Path_,
    tree: Tree | None,
    reader: str,
    hints: Mapping[str, str],
) -> None:
    """Add a finding for every key of `value` that `tree` does not have, at any depth.

    Args:
        value: What stands at `place`.
        place: Where to begin.
        tree: The keys that are known there.
        reader: Who drops the key, for the message (``Axolotl``).
        hints: What to say about particular keys, by dotted path without list indices.
    """
    if tree is None:
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            add_unknown_keys(source, item, (*place, index), tree, reader, hints)
    if not isinstance(value, dict):
        return
    for key, below in value.items():
        here = (*place, str(key))
        if key in tree or "*" in tree:
            add_unknown_keys(source, below, here, tree.get(key, tree.get("*")), reader, hints)
            continue
        plain = dotted(tuple(part for part in here if isinstance(part, str)))
        hint, meant = hints.get(plain), None
        if hint is None:
            is_recipe = reader == "Axolotl" and not place
            alike = [n for n in tree if _is_alike(str(key), n, below, is_recipe)]
            # What `extends:` fills in may be written over; what stands in this file is taken.
            free = [name for name in alike if (*place, name) not in source.marks]
            meant = OTHER_NAMES.get(str(key)) if is_recipe else None
            if meant is None or (*place, meant) in source.marks:
                meant = unambiguous_match(str(key), free)
            likely = f"Did you mean {meant!r}?" if meant else nearest(str(key), alike).strip()
            hint = likely or _elsewhere(str(key), tree)
        # A key without a value loses nothing: somebody kept it as a reminder.
        empty = below is None and meant is None
        values = {"reader": reader, "hint": hint or "Take it out."}
        what = "empty" if empty else "dropped"
        source.say(here, f"unknown-key/{what}", empty, new_key=meant, **values)


def anchors(source: YamlFile) -> set[str]:
    """The top keys that hold what other places repeat (``&name``); the tools pass them over."""
    shared = {mark.value or mark.key for mark in source.marks.values() if mark.aliased}
    return {
        str(place[0])
        for place, mark in source.marks.items()
        if not mark.aliased and (mark.value or mark.key) in shared
    }


def unknown_name(source: YamlFile, place: Path_, found: str, value: str, names: list[str]) -> None:
    """Add the finding that `value` is none of `names`, with the one that was probably meant."""
    other = RULES["other_values"].get(value.lower())
    meant, hint = suggestion(other if other in names else value, names)
    every = f" Known: {', '.join(names)}."
    source.add(place, "wrong-value", f"{found}{hint or every}", new_value=meant)


def _is_alike(written: str, name: str, value: Any, is_recipe: bool) -> bool:
    """Whether somebody who wrote the key `written` with this value may have meant `name`.

    A word more is another purpose: `push_to_hub` is not `push_dataset_to_hub`. So is another type.
    """
    ours, theirs = (re.split("[_-]", text.lower()) for text in (written, name))
    if "".join(ours) != "".join(theirs):
        for words, others in ((ours, theirs), (theirs, ours)):
            if not all(any(_is_near(word, other) for other in others) for word in words):
                return False
    return not is_recipe or value is None or _takes(_schema()["properties"].get(name, {}), value)


def _is_near(word: str, other: str) -> bool:
    if len(min(word, other, key=len)) > 2 and (word.startswith(other) or other.startswith(word)):
        return True
    return difflib.SequenceMatcher(None, word, other, autojunk=False).ratio() > 0.65


@cache
def _schema() -> dict[str, Any]:
    return json.loads(read_schema("recipe"))


_TYPES = {"string": str, "boolean": bool, "array": list, "object": dict, "null": type(None)}


def _takes(schema: dict[str, Any], value: Any) -> bool:
    """Whether `value` is of the type that a JSON schema asks for; its details are not looked at."""
    if "$ref" in schema:
        return _takes(_schema()["$defs"][schema["$ref"].rpartition("/")[2]], value)
    members = schema.get("anyOf") or schema.get("oneOf")
    if members:
        return any(_takes(member, value) for member in members)
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema.get("type")
    if kind in ("number", "integer"):  # Axolotl reads "2e-5" as a number
        if isinstance(value, str) and _NUMBER_AS_TEXT.fullmatch(value):
            return True
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind not in _TYPES or isinstance(value, _TYPES[kind])


def _elsewhere(key: str, tree: Tree) -> str:
    """Where `key` would be known, when it only stands at the wrong depth."""
    for name, below in tree.items():
        if below and key in below:
            return f"It belongs below {name!r}: check the indentation."
    return ""


def _unknown(source: YamlFile, plugins: list[str], blocks: Mapping[str, str]) -> None:
    facts, recipe = known("axolotl"), source.content
    tree = {**dict.fromkeys(anchors(source)), **facts["keys"]}
    of_data = facts["dataset_keys"]
    for name in plugins:
        module, _, attribute = name.rpartition(".")
        if name in facts["plugins"]:
            tree.update(facts["plugins"][name])
        elif module == "solar_plugins":
            # What stands inside our blocks is read by our own classes, but for the data of a step.
            tree.update({block: None for block, plugin in blocks.items() if plugin == attribute})
            if "sdpo" in tree:
                step = {
                    "*": None,
                    **dict.fromkeys(("datasets", "test_datasets"), of_data["preference"]),
                }
                tree["sdpo"] = {"*": None, "steps": step}
        else:
            return  # a stranger's plugin brings keys of its own: `axolotl_rules` asks it
    preference = of_data.get(_PREFERENCE.get(str(recipe.get("rl")), ""))
    if preference:
        tree["datasets"] = preference
    elif recipe.get("rl") is None:
        for key in ("datasets", "test_datasets"):
            tree[key] = tree[key] | {"type": of_data["sft"]["type"]}
    fsdp = recipe.get("fsdp_config")
    if isinstance(fsdp, dict) and isinstance(tree.get("fsdp_config"), dict):
        plain = tree["fsdp_config"]
        tree["fsdp_config"] = plain | {f"{_OLD_FSDP}{key}": None for key in plain}
    hints = {
        block: f"It is read by a plugin: write `plugins: [solar_plugins.{plugin}]`."
        for block, plugin in blocks.items()
    }
    of_messages = [k for k in of_data["sft"] if k == "roles" or k.startswith("message_")]
    for above in ("", "sdpo.steps.") if preference else ():
        for key in of_messages:
            hints[f"{above}datasets.{key}"] = hints[f"{above}test_datasets.{key}"] = _OF_MESSAGES
    add_unknown_keys(source, recipe, (), tree, "Axolotl", hints)


def _deprecated(source: YamlFile) -> None:
    facts = known("axolotl")
    old: dict[Path_, str] = {(key,): instead for key, instead in facts["deprecated"].items()}
    fsdp, fields = source.content.get("fsdp_config"), facts["keys"]["fsdp_config"]
    for key in fsdp if isinstance(fsdp, dict) else ():
        plain = str(key).removeprefix(_OLD_FSDP)
        if key != plain and key not in fields and plain in fields:
            old["fsdp_config", key] = plain
    for place, instead in old.items():
        value = at(source.content, place)
        if value is None:
            continue
        new_key, _, new_value = instead.partition(": ")
        # A renamed key keeps its value, which must be one that the new key takes; a flag that is
        # false says nothing, and two keys that now are one cannot both be kept.
        is_rename = (
            instead in RULES["renamed"].split() or len(place) > 1 or (new_value and value is True)
        )
        sure = is_rename and (*place[:-1], new_key) not in source.marks
        # A flag that is off (`flash_attention: false`) asks for nothing, so it needs no successor.
        is_off = bool(new_value) and value is False
        write = f"Write `{instead}` instead." if instead and not is_off else "Take it out."
        fix: dict[str, Any] = {"new_key": new_key, "new_value": new_value or None}
        fix = fix if sure else {}
        source.add(place, "deprecated-key", f"deprecated in Axolotl. {write}", **fix)


def _names(source: YamlFile) -> None:
    """Names that Axolotl takes as any text, to fail on them hours later, on the GPUs."""
    facts, recipe = known("axolotl"), source.content
    templates = ["jinja", "tokenizer_default", *facts["chat_templates"]]
    named: dict[str, Iterable[str]] = {
        "optimizer": facts["optimizers"],
        "lr_scheduler": facts["schedulers"],
        **facts["choices"],
        "chat_template": templates,
    }
    for key, names in named.items():
        value, choices = recipe.get(key), list(names)
        plain = str(value).removeprefix("tokenizer_default_fallback_")
        if not isinstance(value, str) or plain in choices:
            continue
        # A class may come from elsewhere, so only a near miss is a finding.
        is_class = key.endswith("_type")
        near = difflib.get_close_matches(value, choices, n=1, cutoff=0.9)
        if not is_class or (near and not recipe.get("trust_remote_code")):
            found = f"no {key} is called {value!r}."
            if key == "chat_template":
                found = f"Axolotl has no chat template {value!r}."
            unknown_name(source, (key,), found, value, choices)


def _texts_for_numbers(source: YamlFile) -> None:
    """Numbers that YAML takes for texts, where nothing turns them back into numbers."""
    # Typed keys of Axolotl turn such a text into a number; free mappings pass it on as it is.
    for key, tree in known("axolotl")["keys"].items():
        value = source.content.get(key)
        if tree is not None or not isinstance(value, dict | list):
            continue
        for place, text in walk(value, (key,)):
            if not isinstance(text, str) or not _NUMBER_AS_TEXT.fullmatch(text):
                continue
            digits, exponent = re.split("[eE]", text)
            dotted_digits = digits if "." in digits else f"{digits}.0"
            number = f"{dotted_digits}e{exponent if exponent[0] in '+-' else f'+{exponent}'}"
            values = {"found": text, "number": number}
            source.say(place, "wrong-value/text-for-number", new_value=number, **values)
