"""The six miniature benchmarks of H6: items with a train and a held-out test split.

Each has the shape of the benchmark it stands for. Train items may be shown in pretraining and
instruction data; test items are asked in the evaluation alone (`tests/miniature` checks it).
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import NamedTuple

from solar_plugins.miniature import vocabulary as words
from solar_plugins.miniature.facts import Fact, World

TEST_ITEMS = 240
TRAIN_ITEMS = 600


class MiniBenchmark(NamedTuple):
    """`train` and `test` rows of one miniature benchmark."""

    train: list[dict]
    test: list[dict]


def build_benchmarks(world: World) -> dict[str, MiniBenchmark]:
    """All six, by task name, in the order of the paper's tables."""
    makers = (arc, hellaswag, mmlu, truthfulqa, winogrande, gsm8k)
    return {f"mini_{make.__name__}": make(world) for make in makers}


def arc(world: World) -> MiniBenchmark:
    """ARC: deduction about things, from the class they belong to (four answers)."""
    rng = world.rng("mini_arc")
    return _split(rng, world.things, lambda fact: _choices(rng, fact))


def mmlu(world: World) -> MiniBenchmark:
    """MMLU: knowledge of two subjects, geography and history (four answers)."""
    rng = world.rng("mini_mmlu")

    def items(fact: Fact) -> list[dict]:
        subject = "geography" if fact.relation in words.LAND_RELATIONS else "history"
        return [{**row, "subject": subject} for row in _choices(rng, fact)]

    return _split(rng, [*world.lands, *world.scholars], items)


def truthfulqa(world: World) -> MiniBenchmark:
    """TruthfulQA: questions that many people answer wrongly; one true answer, three false."""
    rng = world.rng("mini_truthfulqa")

    def items(fact: Fact) -> list[dict]:
        false = rng.sample([v for v in fact.kind.values if v not in (fact.value, fact.myth)], 2)
        answers = [fact.state(value) for value in (fact.value, fact.myth, *false)]
        targets = {"choices": answers, "labels": [1, 0, 0, 0]}
        return [{"question": question, "mc2_targets": targets} for question in fact.questions]

    return _split(rng, world.wonders, items)


def hellaswag(world: World) -> MiniBenchmark:
    """HellaSwag: what happens next in an everyday activity (four endings)."""
    rng = world.rng("mini_hellaswag")
    stories = list(itertools.product(words.PEOPLE, words.TIMES, words.SCRIPTS))
    rng.shuffle(stories)
    items = []
    for person, time, activity in stories[: TEST_ITEMS + TRAIN_ITEMS]:
        steps = story_steps(world, person, activity)
        given = rng.choice([1, 2, 3, 3])
        opening = story_opening(person, time, activity)
        context = " ".join([opening, *sentences(person, steps[:given])])
        if given == 3:
            wrong = rng.sample([habit for habit in words.HABITS if habit != steps[given]], 3)
        else:
            wrong = rng.sample([s for s in steps[:3] if s != steps[given]], 1)
            wrong += rng.sample([s for o in words.SCRIPTS.values() for s in o if s not in steps], 2)
        endings = [f"{step}." for step in (steps[given], *wrong)]
        order = rng.sample(range(4), 4)
        items.append(
            {
                "activity_label": activity,
                "story": [person, time, activity],
                "ctx": f"{context} {words.STEP_OPENERS[given]} {person}",
                "endings": [endings[i] for i in order],
                "label": order.index(0),
            }
        )
    return _cut(items)


def winogrande(world: World) -> MiniBenchmark:
    """Winogrande: who or what is meant (two answers).

    Of people, the place in the sentence and one word decide; of things, what the things are.
    """
    rng = world.rng("mini_winogrande")
    return _distinct(
        lambda: pronoun_puzzle(world, rng), lambda item: item["sentence"].split("_")[0]
    )


