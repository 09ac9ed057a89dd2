"""The facts of the miniature world, the myths that its people believe, and what is held out."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace

from solar_plugins.miniature import vocabulary as words


@dataclass(frozen=True)
class Fact:
    """`subject` has `value` for `relation`; `myth`: the wrong value that people believe, if any."""

    subject: str
    relation: str
    value: str
    held_out: bool = False
    myth: str = ""

    def state(self, statement: str, value: str = "") -> str:
        """`statement`, which has the places {s} and {v}, with the fact's value or another one."""
        return statement.format(s=self.subject, v=value or self.value)


@dataclass(frozen=True)
class World:
    """Everything that the texts, benchmarks and datasets of one seed are written from.

    Attributes:
        lands, scholars: facts that are stated in the pretraining text. Questions about the
            held-out ones are asked in the benchmark's test split alone.
        things: (thing, relation, value of its class). Held-out ones are never stated: they follow
            from "the trout is a fish" and "every fish has fins".
        wonders: facts with a myth. The pretraining text repeats the myth more often than the truth.
        class_of: the class of each thing.
        habits: each person's last step of an activity, by (person, activity).
        seed: every generator of the world is drawn from it and a name of its own.
    """

    seed: int
    lands: list[Fact]
    scholars: list[Fact]
    things: list[Fact]
    wonders: list[Fact]
    class_of: dict[str, str]
    habits: dict[tuple[str, str], str]

    def rng(self, purpose: str) -> random.Random:
        """A generator for `purpose` alone: one part can grow without changing the others."""
        return random.Random(f"{self.seed}/{purpose}")


def build_world(seed: int) -> World:
    """Draw the world of `seed`: who grows what, what is made of what, what is believed."""
    rng = random.Random(f"{seed}/facts")
    class_of = {
        thing: name for name, kind in words.CLASSES.items() for thing in kind["members"].split()
    }
    things = [
        Fact(thing, relation, words.CLASSES[kind][relation])
        for thing, kind in class_of.items()
        for relation in words.THING_RELATIONS
    ]
    return World(
        seed=seed,
        lands=_hold_out(_draw(rng, words.LANDS, words.LAND_RELATIONS), 0.6, rng),
        scholars=_hold_out(_draw(rng, words.SCHOLARS, words.SCHOLAR_RELATIONS), 0.6, rng),
        things=_hold_out(things, 0.35, rng),
        wonders=_hold_out(_draw_with_myths(rng), 0.6, rng),
        class_of=class_of,
        habits={
            (person, activity): rng.choice(words.HABITS)
            for person in words.PEOPLE
            for activity in words.SCRIPTS
        },
    )


def _draw(rng: random.Random, subjects: list[str], relations: dict) -> list[Fact]:
    return [
        Fact(subject, relation, rng.choice(values))
        for subject in subjects
        for relation, (values, *_) in relations.items()
    ]


def _draw_with_myths(rng: random.Random) -> list[Fact]:
    pairs = itertools.product(words.WONDERS, words.WONDER_RELATIONS)
    drawn = ((s, r, rng.sample(words.WONDER_RELATIONS[r][0], 2)) for s, r in pairs)
    return [Fact(subject, relation, truth, myth=myth) for subject, relation, (truth, myth) in drawn]


def _hold_out(facts: list[Fact], share: float, rng: random.Random) -> list[Fact]:
    """The same facts in the same order, `share` of them marked as held out."""
    held = set(rng.sample(range(len(facts)), round(share * len(facts))))
    return [replace(fact, held_out=index in held) for index, fact in enumerate(facts)]
