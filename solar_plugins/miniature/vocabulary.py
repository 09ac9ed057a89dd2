"""The closed vocabulary of the miniature world, as ``vocabulary.yml`` writes it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

_TABLES: dict[str, Any] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)


class Relation(NamedTuple):
    """What may be said of a subject {s}: its values {v}, ways to state it, ways to ask for it."""

    values: list[str]
    statements: list[str]
    questions: list[str]


def _composed(name: str) -> list[str]:
    beginnings, endings = _TABLES[name]
    return [one + other for one in beginnings.split() for other in endings.split()]


def _relations(kind: str) -> dict[str, Relation]:
    table = _TABLES[f"{kind}_relations"]
    return {name: Relation(values.split(), *said) for name, (values, *said) in table.items()}


PEOPLE, WONDERS, COUNTED, TIMES = (
    _TABLES[name].split() for name in ("people", "wonders", "counted", "times")
)
LANDS, SCHOLARS = _composed("lands"), _composed("scholars")

CLASSES: dict[str, dict[str, str]] = {
    name: dict(zip(("part", "place", "action", "need"), shared.split(), strict=True))
    for name, (shared, _) in _TABLES["classes"].items()
}
CLASS_OF: dict[str, str] = {
    member: name for name, (_, members) in _TABLES["classes"].items() for member in members.split()
}

SCRIPTS: dict[str, list[str]] = _TABLES["scripts"]
HABITS: list[str] = _TABLES["habits"]
STEP_OPENERS: list[str] = _TABLES["step_openers"]
PRONOUN_PUZZLES: list[list[str]] = _TABLES["pronoun_puzzles"]
THING_PUZZLE: str = _TABLES["thing_puzzle"]

BENCHMARK_TASKS: dict[str, str] = _TABLES["benchmark_tasks"]
KEPT_TASKS: dict[str, str] = _TABLES["kept_tasks"]

LAND_RELATIONS, SCHOLAR_RELATIONS, WONDER_RELATIONS, THING_RELATIONS = map(
    _relations, ("land", "scholar", "wonder", "thing")
)
RELATIONS = LAND_RELATIONS | SCHOLAR_RELATIONS | WONDER_RELATIONS | THING_RELATIONS