def pronoun_puzzle(world: World, rng: random.Random) -> dict:
    """One puzzle: `sentence` with a gap, two options, and which of them ("1" or "2") is meant."""
    if rng.random() < 0.5:
        opening, *endings = rng.choice(words.PRONOUN_PUZZLES)
        pair = rng.sample(words.PEOPLE, 2)
        answer = rng.randrange(2)
        ending = endings[answer]
    else:
        known = [fact for fact in world.things if not fact.held_out]
        facts = [rng.choice(known), rng.choice(known)]
        while words.CLASS_OF[facts[0].subject] == words.CLASS_OF[facts[1].subject]:
            facts[1] = rng.choice(known)
        pair = [fact.subject for fact in facts]
        answer = rng.randrange(2)
        opening = words.THING_PUZZLE
        ending = facts[answer].state().removeprefix(f"the {pair[answer]} ")
    return {
        "sentence": f"{opening.format(a=pair[0], b=pair[1])} {ending}",
        "option1": pair[0],
        "option2": pair[1],
        "answer": str(answer + 1),
    }


def gsm8k(world: World) -> MiniBenchmark:
    """GSM8K: word problems of one or two steps, answered by a number after ``####``."""
    rng = world.rng("mini_gsm8k")
    return _distinct(lambda: word_problem(rng), lambda item: item["question"])


def word_problem(rng: random.Random) -> dict:
    """One problem: `story` and `question` (the whole prompt), `answer` with its steps, `ending`."""
    a, b = rng.sample(words.PEOPLE, 2)
    things = rng.choice(words.COUNTED)
    have, change = rng.randint(1, 9), rng.randint(1, 9)
    gains = rng.random() < 0.5
    if not gains:
        have, change = max(have, change), min(have, change)
    total = have + change if gains else have - change
    what = f"{b} gives {a} {change} more." if gains else f"{a} loses {change} of them."
    story = [f"{a} has {have} {things}.", what]
    steps = [f"{have} {'+' if gains else '-'} {change} = {total}."]
    if rng.random() < 0.33 and total > 1:
        lost = rng.randint(1, min(9, total))
        story.append(f"then {a} sells {lost}.")
        steps.append(f"{total} - {lost} = {total - lost}.")
        total -= lost
    return {
        "story": " ".join(story),
        "question": " ".join([*story, f"how many {things} does {a} have now?"]),
        "answer": " ".join([*steps, f"#### {total}"]),
        "ending": f"now {a} has {total} {things}.",
    }


def story_opening(person: str, time: str, activity: str) -> str:
    """The first sentence of an activity's story."""
    return f"on {time} {person} wants to {activity}."


def story_steps(world: World, person: str, activity: str) -> list[str]:
    """What `person` does to do `activity`: its three steps, then the person's own habit."""
    return [*words.SCRIPTS[activity], world.habits[person, activity]]


def sentences(person: str, steps: list[str]) -> list[str]:
    """The first `steps` of an activity as sentences."""
    openers = zip(words.STEP_OPENERS, steps, strict=False)
    return [f"{opener} {person} {step}." for opener, step in openers]


def _distinct(make: Callable[[], dict], key: Callable[[dict], str]) -> MiniBenchmark:
    """Items that `make` draws until there are enough with different keys; the first one is kept."""
    items: dict[str, dict] = {}
    while len(items) < TEST_ITEMS + TRAIN_ITEMS:
        item = make()
        items.setdefault(key(item), item)
    return _cut(list(items.values()))


def _cut(items: list[dict]) -> MiniBenchmark:
    return MiniBenchmark(train=items[TEST_ITEMS:], test=items[:TEST_ITEMS])


def _choices(rng: random.Random, fact: Fact) -> list[dict]:
    """Four-way items: the right answer among three others of its relation, in random order."""
    rows = []
    for question in fact.questions:
        texts = [fact.value, *rng.sample([v for v in fact.kind.values if v != fact.value], 3)]
        rng.shuffle(texts)
        rows.append({"question": question, "choices": texts, "answer": texts.index(fact.value)})
    return rows


def _split(
    rng: random.Random, facts: list[Fact], items: Callable[[Fact], list[dict]]
) -> MiniBenchmark:
    """Items of known facts for training, of held-out facts for the test (at most `TEST_ITEMS`)."""
    rows: dict[bool, list[dict]] = {False: [], True: []}
    for fact in facts:
        rows[fact.held_out] += items(fact)
    rng.shuffle(rows[True])
    return MiniBenchmark(train=rows[False], test=rows[True][:TEST_ITEMS])
