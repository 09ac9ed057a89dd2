"""What is true in the miniature world, what its people believe, and which of it is held out."""

from __future__ import annotations

import random
from dataclasses import dataclass

from solar_plugins.miniature import vocabulary as words


@dataclass(frozen=True)
class Fact:
    """`subject` has `value` for `relation`; `myth` is what people wrongly say instead, if any."""

    subject: str
    relation: str
    value: str
    held_out: bool
    myth: str = ""


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
        habits: what a person does at the end of an activity, by (person, activity).
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
        """A generator of its own for `purpose`, so that one part can grow and leave the others."""
        return random.Random(f"{self.seed}/{purpose}")


def build_world(seed: int) -> World:
    """Draw the world of `seed`: who grows what, what is made of what, what is believed."""
    rng = random.Random(f"{seed}/facts")
    class_of = {
        thing: name for name, kind in words.CLASSES.items() for thing in kind["members"].split()
    }
    things = [
        Fact(thing, relation, words.CLASSES[class_of[thing]][relation], held_out=False)
        for thing in class_of
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
        Fact(subject, relation, rng.choice(values), held_out=False)
        for subject in subjects
        for relation, (values, *_) in relations.items()
    ]


def _draw_with_myths(rng: random.Random) -> list[Fact]:
    facts = []
    for subject in words.WONDERS:
        for relation, (values, *_) in words.WONDER_RELATIONS.items():
            truth, myth = rng.sample(values, 2)
            facts.append(Fact(subject, relation, truth, held_out=False, myth=myth))
    return facts


def _hold_out(facts: list[Fact], share: float, rng: random.Random) -> list[Fact]:
    """The same facts in the same order, `share` of them marked as held out."""
    held = set(rng.sample(range(len(facts)), round(share * len(facts))))
    return [
        Fact(fact.subject, fact.relation, fact.value, index in held, fact.myth)
        for index, fact in enumerate(facts)
    ]
