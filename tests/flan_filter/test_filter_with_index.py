"""`solar filter --index` on files: shapes of rows, order of methods, and faulty input."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import benchmark_twins
import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet

from solar_plugins import flan_filter
from solar_plugins.cli import cli

ITEMS = benchmark_twins.items(0.005, 3)
QUESTIONS = list(dict.fromkeys(row["question"] for row in ITEMS["gsm8k"]))
ORCA = pa.schema([(n, pa.string()) for n in ("id", "system_prompt", "question", "response")])


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    benchmark_twins.write(folder / "b", ITEMS)
    path = folder / "flan.index"
    result = CliRunner().invoke(
        cli, ["flan-index", "--from", str(folder / "b"), "--out", str(path)]
    )
    assert result.exit_code == 0, result.output
    return path


def solar(*arguments: object):
    return CliRunner().invoke(cli, ["filter", *map(str, arguments)])


def orca(prompts: list) -> pa.Table:
    rows = [
        {"id": f"flan.{i}", "system_prompt": QUESTIONS[0], "question": prompt, "response": f"r {i}"}
        for i, prompt in enumerate(prompts)
    ]
    return pa.Table.from_pylist(rows, ORCA)


def mixed_prompts(repeats: int = 1) -> tuple[list[str], list[bool]]:
    """Prompts, and which of them stay."""
    prompts, stay = [], []
    for i in range(len(QUESTIONS) * repeats):
        asked = QUESTIONS[i % len(QUESTIONS)]
        prompts += [f"Question: {asked}\nAnswer:", f"How is the weather on day {i}?", ""]
        stay += [False, True, True]
    return prompts, stay


def read(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shapes(prompt: str) -> dict[str, dict]:
    return {
        "OpenOrca": {"id": "1", "system_prompt": "s", "question": prompt, "response": "r"},
        "FLAN": {"inputs": prompt, "targets": "t", "_template_idx": 1},
        "Alpaca": {"instruction": "Solve this.", "input": prompt, "output": "o"},
        "Alpaca without input": {"instruction": prompt, "output": "o"},
        "SlimOrca": {
            "conversations": [
                {"from": "system", "value": "s", "weight": None},
                {"from": "human", "value": prompt, "weight": 0.0},
                {"from": "gpt", "value": "r", "weight": 1.0},
            ]
        },
        "messages": {
            "messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": "r"}]
        },
    }


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("shape", list(shapes("")))
def test_the_prompt_is_found_in_the_shapes_of_public_data(tmp_path, index, kind, shape):
    # What the assistant says, or the system, is not the prompt.
    quoted = shapes("Hello.")["SlimOrca"]
    quoted["conversations"][0]["value"] = quoted["conversations"][2]["value"] = QUESTIONS[0]
    rows = [shapes(f"Solve: {QUESTIONS[0]}")[shape], shapes("Is rain wet?")[shape]]
    rows += [quoted] if shape == "SlimOrca" else []
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), source)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = solar(source, target, "--index", index)
    assert result.exit_code == 0, result.output
    assert read(target) == rows[1:]


def test_other_programs_find_tasks_in_plain_strings(index):
    matcher = flan_filter.Matcher(flan_filter.read_index(f"file://{index}"))
    found = matcher.find([None, f"Solve: {QUESTIONS[0]}", "Is rain wet?"])
    assert [(one.row, one.task, one.reason, one.removes) for one in found] == [
        (1, "cot_gsm8k", "instance_text", True)
    ]


def test_a_named_column_is_read_instead_of_the_guess(tmp_path, index):
    rows = [{"question": "Is rain wet?", "text": f"Solve: {QUESTIONS[0]}", "n": 1}] * 2
    source = tmp_path / "in.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), source)
    assert solar(source, tmp_path / "out.parquet", "--index", index).exit_code == 1
    options = ("--index", index, "--prompt-column", "text")
    assert solar(source, tmp_path / "out.parquet", *options).exit_code == 0
    assert read(tmp_path / "out.parquet") == []


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_turns_are_read_in_a_column_of_any_name(tmp_path, index, kind):
    rows = [
        {"chat": [{"role": "user", "content": f"Solve: {QUESTIONS[0]}"}]},
        {"chat": [{"role": "assistant", "content": QUESTIONS[0]}]},
    ]
    source, target = tmp_path / f"in.{kind}", tmp_path / f"out.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(rows), source)
    else:
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = solar(source, target, "--index", index, "--prompt-column", "chat")
    assert result.exit_code == 0, result.output
    assert read(target) == rows[1:]


def test_a_folder_of_shards_keeps_names_order_columns_and_counts(tmp_path, index):
    prompts, stay = mixed_prompts(120)
    table = orca(prompts)
    (tmp_path / "in").mkdir()
    third = len(table) // 3
    for i in range(3):
        shard = table.slice(i * third, third if i < 2 else None)
        parquet.write_table(shard, tmp_path / "in" / f"part-{i}.parquet", row_group_size=999)
    audit = tmp_path / "audit.json"
    result = solar(tmp_path / "in", tmp_path / "out", "--index", index, "--audit", audit)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"part-{i}.parquet" for i in range(3)
    ]
    assert parquet.read_table(tmp_path / "out") == table.filter(pa.array(stay))
    (facts,) = json.loads(audit.read_text(encoding="utf-8"))["datasets"]
    assert facts["rows_in"] == len(prompts)
    assert facts["rows_removed"] == stay.count(False)
    assert facts["removed_by_reason"] == {"instance_text": stay.count(False)}
    assert facts["share_removed_precedent"] == 0.026689
    examples = facts["examples"]["cot_gsm8k"]["instance_text"]
    assert len(examples) == 20
    assert all(" ".join(prompts[one["row"]].split()) == one["text"] for one in examples)


def test_a_folder_is_replaced_only_by_the_same_shards(tmp_path, index):
    (tmp_path / "in" / "data").mkdir(parents=True)
    parquet.write_table(orca(mixed_prompts()[0]), tmp_path / "in" / "data" / "a.parquet")
    command = (tmp_path / "in", tmp_path / "out", "--index", index)
    assert solar(*command).exit_code == 0
    first = (tmp_path / "out" / "data" / "a.parquet").read_bytes()
    assert solar(*command).exit_code == 0
    assert (tmp_path / "out" / "data" / "a.parquet").read_bytes() == first
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    result = solar(*command)
    assert result.exit_code == 1
    assert "holds other files than" in result.stderr
    assert (tmp_path / "out" / "thesis.txt").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_name_is_the_last_word_on_a_rows_task(tmp_path, index):
    solve = f"Solve: {QUESTIONS[0]}"
    rows = [
        {"question": solve, "task_name": "cot_esnli"},
        {"question": "Is rain wet?", "task_name": "cot_gsm8k"},
        {"question": solve, "task_name": None},
        {"question": solve, "task_name": " "},
        {"question": "Is rain wet?", "task_name": None},
    ]
    source, audit = tmp_path / "in.parquet", tmp_path / "audit.json"
    parquet.write_table(pa.Table.from_pylist(rows), source)
    options = ("--index", index, "--audit", audit)
    assert solar(source, tmp_path / "out.parquet", *options).exit_code == 0
    assert read(tmp_path / "out.parquet") == [rows[0], rows[4]]
    (facts,) = json.loads(audit.read_text(encoding="utf-8"))["datasets"]
    assert facts["removed"] == {"cot_gsm8k": {"name": 1, "instance_text": 2}}
    assert facts["rows_unnamed"] == 3


def test_tasks_that_show_one_text_are_met_together(tmp_path, index):
    """Asked for one by one: the question alone does not say which of GSM8K's two tasks it is."""
    source = tmp_path / "in.parquet"
    parquet.write_table(orca([f"Solve: {QUESTIONS[0]}", "Is rain wet?"]), source)
    options = ("--index", index, "--tasks", "cot_gsm8k,cot_gsm8k_ii")
    result = solar(source, tmp_path / "out.parquet", *options)
    assert result.exit_code == 0, result.output
    result = solar(source, tmp_path / "out.parquet", *options, "--tasks", "drop:2.0.0")
    assert result.exit_code == 1
    assert "no row is of task 'drop:2.0.0'" in result.stderr


