"""Local data that are not named, or not filled, as a recipe reads them."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from solar_plugins.check import data, data_files
from solar_plugins.check.files import Files
from solar_plugins.check.source import YamlFile

ALPACA = {"instruction": "add", "input": "", "output": "2"}
TEXTS = {"field_instruction": "instruction", "field_output": "output"}


@pytest.fixture
def found(tmp_path, monkeypatch):
    """The findings of the recipe ``{key: [entry]}``, whose file has these rows."""
    monkeypatch.chdir(tmp_path)

    def check(
        rows: dict | list[dict], key: str = "datasets", recipe: dict | None = None, **entry: Any
    ) -> list[tuple[str, str]]:
        rows = rows if isinstance(rows, list) else [rows]
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        Path("rows.jsonl").write_text(text, encoding="utf-8")
        content = {key: [{"path": "rows.jsonl", **entry}], **(recipe or {})}
        source = YamlFile("recipe.yml", content, {}, base_model="model")
        data.check(source, Files(Path("recipe.yml")))
        return [(("note: " if f.is_note else "") + f.path, f.message) for f in source.findings]

    return check


def test_what_fits_is_not_found(found):
    assert found(ALPACA, type="alpaca") == []
    assert found({"text": "a"}, type="completion") == []
    assert found(ALPACA, type=TEXTS) == []
    assert found({**ALPACA, "input": None, "system": None}, type=TEXTS) == []
    preference = {"recipe": {"rl": "dpo"}, "type": "chatml.default"}
    assert found({"prompt": "a", "chosen": "b", "rejected": "c"}, **preference) == []
    assert found(ALPACA, type="some.strategy.of.others") != []
    assert found(ALPACA, type="os.path.of.others") == []


def test_a_missing_column_is_named_with_those_that_are_there(found):
    assert found(ALPACA, type={"field_instruction": "instruction", "field_output": "outputs"}) == [
        (
            "datasets[0].type.field_output",
            "no column 'outputs' in rows.jsonl, which has instruction, input, output. "
            "Did you mean 'output'?",
        )
    ]
    assert [path for path, _ in found(ALPACA, type="completion")] == ["datasets[0].type"]
    assert [path for path, _ in found(ALPACA, type="completion", field="body")] == [
        "datasets[0].field"
    ]
    assert len(found(ALPACA, recipe={"rl": "dpo"}, type="chatml.intel")) == 3


def test_of_a_file_that_is_no_json_lines_nothing_is_said(found):
    Path("rows.txt").write_text("no json")
    assert found({}, path="rows.txt", type="alpaca") == []


PAIR = {"prompt": "q", "chosen": "c", "rejected": "r"}


def _chat(*turns: tuple[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


GOOD_CHAT = _chat(("user", "q"), ("assistant", "a"))
NULL = "null: the word None would be trained, or the training ends on it. Fill it in, or remove"
EMPTY = "empty: nothing is learned from it. Fill it in, or remove the row."

# the row, the entry, `rl`, the place, what the finding says of row 2
CELLS: dict[str, tuple[dict, dict, str, str, str]] = {
    "null answer": (
        {**ALPACA, "output": None}, {"type": "alpaca"}, "", "datasets[0].type", f"output is {NULL}",
    ),
    "null question of a user-defined type": (
        {**ALPACA, "instruction": None}, {"type": TEXTS}, "",
        "datasets[0].type.field_instruction", f"instruction is {NULL}",
    ),
    "empty answer": (
        {**ALPACA, "output": " \n"}, {"type": "alpaca"}, "", "datasets[0].type",
        f"output is {EMPTY}",
    ),
    "empty question": (
        {**ALPACA, "instruction": ""}, {"type": "alpaca"}, "", "note: datasets[0].type",
        "instruction is empty",
    ),
    "null text": (
        {"text": None}, {"type": "completion"}, "", "datasets[0].type", f"text is {NULL}",
    ),
    "null in a pair": (
        {**PAIR, "rejected": None}, {"type": "chatml.prompt_pairs"}, "dpo", "datasets[0].type",
        f"rejected is {NULL}",
    ),
    "empty question of a pair": (
        {**PAIR, "prompt": ""}, {"type": "chatml.prompt_pairs"}, "dpo", "datasets[0].type",
        "prompt is empty",
    ),
    "null of a user-defined pair": (
        {**PAIR, "prompt": None}, {"type": {"field_prompt": "prompt"}}, "ipo",
        "datasets[0].type.field_prompt", f"prompt is {NULL}",
    ),
    "null message": (
        _chat(("user", "q"), ("assistant", None)), {"type": "chat_template"}, "",
        "datasets[0].type", "the content of a message in messages is null",
    ),
    "empty answer of a chat": (
        _chat(("user", "q"), ("assistant", "")), {"type": "chat_template"}, "", "datasets[0].type",
        f"an answer in messages is {EMPTY}",
    ),
    "no messages": (
        {"messages": []}, {"type": "chat_template"}, "", "datasets[0].type",
        "messages is []. A list of messages is needed",
    ),
    "role that nothing maps": (
        _chat(("user", "q"), ("bot", "a")), {"type": "chat_template"}, "", "datasets[0].type",
        "messages has the roles user, bot, and assistant is trained: nothing is learned from it. "
        "Write `roles: {user: [user], assistant: [bot]}`.",
    ),
    "role that is not among those to train": (
        GOOD_CHAT, {"type": "chat_template", "roles_to_train": ["tool"]}, "", "datasets[0].type",
        "messages has the roles user, assistant, and tool is trained",
    ),
    "role that preference data lack": (
        {"chosen": [{"role": "human", "content": "q"}]}, {"type": "chat_template.argilla_chat"},
        "dpo", "datasets[0].type",
        "chosen has the role 'human'; with `rl` Axolotl takes user, assistant, system and tool.",
    ),
    "question after the answer": (
        {"chosen": [*GOOD_CHAT["messages"], {"role": "user", "content": "more?"}]},
        {"type": "chat_template.argilla_chat"}, "dpo", "datasets[0].type",
        "the last message of chosen is of user: it would be trained as the answer. Remove it",
    ),
    "pair of one answer": (
        {**PAIR, "rejected": "c"}, {"type": "chatml.prompt_pairs"}, "dpo",
        "note: datasets[0].type",
        "chosen and rejected are the same: nothing is learned from it.",
    ),
    "fields of another name": (
        {"messages": [{"from": "user", "value": "q"}]}, {"type": "chat_template"}, "",
        "datasets[0].type", "no 'role' and no 'content' in the messages of messages, which have "
        "from, value. Write `message_property_mappings: {role: from, content: value}`.",
    ),
    "fields of another name in preference data": (
        {"messages": "q", "chosen": {"from": "gpt", "value": "c"}, "rejected": "r"},
        {"type": "chat_template.default"}, "dpo", "datasets[0].type",
        "no 'role' and no 'content' in the messages of chosen, which have from, value. Rename the "
        "fields of the data: with `rl` Axolotl reads role and content.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_a_cell_that_holds_nothing_is_found_with_its_row_and_column(found, case):
    row, entry, rl, path, text = CELLS[case]
    good = {"messages": GOOD_CHAT["messages"], **ALPACA, **PAIR, "text": "a"}
    if entry["type"] == "chat_template.default":
        del good["prompt"]
    if entry["type"] == "chat_template.argilla_chat":
        worse = _chat(("user", "q"), ("assistant", "b"))
        good |= {"chosen": GOOD_CHAT["messages"], "rejected": worse["messages"]}
    if case == "role that is not among those to train":
        good["messages"] = [{"role": "tool", "content": "a"}]
    recipe = {"rl": rl} if rl else {}
    assert found([good] * 3, recipe=recipe, **entry) == []
    ((place, message),) = found([good, {**good, **row}, good], recipe=recipe, **entry)
    assert place == path
    assert message.startswith(f"row 2 of rows.jsonl: {text}")


def test_messages_may_lack_what_their_template_does_without(found):
    called = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
    chat = {"messages": [*GOOD_CHAT["messages"], called, *GOOD_CHAT["messages"]]}
    assert found([chat, _chat(("system", ""), ("user", "q"), ("gpt", "a"))],
                 type="chat_template") == []  # fmt: skip
    assert found(_chat(("user", "q")), recipe={"train_on_inputs": True}, type="chat_template") == []


@pytest.mark.parametrize("key", ["datasets", "test_datasets"])
def test_rows_with_the_same_fault_are_one_finding(found, key):
    rows = [{**ALPACA, "output": None if number % 2 else "2"} for number in range(12)]
    ((path, message),) = found(rows, key, type="alpaca")
    assert path == f"{key}[0].type"
    assert message.startswith("rows 2, 4, 6 and 3 more of rows.jsonl: output is null")
    ((_, message),) = found([{**ALPACA, "output": ""}] * 5, key, type="alpaca")
    assert message.startswith("all 5 rows of rows.jsonl: output is empty")


def test_the_rows_of_a_step_and_of_a_stream_are_read(found):
    Path("more.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    step = {"datasets": [{"path": "rows.jsonl", "type": "chatml.prompt_pairs"}]}
    recipe = {"rl": "dpo", "sdpo": {"steps": [step]}, "datasets": []}
    assert [path for path, _ in found({**PAIR, "chosen": ""}, "none", recipe)] == [
        "datasets", "sdpo.steps[0].datasets[0].type",
    ]  # fmt: skip
    stream = {"pretraining_dataset": [{"path": "json", "data_files": "more.jsonl"}]}
    ((path, message),) = found(ALPACA, "none", stream)
    assert path == "pretraining_dataset[0].type"
    assert message.startswith("row 2 of more.jsonl: text is null")


def test_other_formats(found, tmp_path):
    from pyarrow import Table, ipc, parquet

    rows = [ALPACA, {**ALPACA, "output": None}]
    table = Table.from_pylist(rows)
    parquet.write_table(table, "rows.parquet")
    with ipc.new_file("rows.arrow", table.schema) as file:
        file.write_table(table)
    with gzip.open("rows.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    Path("rows.csv").write_text("instruction,output\na,b\na,\n")
    Path("rows.json").write_text(json.dumps(rows, indent=2))
    Path("folder").mkdir()
    for ending in ("parquet", "arrow", "jsonl.gz", "csv", "json"):
        (path, message), = found(ALPACA, path=f"rows.{ending}", type="alpaca")  # fmt: skip
        assert path == "datasets[0].type"
        assert message.startswith(f"row 2 of rows.{ending}: output is null")
    Path("rows.csv").rename("folder/b.csv")
    assert "row 2 of folder/b.csv" in found(ALPACA, path="folder", type="alpaca")[0][1]
    Path("rows.json").write_text('[{"instruction": "a", "output": "b"}, {"instruction": ')
    assert "row 2 is not JSON" in found(ALPACA, path="rows.json", type="alpaca")[0][1]


def test_parquet_is_a_note_where_nothing_reads_it(found, monkeypatch):
    """The rest of the recipe is checked all the same."""
    Path("rows.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as in the light install
    assert found(ALPACA, path="rows.parquet", type="alpaca") == [
        (
            "note: datasets[0].path",
            "rows.parquet was not read: pyarrow is not installed here. "
            "Write pip install 'solar-plugins[filter]'.",
        )
    ]


def test_of_a_large_file_the_beginning_is_read(found, monkeypatch):
    rows = [ALPACA] * 40 + [{**ALPACA, "output": None}]
    assert len(found(rows, type="alpaca")) == 1
    monkeypatch.setattr(data_files, "WHOLE", 500)
    assert found([*rows, ALPACA], type="alpaca") == []
    ((_, message),) = found([ALPACA, {**ALPACA, "output": ""}, *rows], type="alpaca")
    assert message.startswith("row 2 of rows.jsonl (the first ")
    Path("folder").mkdir()
    for name in "abc":  # of many files, the first ones
        lines = f"{json.dumps(ALPACA)}\n" * 8 + json.dumps({**ALPACA, "output": ""})
        Path(f"folder/{name}.jsonl").write_text(lines)
    files = [text.partition(" of ")[2][:14] for _, text in found([], path="folder", type="alpaca")]
    assert files == ["folder/a.jsonl"]


def test_rows_to_evaluate_on_that_are_trained_are_named(found):
    trained = {"path": "rows.jsonl", "type": "alpaca"}
    for entry, is_same in (
        (trained, True),
        ({**trained, "type": "completion", "split": "train"}, True),
        ({**trained, "path": "other.jsonl"}, False),
        ({"path": "org/set", "type": "alpaca"}, False),  # another split: test
        ({"path": "org/set", "type": "alpaca", "split": "train"}, True),
    ):
        other = {"path": "org/set", "type": "alpaca"}
        recipe = {"datasets": [trained, other], "test_datasets": [entry]}
        notes = [f for f in found(ALPACA, "none", recipe) if f[0] == "note: test_datasets[0]"]
        assert len(notes) == is_same
        assert not notes or "their loss says nothing of other texts" in notes[0][1]


HUB = "would be looked for on the Hub: "
LOADER = "a stream takes the format as its path. Write `path: json` and `data_files: rows.jsonl`."

# the recipe, the place, how the message begins
FORMS: dict[str, tuple[dict, str, str]] = {
    "a file as the path of a stream": (
        {"pretraining_dataset": [{"path": "rows.jsonl", "type": "pretrain"}]},
        "pretraining_dataset[0].path", f"rows.jsonl {HUB}{LOADER}",
    ),
    "a stream that is one path": (
        {"pretraining_dataset": "rows.jsonl"}, "pretraining_dataset[0].path", f"rows.jsonl {HUB}",
    ),
    "a stream that is one mapping": (
        {"pretraining_dataset": {"path": "rows.jsonl"}}, "pretraining_dataset[0].path",
        f"rows.jsonl {HUB}",
    ),
    "datasets that are packed while they stream": (
        {"streaming": True, "sample_packing": True,
         "datasets": [{"path": "rows.jsonl", "type": "completion"}]},
        "datasets[0].path", f"rows.jsonl {HUB}{LOADER}",
    ),
    "a format as the path of a dataset": (
        {"datasets": [{"path": "json", "data_files": ["rows.jsonl"], "type": "completion"}]},
        "datasets[0].path", f"'json' {HUB}here the file itself is the path. Write "
        "`path: rows.jsonl` and `ds_type: json`.",
    ),
    "a format as the path of test data": (
        {"test_datasets": [{"path": "json", "data_files": "rows.jsonl", "type": "completion"}]},
        "test_datasets[0].path", f"'json' {HUB}here",
    ),
    "a format as the path of a step": (
        {"rl": "dpo", "sdpo": {"steps": [{"datasets": [
            {"path": "json", "data_files": ["rows.jsonl"], "type": "chatml.ultra"}]}]}},
        "sdpo.steps[0].datasets[0].path", f"'json' {HUB}here the file itself is the path. Write "
        "`path: rows.jsonl`.",
    ),
    "two streams": (
        {"pretraining_dataset": [{"path": "json", "data_files": "rows.jsonl"},
                                 {"path": "json", "data_files": "rows.jsonl"}]},
        "pretraining_dataset[1]", "not read: of `pretraining_dataset` Axolotl takes the first",
    ),
    "files that count from their folder": (
        {"datasets": [{"path": "folder", "data_files": "inside.jsonl", "type": "completion"}]},
        "datasets[0].data_files", "inside.jsonl counts from the folder in which the command is run",
    ),
    "another format than the file's": (
        {"datasets": [{"path": "rows.jsonl", "ds_type": "parquet", "type": "completion"}]},
        "datasets[0].ds_type", "'parquet' found, rows.jsonl is json.",
    ),
    "a split of a stream": (
        {"pretraining_dataset": [{"path": "json", "data_files": "rows.jsonl", "split": "test"}]},
        "pretraining_dataset[0].split", "a single file has one split, train, and no 'test'.",
    ),
    "a split that no file of the folder has": (
        {"test_datasets": [{"path": "folder", "split": "test", "type": "completion"}]},
        "test_datasets[0].split", "no file in folder is named test",
    ),
    "two splits of a file": (
        {"datasets": [{"path": "rows.jsonl", "split": "train+test", "type": "completion"}]},
        "datasets[0].split", "a single file has one split, train, and no 'test'.",
    ),
    "a home folder": (
        {"datasets": [{"path": "~/rows.jsonl", "type": "completion"}]},
        "datasets[0].path", "~/rows.jsonl is not expanded by Axolotl. Write /",
    ),
    "a pattern": (
        {"datasets": [{"path": "*.jsonl", "type": "completion"}]},
        "datasets[0].path", "*.jsonl: a pattern is not read here.",
    ),
    "a pattern of nothing": (
        {"pretraining_dataset": [{"path": "json", "data_files": "*.json"}]},
        "pretraining_dataset[0].data_files", "no file is called like *.json",
    ),
    "a format without a file": (
        {"pretraining_dataset": [{"path": "json"}]},
        "pretraining_dataset[0].path", "'json' is a format and no file. Write `data_files:`",
    ),
    "a dataset that is a format": (
        {"datasets": [{"path": "parquet", "type": "completion"}]},
        "datasets[0].path", "'parquet' is a format and no file. Write `path:` with its name.",
    ),
    "no type": (
        {"datasets": [{"path": "rows.jsonl"}]}, "datasets[0].type", "missing. Write how rows are",
    ),
    "a type without a value": (
        {"test_datasets": [{"path": "rows.jsonl", "type": None}]},
        "test_datasets[0].type", "empty. Write how rows are read",
    ),
    "a stream's file that is not there": (
        {"pretraining_dataset": [{"path": "json", "data_files": "row.jsonl"}]},
        "pretraining_dataset[0].data_files", "no such file: row.jsonl",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_each_key_takes_local_files_in_its_own_form(found, case):
    recipe, path, message = FORMS[case]
    Path("folder").mkdir()
    Path("folder/inside.jsonl").write_text('{"text": "a"}\n')
    ((place, text),) = found({"text": "a"}, "none", recipe)
    assert place == path
    assert text.startswith(message)


@pytest.mark.parametrize(
    ("long", "place"),
    [(0, None), (3, None), (8, "note: datasets[0].path"), (40, "datasets[0].path")],
)
def test_rows_that_are_too_long_are_counted(found, long, place):
    pytest.importorskip("tokenizers")
    Path("model").mkdir()
    described = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "a": 1}, "unk_token": "<unk>"},
    }
    Path("model/tokenizer.json").write_text(json.dumps(described))
    data._token_counter.cache_clear()
    rows = [{**ALPACA, "output": "a " * (60 if number < long else 3)} for number in range(40)]
    recipe = {"sequence_len": 32}
    findings = found(rows, recipe=recipe, type="alpaca")
    assert [path for path, _ in findings] == ([place] if place else [])
    if place:
        share = "all 40" if long == 40 else f"{long} of 40"
        text = f"{share} rows looked at are longer than `sequence_len: 32` and are dropped"
        assert findings[0][1].startswith(text)
        assert found(rows, recipe=recipe | {"excess_length_strategy": "truncate"},
                     type="alpaca") == []  # fmt: skip
    pairs = [{**PAIR, "rejected": row["output"]} for row in rows]
    both = found(pairs, recipe=recipe | {"rl": "dpo"}, type="chatml.prompt_pairs")
    assert [path for path, _ in both] == ([place] if place else [])
