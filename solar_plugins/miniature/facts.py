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

    @property
    def kind(self) -> words.Relation:
        return words.RELATIONS[self.relation]

    @property
    def questions(self) -> list[str]:
        """The ways to ask for its value."""
        return [question.format(s=self.subject) for question in self.kind.questions]

    def state(self, value: str = "", statement: str = "") -> str:
        """Its first statement, or another one, with its value or another one."""
        statement = statement or self.kind.statements[0]
        return statement.format(s=self.subject, v=value or self.value)


@dataclass(frozen=True)
class World:
    """Everything that the texts, benchmarks and datasets of one seed are written from.

    Attributes:
        lands, scholars: facts that the pretraining text states. Questions about the held-out ones
            are asked in the benchmark's test split alone.
        things: (thing, relation, value of its class). Held-out ones are never stated: they follow
            from "the trout is a fish" and "every fish has fins".
        wonders: facts with a myth. The pretraining text repeats the myth more often than the truth.
        habits: each person's last step of an activity, by (person, activity).
        seed: every generator of the world is drawn from it and a name of its own.
    """

    seed: int
    lands: list[Fact]
    scholars: list[Fact]
    things: list[Fact]
    wonders: list[Fact]
    habits: dict[tuple[str, str], str]

    def rng(self, purpose: str) -> random.Random:
        """A generator for `purpose` alone: one part can grow without changing the others."""
        return random.Random(f"{self.seed}/{purpose}")


def build_world(seed: int) -> World:
    """Draw the world of `seed`: who grows what, what is made of what, what is believed."""
    rng = random.Random(f"{seed}/facts")

    def draw(subjects: list[str], relations: dict[str, words.Relation], drawn: int) -> list[Fact]:
        """Facts with a value, or with a value and a myth, at random; 60 % are held out."""
        pairs = itertools.product(subjects, relations.items())
        facts = [(s, name, of.values) for s, (name, of) in pairs]
        if drawn == 1:
            return hold_out([Fact(s, name, rng.choice(values)) for s, name, values in facts], 0.6)
        both = ((s, name, rng.sample(values, 2)) for s, name, values in facts)
        return hold_out([Fact(s, name, truth, myth=m) for s, name, (truth, m) in both], 0.6)

    def hold_out(facts: list[Fact], share: float) -> list[Fact]:
        held = set(rng.sample(range(len(facts)), round(share * len(facts))))
        return [replace(fact, held_out=index in held) for index, fact in enumerate(facts)]

    things = itertools.product(words.CLASS_OF.items(), words.THING_RELATIONS)
    return World(
        seed=seed,
        lands=draw(words.LANDS, words.LAND_RELATIONS, 1),
        scholars=draw(words.SCHOLARS, words.SCHOLAR_RELATIONS, 1),
        things=hold_out([Fact(t, r, words.CLASSES[kind][r]) for (t, kind), r in things], 0.35),
        wonders=draw(words.WONDERS, words.WONDER_RELATIONS, 2),
        habits={
            pair: rng.choice(words.HABITS)
            for pair in itertools.product(words.PEOPLE, words.SCRIPTS)
        },
    )
