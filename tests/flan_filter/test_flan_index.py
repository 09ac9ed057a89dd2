"""`solar flan-index`: from folders, from FLAN's rows, from the Hub's files; and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import benchmark_twins
import pyarrow as pa
import pytest
from click.testing import CliRunner
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from pyarrow import parquet

from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.flan_filter import index_file
from solar_plugins.flan_filter.benchmarks import BENCHMARKS
from solar_plugins.flan_filter.build_index import add_source
from solar_plugins.flan_filter.matcher import Matcher


def flan_index(*arguments: object):
    return CliRunner().invoke(cli, ["flan-index", *map(str, arguments)])


def in_memory_of_disk(folder: Path) -> DirFileSystem:
    """A file system whose root is `folder`, as the Hub's has its own."""
    return DirFileSystem(str(folder), LocalFileSystem())


def flan_rows() -> list[dict]:
    """Rows with the columns of Open-Orca/FLAN."""
    prompts = [
        ("Come up with a question and reasoning for this answer: 72", "cot_gsm8k_ii", "zs_noopt"),
        ("What could an exam in school ask? Write a question.", "ai2_arc/ARC-Easy:1.0.0", "zs_opt"),
        ("A few-shot prompt. Q: 1? A: 1. Q: 2? A:", "cot_gsm8k", "fs_opt"),
        ("Do plants sleep? Think first.", "cot_strategyqa", "zs_opt"),
        (
            "Which passage is meant? Write one of your own.",
            "task026_drop_question_generation",
            "zs_opt",
        ),
        ("7", "cot_gsm8k_ii", "zs_opt"),
        ("No task is known of this one.", None, "zs_opt"),
    ]
    return [
        {
            "inputs": text,
            "targets": "t",
            "_template_idx": 1,
            "_task_source": "CoT",
            "_task_name": task,
            "_template_type": template,
        }
        for text, task, template in prompts
    ]


@pytest.fixture
def flan_copy(tmp_path: Path) -> Path:
    folder = tmp_path / "hub" / "datasets" / "Open-Orca" / "FLAN"
    for name, rows in (("cot_zs", flan_rows()), ("other", [flan_rows()[3]])):
        (folder / name).mkdir(parents=True)
        table = pa.Table.from_pylist(rows)
        parquet.write_table(table, folder / name / "part.0.parquet", row_group_size=2)
    return folder


def removed(index: index_file.Index, prompts: list[str], tasks: str | list[str] = "solar"):
    array = pa.array([prompt.encode() for prompt in prompts], pa.large_binary())
    findings = Matcher(index, tasks).find(array)
    return {f.row: (f.task, f.reason) for f in findings if f.removes}


def test_the_join_finds_prompts_that_show_no_text(tmp_path, flan_copy):
    path = tmp_path / "flan.index"
    result = flan_index("--from", flan_copy, "--out", path)
    assert result.exit_code == 0, result.output
    index = index_file.read_index(path)
    assert index.facts["texts"]["flan_inputs"] == {
        "ai2_arc/ARC-Easy:1.0.0": 1,
        "cot_gsm8k_ii": 1,
        "task026_drop_question_generation": 1,
    }
    prompts = [row["inputs"] for row in flan_rows()]
    altered = [prompts[0].upper() + " \n", prompts[0].replace("72", "73"), *prompts]
    join = {
        0: ("cot_gsm8k_ii", "flan_inputs"),
        2: ("cot_gsm8k_ii", "flan_inputs"),
        3: ("ai2_arc/ARC-Easy:1.0.0", "flan_inputs"),
    }
    assert removed(index, altered) == join
    assert removed(index, altered, ["solar", "related"]) == {
        **join,
        6: ("task026_drop_question_generation", "flan_inputs"),
    }


def test_a_stopped_build_from_flan_reads_no_file_twice(tmp_path, flan_copy):
    parts, opened = tmp_path / "parts", []

    class Counted(LocalFileSystem):
        cachable = False
        fails = True

        def open(self, path, *arguments, **options):
            opened.append(Path(path).parent.name)
            if self.fails and opened[-1] == "other":
                raise OSError("the line went dead")
            return super().open(path, *arguments, **options)

    def build() -> index_file.Entries:
        entries = index_file.Entries()
        hub = DirFileSystem(str(tmp_path / "hub"), Counted())
        add_source("Open-Orca/FLAN", entries, parts, lambda name, size: None, hub)
        return entries

    with pytest.raises(SolarError, match="the line went dead"):
        build()
    Counted.fails = False
    entries = build()
    assert opened == ["cot_zs", "other", "other"]
    assert len(entries.sorted()) == 3


def test_the_hubs_own_files_give_the_same_index_as_local_ones(tmp_path):
    rows = benchmark_twins.items(0.0005)
    tests = benchmark_twins.items(0.0005, 1, benchmark_twins.TEST_SIZES)
    folder = benchmark_twins.write(tmp_path / "local", rows)
    benchmark_twins.write(folder, tests)
    places = {**rows, **{f"{place}": some for place, some in tests.items()}}
    hub = tmp_path / "hub"
    for benchmark in BENCHMARKS:
        for is_test, splits in ((False, benchmark.train), (True, benchmark.test)):
            for split in splits:
                repository, config, part = split.rsplit("/", 2)
                base = f"ai2_arc/{config}" if benchmark.name == "arc" else benchmark.name
                some = places[f"{base}/{part}" if is_test else base]
                place = f"datasets/{repository}@refs/convert/parquet"
                target = hub / place / config / part / "0000.parquet"
                target.parent.mkdir(parents=True)
                parquet.write_table(pa.Table.from_pylist(some), target)
    digests = []
    for source in ("benchmarks", str(folder)):
        entries = index_file.Entries()
        filesystem = in_memory_of_disk(hub)
        add_source(source, entries, tmp_path, lambda name, rows: None, filesystem)
        assert entries.sources.total() == sum(len(some) for some in places.values())
        digests.append(index_file.write(tmp_path / "x.index", entries)["digest"])
    assert digests[0] == digests[1]