def test_null_huge_and_undecodable_prompts(tmp_path, index):
    solve = f"Solve: {QUESTIONS[0]}".encode()
    huge = b"lorem ipsum " * 90_000
    values = [
        None,
        solve,
        b"",
        huge + solve,
        huge,
        b"caf\xff\xfe " + solve,
        b"\xff",
        "naïve".encode(),
    ]
    binary = pa.array(values, pa.binary())
    raw = pa.Array.from_buffers(pa.string(), len(values), binary.buffers())
    table = orca([None] * len(values)).set_column(2, "question", raw)
    source, audit = tmp_path / "in.parquet", tmp_path / "audit.json"
    parquet.write_table(table, source)
    result = solar(source, tmp_path / "out.parquet", "--index", index, "--audit", audit)
    assert result.exit_code == 0, result.output
    kept = parquet.read_table(tmp_path / "out.parquet")["question"].combine_chunks()
    assert kept.cast(pa.binary()).to_pylist() == [values[i] for i in (0, 2, 4, 6, 7)]
    (facts,) = json.loads(audit.read_text(encoding="utf-8"))["datasets"]
    assert (facts["rows_without_prompt"], facts["rows_invalid_utf8"]) == (1, 2)


def test_undecodable_lines_are_matched_and_copied_as_they_are(tmp_path, index):
    stays = b'{"question": "stay \xff", "n": 1}\n'
    goes = b'{"question": "caf\xff ' + QUESTIONS[0].encode() + b'"}\n'
    source = tmp_path / "in.jsonl"
    source.write_bytes(goes + stays)
    assert solar(source, tmp_path / "out.jsonl", "--index", index).exit_code == 0
    assert (tmp_path / "out.jsonl").read_bytes() == stays


