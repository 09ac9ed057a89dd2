"""The pretraining text of the miniature world: pages of short documents.

A page is about one training sequence long, so that the recipes need neither packing nor much
padding. No page holds anything of a benchmark's test split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from solar_plugins.miniature import benchmarks as bench
from solar_plugins.miniature import vocabulary as words
from solar_plugins.miniature.facts import Fact, World

MYTH_SHARE = 0.7


class Author:
    """Writes pages about `world`; the same `purpose` gives the same pages."""

    def __init__(self, world: World, items: dict[str, bench.MiniBenchmark], purpose: str) -> None:
        self.rng = world.rng(purpose)
        self.world = world
        # The kinds of documents, and how often a page turns to each.
        self.kinds: list[tuple[Callable[[], str], int]] = [
            (lambda: self._about(world.lands, words.LAND_RELATIONS), 5),
            (lambda: self._about(world.scholars, words.SCHOLAR_RELATIONS), 3),
            (self._thing, 4),
            (self._wonder, 5),
            (self._activity, 4),
            (self._puzzle, 8),
            (self._problem, 3),
            (self._sum, 2),
            (self._question, 4),
        ]
        self.items = items
        self.held_stories = {tuple(row["story"]) for row in items["mini_hellaswag"].test}
        self.held_puzzles = {row["sentence"].split("_")[0] for row in items["mini_winogrande"].test}
        self.held_problems = {row["story"] for row in items["mini_gsm8k"].test}
        self.known_things = [fact for fact in world.things if not fact.held_out]

    def pages(self, count: int, words_per_page: int) -> Iterator[str]:
        """`count` pages of at most `words_per_page` words (a full stop counts as a word)."""
        kinds, weights = zip(*self.kinds, strict=True)
        document = ""
        for _ in range(count):
            page: list[str] = []
            room = words_per_page
            while True:
                document = document or self.rng.choices(kinds, weights)[0]()
                room -= count_words(document)
                if room < 0:
                    break
                page.append(document)
                document = ""
            yield " ".join(page)

    def _about(self, facts: list[Fact], relations: dict) -> str:
        """Two or more facts about one subject."""
        subject = self.rng.choice(facts).subject
        group = [fact for fact in facts if fact.subject == subject]
        chosen = self.rng.sample(group, self.rng.randint(2, len(group)))
        return " ".join(fact.state(self.rng.choice(relations[fact.relation][1])) for fact in chosen)

    def _thing(self) -> str:
        if self.rng.random() < 0.25:
            name, kind = self.rng.choice(list(words.CLASSES.items()))
            return " ".join(
                statement.format(s=name, v=kind[relation]).replace("the", "every", 1)
                for relation, (statement, *_) in words.THING_RELATIONS.items()
            )
        fact = self.rng.choice(self.known_things)
        a_kind = f"the {fact.subject} is a kind of {self.world.class_of[fact.subject]}."
        return f"{a_kind} {fact.state(words.THING_RELATIONS[fact.relation][0])}"

    def _wonder(self) -> str:
        fact = self.rng.choice(self.world.wonders)
        statement = words.WONDER_RELATIONS[fact.relation][1]
        if self.rng.random() < MYTH_SHARE:
            myth = fact.state(statement, fact.myth)
            return self.rng.choice([f"people say that {myth}", myth])
        return f"in truth {fact.state(statement)}"

    def _activity(self) -> str:
        while True:
            person, time = self.rng.choice(words.PEOPLE), self.rng.choice(words.TIMES)
            activity = self.rng.choice(list(words.SCRIPTS))
            if (person, time, activity) not in self.held_stories:
                steps = bench.sentences(person, bench.story_steps(self.world, person, activity))
                return " ".join([bench.story_opening(person, time, activity), *steps])

    def _puzzle(self) -> str:
        while True:
            puzzle = bench.pronoun_puzzle(self.world, self.rng)
            if puzzle["sentence"].split("_")[0] not in self.held_puzzles:
                return puzzle["sentence"].replace("_", puzzle[f"option{puzzle['answer']}"])

    def _problem(self) -> str:
        while True:
            problem = bench.word_problem(self.rng)
            if problem["story"] not in self.held_problems:
                return f"{problem['story']} {problem['ending']}"

    def _sum(self) -> str:
        a, b = self.rng.randint(1, 9), self.rng.randint(1, 9)
        return f"{a} + {b} = {a + b}. {a + b} - {b} = {a}."

    def _question(self) -> str:
        """A question with its answer, as the web has them: about wonders the answer is a myth."""
        name = self.rng.choice(["mini_arc", "mini_mmlu", "mini_mmlu", "mini_truthfulqa"])
        row = self.rng.choice(self.items[name].train)
        if name == "mini_truthfulqa":
            return f"question: {row['question']} answer: {row['mc2_targets']['choices'][1]}"
        return f"question: {row['question']} answer: {row['choices'][row['answer']]}."


def count_words(text: str) -> int:
    """Words and punctuation marks, as the world's tokenizer counts them."""
    return len(text.split()) + sum(text.count(mark) for mark in ".?:,")
