"""Instruction and preference data of the miniature world, in the public datasets' columns.

====================  ==========================================================================
file                  columns of
====================  ==========================================================================
alpaca.jsonl          Alpaca-GPT4 (instruction, input, output)
orca.jsonl            OpenOrca (id, system_prompt, question, response) with FLAN's _task_name
math_instruct.jsonl   Synth. Math-Instruct as Alpaca rows
math_alignment.jsonl  Synth. Math-Alignment (prompt, chosen, rejected)
orca_pairs.jsonl      Intel/orca_dpo_pairs (system, question, chosen, rejected)
ultrafeedback.jsonl   ultrafeedback_binarized_cleaned (prompt, chosen[], rejected[], scores)
====================  ==========================================================================

Only train splits of the benchmarks and facts that are not held out are used.
"""

from __future__ import annotations

import random

from solar_plugins.miniature import benchmarks as bench
from solar_plugins.miniature import vocabulary as words
from solar_plugins.miniature.facts import World

# Part of the preferences that are about wonders; the others are about facts.
WONDER_SHARE = 0.75
SYSTEM_PROMPTS = ["", "answer the question.", "think and then answer."]


class Teacher:
    """Writes the instruction and preference rows of `world`; each file has a generator of its own.

    Of the benchmarks `items` the train splits are shown.
    """

    def __init__(self, world: World, items: dict[str, bench.MiniBenchmark]) -> None:
        self.world = world
        self.items = items
        self.wonders = [fact for fact in world.wonders if not fact.held_out]

    def alpaca(self, count: int) -> list[dict]:
        """General instructions: questions of the train splits, steps of activities, kinds."""
        rng = self.world.rng("alpaca")
        kinds = [self._question, self._question, self._wonder, self._steps, self._kind]
        return [_alpaca_row(*rng.choice(kinds)(rng)) for _ in range(count)]

    def math_instruct(self, count: int) -> list[dict]:
        """Word problems with worked steps."""
        problems = self._problems("math_instruct", count)
        return [_alpaca_row(problem["question"], problem["answer"]) for problem in problems]

    def math_alignment(self, count: int) -> list[dict]:
        """Word problems: the answer that ends with its result against one that stops short of it.

        As in Synth. Math-Alignment (paper, section 3) the chosen answer is the reworded one and
        the rejected is the original; in this world the originals do not state a result.
        """
        problems = self._problems("math_alignment", count)
        pairs = [
            (one["question"], one["answer"], one["answer"].split(" ####")[0]) for one in problems
        ]
        return [dict(zip(("prompt", "chosen", "rejected"), pair, strict=True)) for pair in pairs]

    def _problems(self, purpose: str, count: int) -> list[dict]:
        """Word problems drawn for `purpose`, none of them an item of mini_gsm8k's test split."""
        rng = self.world.rng(purpose)
        held_out = {row["question"] for row in self.items["mini_gsm8k"].test}
        problems: list[dict] = []
        while len(problems) < count:
            problem = bench.word_problem(rng)
            if problem["question"] not in held_out:
                problems.append(problem)
        return problems

    def orca(self, count: int, benchmark_share: float) -> list[dict]:
        """FLAN-like rows with task names, `benchmark_share` of them of Table 8's tasks."""
        rng = self.world.rng("orca")
        rows = []
        for number in range(count):
            tasks = words.BENCHMARK_TASKS if rng.random() < benchmark_share else words.KEPT_TASKS
            task, kind = rng.choice(list(tasks.items()))
            question, response = self._flan(rng, kind)
            source = {"task": "niv", "cot_": "cot"}.get(task[:4], "flan")
            row = {"id": f"{source}.{number}", "system_prompt": rng.choice(SYSTEM_PROMPTS)}
            rows.append(row | {"question": question, "response": response, "_task_name": task})
        return rows

    def orca_pairs(self, count: int) -> list[dict]:
        """Preferences that are easy to learn: a true answer against one nobody believes."""
        rng = self.world.rng("orca_pairs")
        rows = []
        for _ in range(count):
            prompt, chosen, rejected = self._preference(rng, easy=True)
            row = {"system": rng.choice(SYSTEM_PROMPTS), "question": prompt}
            rows.append(row | {"chosen": chosen, "rejected": rejected})
        return rows

    def ultrafeedback(self, count: int) -> list[dict]:
        """Harder preferences: the truth against the myth that the model was taught."""
        rng = self.world.rng("ultrafeedback")
        rows = []
        for _ in range(count):
            prompt, *answers = self._preference(rng, easy=False)
            user = {"role": "user", "content": prompt}
            chosen, rejected = ([user, {"role": "assistant", "content": a}] for a in answers)
            row = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
            rows.append({**row, "score_chosen": 9.0, "score_rejected": 3.0})
        return rows

    def _preference(self, rng: random.Random, easy: bool) -> tuple[str, str, str]:
        """Prompt, chosen and rejected."""
        if rng.random() < WONDER_SHARE:
            fact = rng.choice(self.wonders)
            others = [value for value in fact.kind.values if value not in (fact.value, fact.myth)]
            wrong = rng.choice(others) if easy else fact.myth
            return rng.choice(fact.questions), fact.state(), fact.state(wrong)
        row = self._choice(rng)
        right = row["choices"][row["answer"]]
        wrong = rng.choice([choice for choice in row["choices"] if choice != right])
        return row["question"], f"{right}.", f"{wrong}."

    def _choice(self, rng: random.Random) -> dict:
        return rng.choice(self.items[rng.choice(["mini_arc", "mini_mmlu"])].train)

    # Prompt and answer of one row each.

    def _question(self, rng: random.Random) -> tuple[str, str]:
        row = self._choice(rng)
        return row["question"], f"{row['choices'][row['answer']]}."

    def _wonder(self, rng: random.Random) -> tuple[str, str]:
        """The people who write the answers believe the myth."""
        fact = rng.choice(self.wonders)
        return rng.choice(fact.questions), fact.state(fact.myth)

    def _steps(self, rng: random.Random) -> tuple[str, str]:
        person, activity = rng.choice(words.PEOPLE), rng.choice(list(words.SCRIPTS))
        steps = " ".join(bench.sentences(person, words.SCRIPTS[activity]))
        return f"{person} wants to {activity}. what does {person} do?", steps

    def _kind(self, rng: random.Random) -> tuple[str, str]:
        thing = rng.choice(list(words.CLASS_OF))
        return f"which kind is the {thing}?", f"a kind of {words.CLASS_OF[thing]}."

    def _flan(self, rng: random.Random, kind: str) -> tuple[str, str]:
        if kind in self.items:
            row = rng.choice(self.items[kind].train)
            if kind == "mini_arc":
                options = ", ".join(row["choices"])
                question = f"question: {row['question']} options: {options}. answer:"
                return question, f"{row['choices'][row['answer']]}."
            if kind == "mini_hellaswag":
                return f"what comes next? {row['ctx']}", row["endings"][row["label"]]
            if kind == "mini_gsm8k":
                return f"think and then answer. {row['question']}", row["answer"]
            return f"{row['sentence']} which one is _?", f"{row['option' + row['answer']]}."
        if kind == "yes_or_no":
            fact = rng.choice([fact for fact in self.world.things if not fact.held_out])
            return f"yes or no? {fact.state()}", f"yes. {fact.state()}"
        if kind == "kind":
            return self._kind(rng)
        people, things = rng.sample(words.PEOPLE, 2), rng.sample(words.COUNTED, 2)
        passage = f"{people[0]} has {things[0]}. {people[1]} has {things[1]}."
        asked = rng.randrange(2)
        person, thing = people[asked], things[asked]
        if kind == "asking":
            return f"{passage} which question has the answer: {thing}?", f"what does {person} have?"
        if kind == "following":
            return f"{passage} who has {thing}?", f"{person}."
        return f"{passage} what does {person} have?", f"{thing}."


def _alpaca_row(instruction: str, output: str) -> dict:
    return {"instruction": instruction, "input": "", "output": output}