def test_an_empty_shard_stays_an_empty_shard(tmp_path, index):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").touch()
    line = json.dumps({"question": f"Solve: {QUESTIONS[0]}"}) + "\n"
    (tmp_path / "in" / "b.jsonl").write_text(line + '{"question": "Hm?"}\n', encoding="utf-8")
    assert solar(tmp_path / "in", tmp_path / "out", "--index", index).exit_code == 0
    assert (tmp_path / "out" / "a.jsonl").read_bytes() == b""
    assert read(tmp_path / "out" / "b.jsonl") == [{"question": "Hm?"}]


def _shards(second: dict):
    def spoil(folder: Path) -> Path:
        (folder / "in").mkdir()
        parquet.write_table(orca(["a"]), folder / "in" / "a.parquet")
        parquet.write_table(pa.Table.from_pylist([second]), folder / "in" / "b.parquet")
        return folder / "in"

    return spoil


def _file(name: str, content: bytes):
    def spoil(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return spoil


def _cut_parquet(folder: Path) -> Path:
    path = folder / "in.parquet"
    parquet.write_table(orca(mixed_prompts(20)[0]), path)
    content = path.read_bytes()
    middle = len(content) // 3
    path.write_bytes(content[:middle] + b"\0" * 4000 + content[middle + 4000 :])
    return path


def _turns_without_text(folder: Path) -> Path:
    row = {"messages": [{"role": "user", "content": [{"type": "image"}]}]}
    parquet.write_table(pa.Table.from_pylist([row]), folder / "in.parquet")
    return folder / "in.parquet"


GZIP = gzip.compress(json.dumps({"question": QUESTIONS[0]}).encode() * 50)


@pytest.mark.parametrize(
    ("spoil", "options", "said"),
    [
        (_file("in.parquet", b""), (), "in.parquet: not readable as parquet"),
        (_cut_parquet, (), "in.parquet: not readable as parquet"),
        (_file("in.jsonl", b""), (), "in.jsonl: it has no row"),
        (_file("in.jsonl.gz", GZIP[:60]), (), "in.jsonl.gz: the compressed stream is damaged"),
        (_file("in.jsonl", b'{"question": 7}\n'), (), "'question' of"),
        (_turns_without_text, (), "'messages' of"),
        (_file("in.jsonl", b'{"answer": "x"}\n'), (), "no column of"),
        (_file("in.jsonl", b'{"question": "x"}\n'), (), "none of the 1 rows"),
        (_file("in.txt", b"x"), (), "unknown kind of file"),
        (
            _shards({"id": "1", "question": "x"}),
            (),
            "'system_prompt' is absent here and string",
        ),
        (
            _shards({**orca(["x"]).to_pylist()[0], "id": 3}),
            (),
            "'id' is int64 here and string",
        ),
        (
            _file("in.jsonl", b'{"question": "x"}\n'),
            ("--tasks", "cot_gsm8"),
            "knows the task 'cot_gsm8'. Did you mean 'cot_gsm8k'?",
        ),
        (
            _file("in.jsonl", b'{"question": "x"}\n'),
            ("--prompt-column", "qestion"),
            "Did you mean 'q",
        ),
        (_file("in.jsonl", b'{"question": "x"}\n'), ("--decontaminate",), "holds no test split"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_output(tmp_path, index, spoil, options, said):
    source = spoil(tmp_path)
    target = tmp_path / ("out" if source.is_dir() else f"out{''.join(source.suffixes)}")
    before = sorted(tmp_path.iterdir())
    result = solar(source, target, "--index", index, *options)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert sorted(tmp_path.iterdir()) == before


def test_without_an_index_rows_without_names_are_refused_with_the_way_out(tmp_path):
    source = tmp_path / "in.parquet"
    parquet.write_table(orca(["x"]), source)
    result = solar(source, tmp_path / "out.parquet")
    assert result.exit_code == 1
    assert "solar flan-index --from benchmarks --out flan.index" in result.stderr
    assert not (tmp_path / "out.parquet").exists()
