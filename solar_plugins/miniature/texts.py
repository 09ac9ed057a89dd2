"""The pretraining text of the miniature world: pages of short documents.

A page is about one training sequence long, so that the recipes need neither packing nor much
padding. No page holds anything of a benchmark's test split.
"""

from __future__ import annotations

from collections.abc import Iterator

from solar_plugins.miniature import benchmarks as bench
from solar_plugins.miniature import vocabulary as words
from solar_plugins.miniature.facts import Fact, World

MYTH_SHARE = 0.7


class Author:
    """Writes pages about `world`; the same `purpose` gives the same pages."""

    def __init__(self, world: World, items: dict[str, bench.MiniBenchmark], purpose: str) -> None:
        self.rng = world.rng(purpose)
        self.world = world
        self.items = items
        self.held_stories = {tuple(row["story"]) for row in items["mini_hellaswag"].test}
        self.held_puzzles = {row["sentence"].split("_")[0] for row in items["mini_winogrande"].test}
        self.held_problems = {row["story"] for row in items["mini_gsm8k"].test}
        self.known_things = [fact for fact in world.things if not fact.held_out]

    def pages(self, count: int, words_per_page: int) -> Iterator[str]:
        """`count` pages of at most `words_per_page` words (a full stop counts as a word)."""
        kinds = {  # of documents, and how often a page turns to each
            lambda: self._about(self.world.lands): 5,
            lambda: self._about(self.world.scholars): 3,
            self._thing: 4,
            self._wonder: 5,
            self._activity: 4,
            self._puzzle: 8,
            self._problem: 3,
            self._sum: 2,
            self._question: 4,
        }
        document = ""
        for _ in range(count):
            page: list[str] = []
            room = words_per_page
            while True:
                document = document or self.rng.choices(list(kinds), list(kinds.values()))[0]()
                # Punctuation marks count, as for the world's tokenizer.
                room -= len(document.split()) + sum(document.count(mark) for mark in ".?:,")
                if room < 0:
                    break
                page.append(document)
                document = ""
            yield " ".join(page)

    def _about(self, facts: list[Fact]) -> str:
        """Two or more facts about one subject."""
        subject = self.rng.choice(facts).subject
        group = [fact for fact in facts if fact.subject == subject]
        chosen = self.rng.sample(group, self.rng.randint(2, len(group)))
        said = (fact.state(statement=self.rng.choice(fact.kind.statements)) for fact in chosen)
        return " ".join(said)

    def _thing(self) -> str:
        if self.rng.random() < 0.25:
            name, kind = self.rng.choice(list(words.CLASSES.items()))
            facts = (Fact(name, relation, value) for relation, value in kind.items())
            return " ".join(fact.state().replace("the", "every", 1) for fact in facts)
        fact = self.rng.choice(self.known_things)
        return f"the {fact.subject} is a kind of {words.CLASS_OF[fact.subject]}. {fact.state()}"

    def _wonder(self) -> str:
        fact = self.rng.choice(self.world.wonders)
        if self.rng.random() < MYTH_SHARE:
            myth = fact.state(fact.myth)
            return self.rng.choice([f"people say that {myth}", myth])
        return f"in truth {fact.state()}"

    def _activity(self) -> str:
        lists = (words.PEOPLE, words.TIMES, list(words.SCRIPTS))
        story = person, time, activity = [self.rng.choice(one) for one in lists]
        if tuple(story) in self.held_stories:
            return self._activity()
        steps = bench.sentences(person, bench.story_steps(self.world, person, activity))
        return " ".join([bench.story_opening(person, time, activity), *steps])

    def _puzzle(self) -> str:
        puzzle = bench.pronoun_puzzle(self.world, self.rng)
        if puzzle["sentence"].split("_")[0] in self.held_puzzles:
            return self._puzzle()
        return puzzle["sentence"].replace("_", puzzle[f"option{puzzle['answer']}"])

    def _problem(self) -> str:
        problem = bench.word_problem(self.rng)
        if problem["story"] in self.held_problems:
            return self._problem()
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
