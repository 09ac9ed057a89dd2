"""What a preference row trains, under the chat templates that Axolotl ships and our own."""

from __future__ import annotations

import os
import random
import re
from importlib import util
from pathlib import Path

import pytest
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from solar_plugins.errors import SolarError
from solar_plugins.sdpo.preference_rows import (
    Empty,
    mark_empty,
    refuse_joined,
    render_answer,
    render_pair,
    texts_of,
)

MESSAGES = int(os.environ.get("PREFERENCE_MESSAGES", "100"))  # of each family
AXOLOTL = Path(util.find_spec("axolotl").submodule_search_locations[0])
SHIPPED = AXOLOTL / "utils" / "chat_templates" / "templates"
OURS = Path(__file__).parents[2] / "recipes" / "templates" / "solar.jinja"
FAMILIES = (
    *("chatml", "llama3", "gemma", "mistral_v1", "mistral_v7_tekken", "phi_3", "phi_35"),
    *("deepseek_v2", "deepseek_v3", "qwen_25", "qwen3", "alpaca", "metharme", "cohere", "exaone"),
    *("jamba", "falcon_h1", "command_a", "gemma3", "llama4", "aya"),
)
WORDS = ["cheese", "no", "a", "user", "assistant", "model", "[/INST]", "<think>", "</think>", "§"]
PIECES = [" ", "\n", "\t", "\u00a0", "\u3000", "😀", "é", "ß", "{{", "%}", "'", '"', "\\", "1"]


def renderer(path: Path):
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols]
    )
    environment.globals["strftime_now"] = lambda form: "26 Jul 2024"

    def refuse(message):
        raise ValueError(message)

    environment.globals["raise_exception"] = refuse
    template = environment.from_string(path.read_text(encoding="utf-8"))
    return lambda messages, generate: template.render(
        messages=messages, add_generation_prompt=generate, bos_token="<s>", eos_token="</s>"
    )


def path_of(family: str) -> Path:
    return OURS if family == "solar" else SHIPPED / f"{family}.jinja"


def drawn(draw: random.Random, words: list[str]) -> str:
    pieces = [draw.choice(draw.choice((words, PIECES))) for _ in range(draw.randint(0, 5))]
    return "".join(pieces) if draw.random() < 0.7 else " ".join(pieces)


def turn(role: str, content: str) -> dict:
    return {"role": role, "content": content}


def is_as_it_is(render, prompt: list[dict], answer: dict) -> bool:
    """Whether the template writes the answer as it writes an ordinary word in its place."""
    if answer["role"] == "user":
        return True
    before, after = render([*prompt, turn("assistant", "word")], False).rsplit("word", 1)
    whole = render([*prompt, answer], False)
    return before.startswith(render(prompt, True)) and whole == before + answer["content"] + after


@pytest.mark.parametrize("family", ["solar", *FAMILIES])
def test_prompt_and_answer_are_what_the_template_writes_or_the_row_is_refused(family):
    render = renderer(path_of(family))
    draw = random.Random(family)
    words = [*WORDS, *path_of(family).read_text(encoding="utf-8").split()]
    trained, refused, message = 0, 0, ""
    for _ in range(MESSAGES):
        prompt = [turn("user", drawn(draw, words))]
        if draw.random() < 0.3:
            prompt = [turn("user", "Hi."), turn("assistant", drawn(draw, words)), *prompt]
        answers = [turn("assistant", drawn(draw, words)) for _ in range(2)]
        try:
            texts = render_pair(render, prompt, *answers)
        except SolarError as error:
            refused += 1
            message = str(error)
            assert any(
                not answer["content"].strip() or not is_as_it_is(render, prompt, answer)
                for answer in (prompt[-1], *answers)
            )
            continue
        trained += 1
        assert texts["prompt"] == render(prompt, True)
        for name, answer in zip(("chosen", "rejected"), answers, strict=True):
            whole = render([*prompt, answer], False)
            assert whole.rstrip() == (texts["prompt"] + texts[name]).rstrip()
            assert answer["content"] in texts[name]
            assert is_as_it_is(render, prompt, answer) or texts[name].startswith(answer["content"])
    assert trained > refused / 4
    assert "\n" not in message


