"""The tasks that SOLAR keeps out of FLAN-derived data (arXiv 2312.15166, Table 8).

Pure: the standard library only.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from solar_plugins.errors import SolarError

SOLAR, RELATED = "solar", "related"
"""The words that stand for all of `SOLAR_TASKS` and `RELATED_TASKS` in ``flan_filter.tasks``."""

SOLAR_TASKS = (
    "task228_arc_answer_generation_easy",
    "ai2_arc/ARC-Challenge:1.0.0",  # the paper's typesetting dropped / and -
    "ai2_arc/ARC-Easy:1.0.0",
    "task229_arc_answer_generation_hard",
    "hellaswag:1.1.0",
    "task1389_hellaswag_completion",
    "cot_gsm8k",
    "cot_gsm8k_ii",
    "drop:2.0.0",
    "winogrande:1.1.0",
)
"""Table 8, as FLAN spells its tasks (model card of upstage/SOLAR-10.7B-Instruct-v1.0)."""

RELATED_TASKS = (
    "task026_drop_question_generation",
    "task027_drop_answer_type_generation",
    "task028_drop_answer_generation",
    "task029_winogrande_full_object",
    "task030_winogrande_full_person",
    "task031_winogrande_question_generation_object",
    "task032_winogrande_question_generation_person",
    "task033_winogrande_answer_generation",
    "task034_winogrande_question_modification_object",
    "task035_winogrande_question_modification_person",
    "task1391_winogrande_easy_answer_generation",
)
"""NIv2 tasks made from DROP and Winogrande that Table 8 leaves out; never removed by default."""


def normalised(name: str) -> str:
    """`name` without case and without everything that is neither letter nor digit.

    Both prints of a task become the same word, so data that follows either is recognised.

    >>> normalised("ai2_arc/ARC-Challenge:1.0.0") == normalised("ai2_arcARCChallenge:1.0.0")
    True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())


def stem(name: str) -> str:
    """`normalised` without the version that follows the last colon.

    >>> stem("hellaswag:1.1.0") == stem("hellaswag:1.0.0") == stem("HellaSwag")
    True
    """
    head, colon, version = name.rpartition(":")
    is_version = colon and all(part.isdigit() for part in version.split("."))
    return normalised(head if is_version else name)


def expand(tasks: str | Iterable[str]) -> dict[str, str]:
    """The tasks to remove: normalised name -> name as it is reported, in the order given.

    The word ``solar`` stands for Table 8, ``related`` for `RELATED_TASKS`. Any other name is taken
    as the name of a task; whether it exists is for the data to say.

    >>> list(expand(["solar", "task026_drop_question_generation"]).values())[-1]
    'task026_drop_question_generation'

    Raises:
        SolarError: no task is named, or a name has neither letter nor digit.
    """
    groups = {SOLAR: SOLAR_TASKS, RELATED: RELATED_TASKS}
    reported = {normalised(task): task for task in SOLAR_TASKS}
    form = (
        "Write solar (the ten tasks of Table 8), task names as the data spells them, or both in a "
        "list."
    )
    wanted: dict[str, str] = {}
    for name in [tasks] if isinstance(tasks, str) else tasks:
        if not normalised(name):
            raise SolarError(f"flan_filter.tasks: {name!r} names no task. {form}")
        for task in groups.get(normalised(name), (name,)):
            key = normalised(task)
            wanted.setdefault(key, reported.get(key, task))
    if not wanted:
        raise SolarError(f"flan_filter.tasks: the list is empty. {form}")
    return wanted
