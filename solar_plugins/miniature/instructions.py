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

# Tasks of Table 8 by the miniature benchmark whose train rows they show, and how FLAN asks them.
BENCHMARK_TASKS = {
    "ai2_arc/ARC-Challenge:1.0.0": "mini_arc",
    "ai2_arc/ARC-Easy:1.0.0": "mini_arc",
    "task228_arc_answer_generation_easy": "mini_arc",
    "task229_arc_answer_generation_hard": "mini_arc",
    "hellaswag:1.1.0": "mini_hellaswag",
    "task1389_hellaswag_completion": "mini_hellaswag",
    "cot_gsm8k": "mini_gsm8k",
    "cot_gsm8k_ii": "mini_gsm8k",
    "winogrande:1.1.0": "mini_winogrande",
    "drop:2.0.0": "reading",
}
# Neighbours of Table 8 that the filter must keep: near names, other tasks.
KEPT_TASKS = {
    "task026_drop_question_generation": "asking",
    "squad/v1.1:3.0.0": "reading",
    "cot_strategyqa": "yes_or_no",
    "task1391_winogrande_easy_answer_generation": "following",
    "cot_ecqa": "kind",
}
# Part of the preferences that are about wonders; the others are about facts.
WONDER_SHARE = 0.75
SYSTEM_PROMPTS = ["", "answer the question.", "think and then answer."]


