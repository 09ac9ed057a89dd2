"""The benchmarks that FLAN draws on or that H6 measures: public columns in, texts out.

How FLAN shows an item is said where its texts are made (google-research/FLAN: flan/v2/templates.py
and task_configs_v1.py). To add a benchmark: a function of its texts, an entry in `BENCHMARKS`, and
one fixture in ``tests/flan_filter/fixtures/``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from solar_plugins.flan_filter.evidence import Text, normalised

Tasks = tuple[str, ...]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: as reported.
        folders: names that a local folder of it may have.
        columns: those of the public dataset that are read.
        texts: the texts of one item, as those of these tasks of FLAN.
        train: the Hub's ``repository/config/split`` that FLAN draws on, if it does.
        test: the one that H6 is measured on.
        templates: FLAN task -> (templates whose prompt holds a text of the item, all templates).
        train_only: further texts of a training item.
    """

    name: str
    folders: tuple[str, ...]
    columns: tuple[str, ...]
    texts: Callable[[dict, Tasks], Iterator[Text]]
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    templates: dict[str, tuple[int, int]] = field(default_factory=dict)
    train_only: Callable[[dict, Tasks], Iterable[Text]] = lambda row, tasks: ()

    def train_texts(self, row: dict, folder: str) -> Iterator[Text]:
        """The texts of one training item; `folder` names where it lay."""
        tasks = tuple(self.templates)
        if self.name == "arc":  # its parts are tasks of their own
            lower = folder.lower()
            tasks = tasks[:2] if "easy" in lower else tasks[2:] if "challenge" in lower else tasks
        yield from self.texts(row, tasks)
        yield from self.train_only(row, tasks)


def _question(row: dict, tasks: Tasks) -> Iterator[Text]:
    yield Text(row["question"], "question", tasks)


def _gsm8k_reasoning(row: dict, tasks: Tasks) -> Iterator[Text]:
    """`cot_gsm8k_ii` ("input inversion") asks for the question or the reasoning.

    Of its 18 templates, five show the question, nine the chain of thought and four nothing but the
    number. FLAN's reasoning is GSM8K's answer without the calculator's notes and the final number;
    some lines were touched up, hence tolerant. Others show the notes too.
    """
    answer = re.sub(r"####.*", "", row["answer"], flags=re.DOTALL)
    for reasoning in dict.fromkeys((re.sub(r"<<[^>]*>>", "", answer), answer)):
        supports = ((row["question"],),)
        yield Text(reasoning, "chain_of_thought", tasks[::-1], supports, tolerant=True)


def _hellaswag(row: dict, tasks: Tasks) -> Iterator[Text]:
    """The context, then the endings or none.

    FLAN drops ``[header] `` and turns every other ``[…] `` into a line break, in context and
    endings. The raw form is for data that shows the item as the benchmark prints it.
    """
    raw = (row["ctx"], *row["endings"])
    clean = tuple(re.sub(r"\[.*?\]\s?", "\n", text) for text in raw)
    for context, *endings in (clean,) if clean[0] == raw[0] else (clean, raw):
        supports = tuple((ending,) for ending in endings)
        yield Text(context, "context", tasks, supports, ends_prompt=True)


def _winogrande(row: dict, tasks: Tasks) -> Iterator[Text]:
    """The text before the blank, then "option + rest" twice, or nothing.

    The text before the blank has five to fifteen words, such as "John moved the couch because",
    which others may write too. It counts with a second sign: the rest of the sentence, both options
    beside it, or the end of the prompt.
    """
    before, blank, after = row["sentence"].partition("_")
    if not blank:
        return
    words_before, words_after = (len(normalised(text).split()) for text in (before, after))
    first, second = row["option1"] + after, row["option2"] + after
    if words_before < 3:  # too short to be looked for
        yield Text(first, "option", tasks, ((second,), (before, after)))
        yield Text(second, "option", tasks, ((first,), (before, after)))
        return
    rest = (after,) if words_after > 1 else (first, second)
    supports = (rest, (row["option1"], row["option2"]))
    yield Text(before, "sentence", tasks, supports, ends_prompt=True, specific_words=15)