@pytest.mark.parametrize("family", ["solar", *FAMILIES])
def test_an_ordinary_answer_is_written_after_its_prompt(family):
    render = renderer(path_of(family))
    question = [turn("user", "Which?")]
    text = render_answer(render, question, turn("assistant", "Which one?"))
    assert text.count("Which one?") == 1
    assert (
        render(question, True) + text
        == render([*question, turn("assistant", "Which one?")], 0).rstrip()
    )


def test_the_reason_says_what_to_do():
    question = [turn("user", "Which?")]
    chatml, gemma, mistral = (renderer(path_of(n)) for n in ("chatml", "gemma", "mistral_v1"))
    cases = [
        (chatml, question, turn("assistant", ""), "empty. Write an answer, or remove the row."),
        (chatml, question, turn("assistant", " \n"), "empty. Write an answer, or remove the row."),
        (
            chatml,
            question,
            turn("user", "That."),
            "its last message is of role 'user'; an answer is needed.",
        ),
        (
            gemma,
            question,
            turn("assistant", "That. "),
            "the chat template changes the answer ('That. '). Remove the white space at its ends. "
            "Correct the row, or choose a template that writes answers as they are.",
        ),
        (
            mistral,
            [*question, *question],
            turn("assistant", "That."),
            "the chat template refuses the conversation: After the optional system message, "
            "conversation roles must alternate user/assistant/user/assistant/...",
        ),
    ]
    for render, prompt, answer, reason in cases:
        with pytest.raises(SolarError) as error:
            render_answer(render, prompt, answer)
        assert str(error.value) == reason

    def thinks_first(messages, generate):
        return chatml(messages, generate) + "<think>" * generate

    with pytest.raises(SolarError, match="generation prompt is not how it begins an answer"):
        render_answer(thinks_first, question, turn("assistant", "That."))
    with pytest.raises(SolarError, match=r"^rejected: empty\."):
        render_pair(chatml, question, turn("assistant", "That."), turn("assistant", ""))
    with pytest.raises(SolarError, match=r"^prompt: empty\."):
        render_pair(chatml, [turn("user", "")], *[turn("assistant", "That.")] * 2)


def test_a_template_that_writes_no_end_of_turn_leaves_the_blanks_of_the_answer():
    def bare(messages, generate):
        return (
            "".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: " * generate
        )

    question = [turn("user", "Which?")]
    assert render_answer(bare, question, turn("assistant", " That. ")) == " That. "


def test_an_answer_whose_start_the_tokenizer_joins_to_the_prompt_is_refused():
    def encode(text):
        return re.findall(r"\n+|\w+|[^\w\n]", text)

    texts = {"prompt": "<user>Which?\n<assistant>\n", "chosen": " That.", "rejected": "x"}
    refuse_joined(encode, texts)
    refuse_joined(encode, texts | {"prompt": "a" * 99 + ":", "chosen": "b" * 99})
    with pytest.raises(SolarError) as error:
        refuse_joined(encode, texts | {"rejected": "\nNo."})
    assert str(error.value) == (
        "rejected: the tokenizer joins its start to the end of the prompt ('istant>\\n' and "
        "'\\nNo.'), which would be lost. Let the white space between them be in one of them only."
    )


def test_cells_without_text_are_errors_only_where_they_are_written():
    row = {"system": None, "note": None, "prompt": "p", "chosen": "c", "rejected": "", "n": 3}

    def write(cells):
        head = f"{cells['system']}\n" if cells["system"] else ""
        return {**cells, "prompt": f"{head}{cells['prompt']}", "chosen": f"{cells['chosen']}</s>"}

    with pytest.raises(SolarError) as error:
        texts_of(row, write)
    assert str(error.value) == "rejected: empty. Fill it in, or remove the row."
    assert texts_of(row | {"rejected": "r"}, write) == row | {"rejected": "r", "chosen": "c</s>"}
    with pytest.raises(SolarError) as error:
        texts_of(row | {"rejected": "r", "chosen": None}, write)
    assert str(error.value) == "chosen: null. Fill it in, or remove the row."

    nested = mark_empty({"chosen": [{"role": "user", "content": None}]}, "row")
    cell = nested["chosen"][0]["content"]
    assert isinstance(cell, Empty)
    assert not cell
    for written in (str, "{}".format, lambda it: it[0], lambda it: it + "a", list):
        with pytest.raises(SolarError, match=r"^row\.chosen\[0\]\.content: null\."):
            written(cell)