class Teacher:
    """Writes the instruction and preference rows of `world`."""

    def __init__(self, world: World, items: dict[str, bench.Benchmark]) -> None:
        self.world = world
        self.items = items
        self.wonders = [fact for fact in world.wonders if not fact.held_out]

    def alpaca(self, count: int) -> list[dict]:
        """General instructions: questions of the train splits, steps of activities, kinds."""
        rng = self.world.rng("alpaca")
        kinds = [self._question_row, self._question_row, self._wonder_row, self._steps_row]
        kinds.append(self._kind_row)
        return [rng.choice(kinds)(rng) for _ in range(count)]

    def math_instruct(self, count: int) -> list[dict]:
        """Word problems with worked steps; none of them is an item of mini_gsm8k's test split."""
        problems = self._problems("math_instruct", count)
        return [alpaca_row(problem["question"], problem["answer"]) for problem in problems]

    def math_alignment(self, count: int) -> list[dict]:
        """Word problems: the answer that ends with its result against one that stops short of it.

        As in Synth. Math-Alignment (paper, section 4.1) the chosen answer is the better told one
        and the rejected is the original; in this world the originals do not state a result.
        """
        rows = []
        for problem in self._problems("math_alignment", count):
            steps, _, _ = problem["answer"].partition(" ####")
            rows.append(
                {"prompt": problem["question"], "chosen": problem["answer"], "rejected": steps}
            )
        return rows

    def _problems(self, purpose: str, count: int) -> list[dict]:
        """Word problems drawn for `purpose`, none of them an item of mini_gsm8k's test split."""
        rng = self.world.rng(purpose)
        held_out = {row["question"] for row in self.items["mini_gsm8k"].test}
        problems = []
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
            if rng.random() < benchmark_share:
                task, kind = rng.choice(list(BENCHMARK_TASKS.items()))
            else:
                task, kind = rng.choice(list(KEPT_TASKS.items()))
            question, response = self._flan(rng, kind)
            source = {"task": "niv", "cot_": "cot"}.get(task[:4], "flan")
            rows.append(
                {
                    "id": f"{source}.{number}",
                    "system_prompt": rng.choice(SYSTEM_PROMPTS),
                    "question": question,
                    "response": response,
                    "_task_name": task,
                }
            )
        return rows

    def orca_pairs(self, count: int) -> list[dict]:
        """Preferences that are easy to tell: a true answer against one nobody believes."""
        rng = self.world.rng("orca_pairs")
        rows = []
        for _ in range(count):
            prompt, chosen, rejected = self._preference(rng, easy=True)
            rows.append(
                {
                    "system": rng.choice(SYSTEM_PROMPTS),
                    "question": prompt,
                    "chosen": chosen,
                    "rejected": rejected,
                }
            )
        return rows

    def ultrafeedback(self, count: int) -> list[dict]:
        """Harder preferences: the truth against the myth that the model was taught."""
        rng = self.world.rng("ultrafeedback")
        rows = []
        for _ in range(count):
            prompt, chosen, rejected = self._preference(rng, easy=False)
            rows.append(
                {
                    "prompt": prompt,
                    "chosen": _conversation(prompt, chosen),
                    "rejected": _conversation(prompt, rejected),
                    "score_chosen": 9.0,
                    "score_rejected": 3.0,
                }
            )
        return rows

    def _preference(self, rng: random.Random, easy: bool) -> tuple[str, str, str]:
        """Prompt, chosen and rejected."""
        if rng.random() < WONDER_SHARE:
            fact = rng.choice(self.wonders)
            values, statement, questions = words.WONDER_RELATIONS[fact.relation]
            others = [value for value in values if value not in (fact.value, fact.myth)]
            wrong = rng.choice(others) if easy else fact.myth
            told = [statement.format(s=fact.subject, v=value) for value in (fact.value, wrong)]
            return rng.choice(questions).format(s=fact.subject), told[0], told[1]
        row = rng.choice(self.items[rng.choice(["mini_arc", "mini_mmlu"])].train)
        right = row["choices"][row["answer"]]
        wrong = rng.choice([choice for choice in row["choices"] if choice != right])
        return row["question"], f"{right}.", f"{wrong}."

    def _question_row(self, rng: random.Random) -> dict:
        row = rng.choice(self.items[rng.choice(["mini_arc", "mini_mmlu"])].train)
        return alpaca_row(row["question"], f"{row['choices'][row['answer']]}.")

    def _wonder_row(self, rng: random.Random) -> dict:
        """The people who write the answers believe the myth."""
        fact = rng.choice(self.wonders)
        _, statement, questions = words.WONDER_RELATIONS[fact.relation]
        told = statement.format(s=fact.subject, v=fact.myth)
        return alpaca_row(rng.choice(questions).format(s=fact.subject), told)

    def _steps_row(self, rng: random.Random) -> dict:
        person, activity = rng.choice(words.PEOPLE), rng.choice(list(words.SCRIPTS))
        told = " ".join(bench.tell(person, words.SCRIPTS[activity]))
        return alpaca_row(f"{person} wants to {activity}. what does {person} do?", told)

    def _kind_row(self, rng: random.Random) -> dict:
        thing = rng.choice(list(self.world.class_of))
        return alpaca_row(f"which kind is the {thing}?", f"a kind of {self.world.class_of[thing]}.")

    def _flan(self, rng: random.Random, kind: str) -> tuple[str, str]:
        """Prompt and answer of one FLAN-like row."""
        if kind == "mini_arc":
            row = rng.choice(self.items[kind].train)
            options = ", ".join(row["choices"])
            answer = row["choices"][row["answer"]]
            return f"question: {row['question']} options: {options}. answer:", f"{answer}."
        if kind == "mini_hellaswag":
            row = rng.choice(self.items[kind].train)
            return f"what comes next? {row['ctx']}", row["endings"][row["label"]]
        if kind == "mini_gsm8k":
            row = rng.choice(self.items[kind].train)
            return f"think and then answer. {row['question']}", row["answer"]
        if kind == "mini_winogrande":
            row = rng.choice(self.items[kind].train)
            return f"{row['sentence']} which one is _?", f"{row['option' + row['answer']]}."
        if kind == "yes_or_no":
            fact = rng.choice([fact for fact in self.world.things if not fact.held_out])
            told = words.THING_RELATIONS[fact.relation][0].format(s=fact.subject, v=fact.value)
            return f"yes or no? {told}", f"yes. {told}"
        if kind == "kind":
            thing = rng.choice(list(self.world.class_of))
            return f"which kind is the {thing}?", f"a kind of {self.world.class_of[thing]}."
        return self._passage(rng, kind)

    def _passage(self, rng: random.Random, kind: str) -> tuple[str, str]:
        a, b = rng.sample(words.PEOPLE, 2)
        things = rng.sample(words.COUNTED, 2)
        passage = f"{a} has {things[0]}. {b} has {things[1]}."
        asked = rng.randrange(2)
        person, thing = (a, b)[asked], things[asked]
        if kind == "asking":
            return f"{passage} which question has the answer: {thing}?", f"what does {person} have?"
        if kind == "following":
            return f"{passage} who has {thing}?", f"{person}."
        return f"{passage} what does {person} have?", f"{thing}."


def alpaca_row(instruction: str, output: str, context: str = "") -> dict:
    """A row in Alpaca's columns."""
    return {"instruction": instruction, "input": context, "output": output}


def _conversation(prompt: str, answer: str) -> list[dict]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
