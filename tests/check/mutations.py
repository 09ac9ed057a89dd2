"""Recipes spoilt at random, and whether `solar check --fix` makes one of them worse.

`test_mutations.py` tries some dozens, `benchmarks/check/fixes.py` as many as one likes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from solar_plugins.check import check_files, faults_of, fixes
from solar_plugins.check.keys import OTHER_NAMES
from solar_plugins.check.tool_schemas import known

_KEY = re.compile(r"(?m)^(?P<before>[ -]*)(?P<key>[a-z_]+)(?P<after>: *)(?P<value>[^\n#{\[]*)$")
_VALUES = ("true", "false", "0", "1", "-1", "2.5", "1e-5", "text", "[1]", "{a: 1}", "null", '""')


class Outcome(NamedTuple):
    """What a fix made of a spoilt recipe.

    Attributes:
        spoilt: Its text.
        fixed: Its text after the fix.
        faults: What is wrong with it that was not before.
        means_well: Whether it says what it said, or what it said before it was spoilt.
    """

    spoilt: str
    fixed: str
    faults: set[tuple[str, ...]]
    means_well: bool


def outcomes(texts: dict[str, str], count: int, seed: int) -> Iterator[Outcome]:
    """Spoil a text, write it to its file in the current folder, fix it and look again."""
    chance = random.Random(seed)
    for _ in range(count):
        file = chance.choice(sorted(texts))
        good, path = texts[file], Path(file)
        spoilt, keeps = _spoil(good, chance)
        path.write_text(spoilt, encoding="utf-8")
        before = faults_of(file, spoilt)
        fixes.fix_file(file, [f for f in check_files([file], False) if f.file == file])
        fixed = path.read_text(encoding="utf-8")
        path.write_text(good, encoding="utf-8")
        same = [_content(spoilt)] + [_content(good)] * keeps
        content = _content(fixed)
        well = content in same or (not keeps and _differs_by_names(same[0], content))
        yield Outcome(spoilt, fixed, faults_of(file, fixed) - before, well)


def _content(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        return str(error)


def _differs_by_names(before: Any, after: Any) -> bool:
    """Whether a fix kept every value: only keys or names of one mapping's entry are others."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return False
    gone = [before[k] for k in before if k not in after]
    come = [after[k] for k in after if k not in before]
    is_renamed = gone == come or (gone == [True] and all(isinstance(v, str) for v in come))
    both = [k for k in before if k in after and before[k] != after[k]]
    return is_renamed and all(type(before[k]) is type(after[k]) for k in both)


def _spoil(text: str, chance: random.Random) -> tuple[str, bool]:
    """`text` with one thing wrong, and whether its own fix would bring back `text` itself."""
    match = chance.choice(list(_KEY.finditer(text)))
    before, key, after, value = match.group("before", "key", "after", "value")
    others = [ours for ours, axolotls in OTHER_NAMES.items() if axolotls == key]
    old = [name for name, new in known("axolotl")["deprecated"].items() if new == key]
    kind = chance.choice(("typo", "typo", "value typo", "value", "twice", "old", "other", "add"))
    keeps = kind in ("typo", "value typo", "other")
    if kind == "typo":
        key = _typo(key, chance)
    elif kind == "value typo" and len(value) > 3:
        value = _typo(value, chance)
    elif kind == "value":
        value = chance.choice(_VALUES)
    elif kind == "other" and others:
        key = chance.choice(others)
    elif kind == "old" and old:
        key = chance.choice(old)
    line = f"{before}{key}{after}{value}"
    if kind == "twice":
        line += f"\n{before.replace('-', ' ')}{_typo(key, chance)}{after}{chance.choice(_VALUES)}"
    elif kind in ("add", "old") and line == match[0]:
        deprecated = chance.choice([*known("axolotl")["deprecated"], "push_to_hub", "wandb_run"])
        line += f"\n{before.replace('-', ' ')}{deprecated}: {chance.choice(_VALUES)}"
    return text[: match.start()] + line + text[match.end() :], keeps


def _typo(word: str, chance: random.Random) -> str:
    place = chance.randrange(len(word))
    letters = list(word)
    way = chance.choice(("drop", "double", "swap", "change"))
    if way == "drop":
        del letters[place]
    elif way == "double":
        letters.insert(place, letters[place])
    elif way == "swap" and place + 1 < len(letters):
        letters[place : place + 2] = letters[place + 1], letters[place]
    else:
        letters[place] = chance.choice("aeionrst_-")
    return "".join(letters) or word