def test_equal_sources_give_equal_bytes_and_other_rows_another_digest(tmp_path):
    folder = benchmark_twins.write(tmp_path / "b", benchmark_twins.items(0.001))
    one, two = tmp_path / "one.index", tmp_path / "two.index"
    assert flan_index("--from", folder, "--out", one).exit_code == 0
    assert flan_index("--from", folder, "--out", two).exit_code == 0
    assert one.read_bytes() == two.read_bytes()
    with (folder / "gsm8k" / "train.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"question": "How many legs have nine spiders?", "answer": "72"}))
    facts = json.loads(flan_index("--from", folder, "--out", two, "--json").stdout)
    assert facts["digest"] != index_file.read_index(one).digest


def test_all_roads_fit_in_one_index_and_task_files_add_definitions(tmp_path, flan_copy):
    folder = benchmark_twins.write(tmp_path / "b", benchmark_twins.items(0.001))
    (folder / "niv2").mkdir()
    definition = "In this task, you are shown a beginning and four endings. Pick the one that fits."
    (folder / "niv2" / "task1389_hellaswag_completion.json").write_text(
        json.dumps({"Definition": [definition], "Instances": []}), encoding="utf-8"
    )
    path = tmp_path / "flan.index"
    assert flan_index("--from", folder, "--from", flan_copy, "--out", path).exit_code == 0
    index = index_file.read_index(path)
    assert set(index.facts["texts"]) == {"flan_inputs", "instance_text", "niv2_definition"}
    assert removed(index, [f"Definition: {definition}\nInput: x", flan_rows()[0]["inputs"]]) == {
        0: ("task1389_hellaswag_completion", "niv2_definition"),
        1: ("cot_gsm8k_ii", "flan_inputs"),
    }


def test_an_index_of_another_version_names_the_way_out(tmp_path, monkeypatch):
    folder = benchmark_twins.write(tmp_path / "b", benchmark_twins.items(0.001))
    path = tmp_path / "flan.index"
    monkeypatch.setattr(index_file, "FORMAT", 99)
    assert flan_index("--from", folder, "--out", path).exit_code == 0
    monkeypatch.undo()
    with pytest.raises(SolarError) as error:
        index_file.read_index(path)
    assert str(error.value) == (
        f"flan_filter.index: {path} has format 99 (solar_plugins 0.1.0); this version reads format "
        f"1. Build it again: solar flan-index --from benchmarks --out {path}"
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "is not there. Build it: solar flan-index"),
        (lambda path: path.write_bytes(path.read_bytes()[:-700]), "is not readable as an index"),
        (lambda path: path.write_bytes(b""), "is not readable as an index"),
        (lambda path: parquet.write_table(pa.table({"a": [1]}), path), "is no index"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, spoil, said):
    folder = benchmark_twins.write(tmp_path / "b", benchmark_twins.items(0.001))
    path = tmp_path / "flan.index"
    assert flan_index("--from", folder, "--out", path).exit_code == 0
    spoil(path)
    with pytest.raises(SolarError, match=said) as error:
        index_file.read_index(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        ("gsmk8/train.jsonl", "{}", "no benchmark of that name. Did you mean 'gsm8k'?"),
        ("gsm8k/rows.jsonl", "{}", "no train.jsonl or train*.parquet in it"),
        ("gsm8k/train.jsonl", '{"question": "q"}', "no column 'answer'; its columns are question"),
        ("gsm8k/train.jsonl", "", "no rows. Give the whole split."),
        ("gsm8k/train.jsonl", '{"question": 3, "answer": "x"}', "row 1 has not the public shape"),
        (
            "ai2_arc/train.jsonl",
            '{"question": "q", "choices": []}',
            "row 1 has not the public shape",
        ),
        ("gsm8k/train.parquet", "no parquet", "not readable as parquet"),
        ("niv2/task1.json", "{}", "no benchmark in it"),
    ],
)
def test_a_folder_of_another_shape_is_refused(tmp_path, place, content, said):
    file = tmp_path / "b" / place
    file.parent.mkdir(parents=True)
    file.write_text(content, encoding="utf-8")
    result = flan_index("--from", tmp_path / "b", "--out", tmp_path / "flan.index")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert said in line
    assert not (tmp_path / "flan.index").exists()


def test_a_source_that_is_nowhere_is_refused(tmp_path):
    result = flan_index("--from", "./benchmark", "--out", tmp_path / "flan.index")
    assert result.exit_code == 1
    assert "--from ./benchmark: no such folder. Write benchmarks" in result.stderr


def test_flan_without_a_listed_task_is_refused(tmp_path):
    folder = tmp_path / "FLAN"
    folder.mkdir()
    parquet.write_table(pa.Table.from_pylist([flan_rows()[3]]), folder / "part.0.parquet")
    result = flan_index("--from", folder, "--out", tmp_path / "flan.index")
    assert result.exit_code == 1
    assert "no Parquet file in it with rows of a task of Table 8" in result.stderr