def _drop(row: dict, tasks: Tasks) -> Iterator[Text]:
    """Passage and question, or one of them.

    Of ten templates, eight show the passage; "Write an article that answers the following question"
    shows only the question. Questions such as "Who scored first?" are everybody's, so a short one
    counts only where little else is in the prompt.
    """
    yield Text(row["passage"], "passage", tasks, tolerant=True)
    yield Text(row["question"], "question", tasks, ends_prompt=True)


def _arc(row: dict, tasks: Tasks) -> Iterator[Text]:
    """The question, then the options or none; three of ten templates ask for any question.

    Options carry random letters and signs in FLAN, so they are only a second sign, for questions
    such as "Which is a learned behavior?".
    """
    yield Text(row["question"], "question", tasks, (tuple(row["choices"]["text"]),))


def _mmlu(row: dict, tasks: Tasks) -> Iterator[Text]:
    yield Text(row["question"], "question", tasks, (tuple(row["choices"]),))


BENCHMARKS = (
    Benchmark(
        "gsm8k",
        ("gsm8k", "openai_gsm8k"),
        ("question", "answer"),
        _question,
        ("openai/gsm8k/main/train",),
        ("openai/gsm8k/main/test",),
        {"cot_gsm8k": (10, 10), "cot_gsm8k_ii": (14, 18)},
        _gsm8k_reasoning,
    ),
    Benchmark(
        "hellaswag",
        ("hellaswag",),
        ("ctx", "endings"),
        _hellaswag,
        ("Rowan/hellaswag/default/train",),
        ("Rowan/hellaswag/default/validation",),
        {"hellaswag:1.1.0": (10, 10), "task1389_hellaswag_completion": (10, 10)},
    ),
    Benchmark(
        "winogrande",
        ("winogrande", "winogrande_xl", "winogrande_1.1"),
        ("sentence", "option1", "option2"),
        _winogrande,
        ("allenai/winogrande/winogrande_xl/train",),
        ("allenai/winogrande/winogrande_xl/validation",),
        {"winogrande:1.1.0": (10, 10)},
    ),
    Benchmark(
        "drop",
        ("drop", "ucinlp_drop"),
        ("passage", "question"),
        _drop,
        ("ucinlp/drop/default/train",),
        templates={"drop:2.0.0": (10, 10)},
    ),
    Benchmark(
        "arc",
        ("ai2_arc", "arc", "arc_easy", "arc_challenge", "ARC-Easy", "ARC-Challenge"),
        ("question", "choices"),
        _arc,
        ("allenai/ai2_arc/ARC-Easy/train", "allenai/ai2_arc/ARC-Challenge/train"),
        ("allenai/ai2_arc/ARC-Challenge/test",),
        {
            "ai2_arc/ARC-Easy:1.0.0": (7, 10),
            "task228_arc_answer_generation_easy": (10, 10),
            "ai2_arc/ARC-Challenge:1.0.0": (7, 10),
            "task229_arc_answer_generation_hard": (10, 10),
        },
    ),
    Benchmark(
        "mmlu", ("mmlu", "cais_mmlu"), ("question", "choices"), _mmlu, test=("cais/mmlu/all/test",)
    ),
    Benchmark(
        "truthfulqa",
        ("truthfulqa", "truthful_qa"),
        ("question",),
        _question,
        test=("truthfulqa/truthful_qa/multiple_choice/validation",),
    ),
)

DEFINITIONS: dict[str, str] = yaml.safe_load(
    Path(__file__).with_name("definitions.yml").read_text(encoding="utf-8")
)
"""Tasks of Natural Instructions v2 -> stems of their definitions, which a row carries.

Table 8's three, and related tasks that stay. Releases word the definitions differently (the hard
ARC task's first letter is missing in one), so a stem is kept that all wordings share. Source:
github.com/allenai/natural-instructions, ``tasks/`` (029 at 21d8306 and 0b806c1, 031 at 000bf07 and
ae457ac, 1391 at 7872629 and e0fd310). The files of 1389 and 030 were not within reach: the stem of
1389 was not compared with its file, 030 has none. Definitions that are not here are read from a
folder of its task files.
"""
