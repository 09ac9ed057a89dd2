"""Rows of one's own in the shapes that people have them in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from solar_plugins.errors import SolarError
from solar_plugins.sharing import own_data

ASK, SAY = {"role": "user", "content": "why"}, {"role": "assistant", "content": "so"}
NO = {"role": "assistant", "content": "no"}
TALK = {"messages": [ASK, SAY]}
PAIR = {"prompt": "why", "chosen": [ASK, SAY], "rejected": [ASK, NO]}


def write(folder: Path, *rows: dict) -> Path:
    file = folder / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return file


@pytest.mark.parametrize(
    ("kind", "row", "made"),
    [
        ("sft", {"messages": [ASK, SAY]}, TALK),
        ("sft", {"conversations": [{"from": "human", "value": "why"},
                                   {"from": "gpt", "value": "so"}]}, TALK),
        ("sft", {"question": "why", "answer": "so"}, TALK),
        ("sft", {"instruction": "sum", "input": "1, 2", "output": 3, "system": "Be brief."},
         {"messages": [{"role": "system", "content": "Be brief."},
                       {"role": "user", "content": "sum\n\n1, 2"},
                       {"role": "assistant", "content": "3"}]}),
        ("pairs", {"prompt": "why", "chosen": "so", "rejected": "no"}, PAIR),
        ("pairs", {"prompt": "why", "chosen": [ASK, SAY], "rejected": [ASK, NO]}, PAIR),
        ("pairs", {"prompt": [ASK], "chosen": [SAY], "rejected": [NO]}, PAIR),
        ("pairs", {"conversations": [{"from": "human", "value": "why"}],
                   "chosen": {"from": "gpt", "value": "so"},
                   "rejected": {"from": "gpt", "value": "no"}}, PAIR),
        ("text", {"content": " a page "}, {"text": "a page"}),
    ],
)  # fmt: skip
def test_shapes(tmp_path, kind, row, made):
    assert own_data.read(kind, write(tmp_path, row)) == ([made], 0)


def test_other_files(tmp_path):
    from pyarrow import Table, parquet

    table = tmp_path / "rows.csv"
    table.write_text("question,response\nwhy,so\nwhat,\n")
    assert own_data.read("sft", table) == ([TALK], 1)  # an answer is empty
    parquet.write_table(Table.from_pylist([{"messages": [ASK, SAY]}]), tmp_path / "rows.parquet")
    assert own_data.read("sft", tmp_path / "rows.parquet") == ([TALK], 0)


def test_a_plain_text_is_cut_where_paragraphs_or_words_end(tmp_path):
    paragraph = "word " * 100
    file = tmp_path / "book.txt"
    file.write_text(f"{paragraph}\n\n" * 9 + "letters" * 500)
    rows, _ = own_data.read("text", file)
    pieces = [row["text"] for row in rows]
    assert max(map(len, pieces)) <= own_data.LETTERS
    assert pieces[0] == "\n\n".join([paragraph] * 3).strip()
    assert "".join("".join(pieces).split()) == "".join(file.read_text().split())


@pytest.mark.parametrize(
    ("kind", "row", "says"),
    [
        ("sft", {"title": "a"}, "row 1: columns title. Needed: messages or conversations or output "
                                "or response or answer or completion"),
        ("sft", {"messages": "hi"}, "row 1: 'hi' found. Write [{role: user, content: …}, …]."),
        ("sft", {"messages": [{"role": "narrator", "content": "a"}]},
         "row 1: the role 'narrator' found. Needed: human, user, assistant, gpt, system, tool."),
        ("sft", {"question": "why", "answer": ""}, "none of its 1 rows can be trained on."),
        ("pairs", {"prompt": "why", "chosen": "so", "rejected": "so"},
         "none of its 1 rows can be trained on."),
        ("pairs", {"chosen": "so", "rejected": "no"}, "row 1: columns chosen, rejected. Needed: "
         "instruction or question or query or prompt or messages or conversations"),
        ("text", {"body": "a"}, "row 1: columns body. Needed: text or content"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_one_line(tmp_path, kind, row, says):
    file = write(tmp_path, row)
    with pytest.raises(SolarError) as error:
        own_data.read(kind, file)
    assert str(error.value) == f"--{kind} {file}: {says}"


def test_files_that_are_not_rows(tmp_path):
    (tmp_path / "notes.doc").write_text("a")
    for name, says in (("no.jsonl", "no such file."), ("notes.doc", "needed: .jsonl, .json, .csv, "
                                                       ".parquet, .arrow.")):  # fmt: skip
        with pytest.raises(SolarError, match=says):
            own_data.read("sft", tmp_path / name)
