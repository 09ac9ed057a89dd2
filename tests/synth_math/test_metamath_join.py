"""`solar synth-math from-metamathqa` on small copies of its sources."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from math_world import (
    GSM_PROBLEM,
    TEST_PROBLEM,
    TRAIN,
    gsm8k_rows,
    math_rows,
    math_test_rows,
    metamath_rows,
    solution,
    source_options,
    write_jsonl,
    write_world,
)

from solar_plugins.cli import cli

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Path]:
    return write_world(tmp_path_factory.mktemp("math"))


def solar(*arguments: object):
    return CliRunner().invoke(cli, ["synth-math", *map(str, arguments)])


def join(world: dict[str, Path], out: Path, *more: object, metamathqa: Path | None = None):
    place = metamathqa or world["metamathqa"]
    options = [*source_options(world), "--metamathqa", place, "--out", out]
    return solar("from-metamathqa", *options, *more)


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_both_sets_and_their_card(world, tmp_path):
    run = join(world, tmp_path / "data")
    assert run.exit_code == 0, run.output
    folder = tmp_path / "data"
    assert sorted(file.name for file in folder.iterdir()) == [
        "README.md",
        "math_alignment.jsonl",
        "math_data_card.json",
        "math_instruct.jsonl",
    ]
    given = metamath_rows()
    rephrased = [row for row in given if row["type"] == "MATH_Rephrased"]
    assert read(folder / "math_alignment.jsonl") == [
        {"prompt": row["query"], "chosen": row["response"], "rejected": solution(n)}
        for n, row in enumerate(rephrased, start=3)
    ]
    instruct = read(folder / "math_instruct.jsonl")
    assert [(row["question"], row["answer"]) for row in instruct] == [
        (row["query"], row["response"]) for row in given
    ]
    assert instruct[0] | {"question": "", "answer": ""} == {
        "question": "",
        "answer": "",
        "type": "MATH_Rephrased",
        "subject": "Algebra",
        "level": "Level 4",
    }
    card = json.loads((folder / "math_data_card.json").read_text())
    for name, facts in card["files"].items():
        content = (folder / name).read_bytes()
        assert facts["sha256"] == hashlib.sha256(content).hexdigest()
        assert facts["rows"] == len(content.splitlines())
    assert [(s["split"], s["rows"]) for s in card["sources"]] == [
        ("train", 20),
        ("train", 10),
        ("test", 5),
        ("train", 3),
        ("test", 2),
    ]
    assert card["guard"] == {"math_test": 10, "gsm8k": 10}  # questions and answers
    readme = (folder / "README.md").read_text()
    assert all(facts["sha256"] in readme for facts in card["files"].values())


def test_the_card_lets_datasets_load_both_sets(world, tmp_path):
    from datasets import load_dataset

    assert join(world, tmp_path / "data").exit_code == 0
    for config, columns in (
        ("instruct", ["question", "answer", "type", "subject", "level"]),
        ("alignment", ["prompt", "chosen", "rejected"]),
    ):
        loaded = load_dataset(str(tmp_path / "data"), config, split="train")
        assert loaded.column_names == columns


def test_what_does_not_belong_is_left_out_with_its_reason(world, tmp_path):
    question, answer = TRAIN[0]
    good = {
        "type": "MATH_Rephrased",
        "original_question": question.replace(" ", "\n  ", 3),  # other blanks: the same problem
        "query": "Rephrased?",
        "response": f"\\boxed{{{answer}}}",
    }
    gsm = gsm8k_rows()[0]
    near_gsm = "Her teacher says: " + GSM_PROBLEM.format(n=99).replace("Lena", "Mia")
    planted = {
        "made_from_gsm8k": [{**good, "type": kind} for kind in ("GSM_Rephrased", "GSM_SV")],
        "other_kind": [{**good, "type": "MATH_FOBAR"}],
        "unknown_kind": [{**good, "type": "AIME_Rephrased"}],
        "not_in_math_train": [{**good, "original_question": "What is two?"}],
        "duplicate": [good],
        "no_answer": [{**good, "response": "It is nine."}],
        "wrong_answer": [{**good, "response": "\\boxed{10}"}],
        "empty": [{**good, "query": " "}, {**good, "response": None}],
        "math_test_exact": [{**good, "query": TEST_PROBLEM.format(n=41).upper()}],
        "gsm8k_exact": [{**good, "query": gsm["question"]}],
        "gsm8k_ngram": [{**good, "query": near_gsm}],
        "math_test_contained": [
            {**good, "response": f"They meet after 43 hours. \\boxed{{{answer}}}"}
        ],
    }
    test = [*math_test_rows(), {"problem": "Find the sum of all even primes below ten.", **SHORT}]
    math_test = write_jsonl(tmp_path / "math_test.jsonl", test)
    planted["math_test_contained"][0]["query"] = (
        "Please find the sum of all even primes below ten, and say why."
    )
    rows = [good, *(row for rows in planted.values() for row in rows)]
    source = write_jsonl(tmp_path / "meta.jsonl", rows)
    run = join(world, tmp_path / "data", "--math-test", math_test, "--json", metamathqa=source)
    assert run.exit_code == 0, run.output
    card = json.loads(run.stdout)
    assert card["rejected"] == {reason: len(rows) for reason, rows in sorted(planted.items())}
    assert [row["prompt"] for row in read(tmp_path / "data" / "math_alignment.jsonl")] == [
        "Rephrased?"
    ]
    readme = (tmp_path / "data" / "README.md").read_text()
    assert "| `gsm8k_ngram` | 1 | shares 13 words in a row with an item of gsm8k |" in readme

    # Without the guard the four rows that only it finds are in, and the card says so.
    run = join(world, tmp_path / "open", "--no-guard", "--json", metamathqa=source)
    assert len(read(tmp_path / "open" / "math_alignment.jsonl")) == 5
    assert json.loads(run.stdout)["guard"] is None
    assert "**Off**" in (tmp_path / "open" / "README.md").read_text()


SHORT = {"solution": "Only $\\boxed{2}$."}


def test_sizes_and_seed(world, tmp_path):
    def drawn(name: str, *more: object) -> tuple[bytes, bytes]:
        sizes = ("--instruct-rows", 12, "--alignment-rows", 7)
        assert join(world, tmp_path / name, *sizes, *more).exit_code == 0
        files = ("math_instruct.jsonl", "math_alignment.jsonl")
        return tuple((tmp_path / name / file).read_bytes() for file in files)

    first = drawn("a")
    assert [len(content.splitlines()) for content in first] == [12, 7]
    assert drawn("b") == first
    assert drawn("c", "--seed", 7) != first


@pytest.mark.parametrize(
    "rename",
    [
        {"problem": "question", "type": "subject"},
        {"problem": "Problem", "solution": "Solution"},
        {"level": "level"},
    ],
)
def test_the_columns_of_other_copies(world, tmp_path, rename):
    rows = [{rename.get(k, k): v for k, v in row.items()} for row in math_rows()]
    copy = write_jsonl(tmp_path / "train.jsonl", [{**row, "level": 5} for row in rows])
    run = join(world, tmp_path / "data", "--math", copy)
    assert run.exit_code == 0, run.output
    rows = read(tmp_path / "data" / "math_instruct.jsonl")
    assert len(rows) == 20
    assert {row["level"] for row in rows} == {"Level 5"}
    assert {row["subject"] for row in rows} == {"Algebra", "Geometry"}


def test_sources_from_the_hub(world, tmp_path, monkeypatch):
    """Only the download is replaced: all subjects of MATH, and GSM8K's configuration `main`."""
    import datasets

    asked = []
    configs = {"EleutherAI/hendrycks_math": ["algebra", "geometry"], "openai/gsm8k": ["main"]}
    configs["openai/gsm8k"] += ["socratic"]
    configs["meta-math/MetaMathQA"] = ["default"]

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        rows = {
            "EleutherAI/hendrycks_math": math_rows() if split == "train" else math_test_rows(),
            "openai/gsm8k": gsm8k_rows(),
            "meta-math/MetaMathQA": metamath_rows(),
        }[name]
        if config in ("algebra", "geometry"):
            rows = [row for row in rows if row["type"].lower() == config]
        return rows

    monkeypatch.setattr(datasets, "get_dataset_config_names", configs.__getitem__)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    run = solar("from-metamathqa", "--out", tmp_path / "data")
    assert run.exit_code == 0, run.output
    assert set(asked) == {
        ("EleutherAI/hendrycks_math", "algebra", "train"),
        ("EleutherAI/hendrycks_math", "geometry", "train"),
        ("EleutherAI/hendrycks_math", "algebra", "test"),
        ("EleutherAI/hendrycks_math", "geometry", "test"),
        ("openai/gsm8k", "main", "train"),
        ("openai/gsm8k", "main", "test"),
        ("meta-math/MetaMathQA", "default", "train"),
    }
    assert len(read(tmp_path / "data" / "math_alignment.jsonl")) == 10


def test_faults(world, tmp_path):
    def line(run) -> str:
        assert run.exit_code == 1, run.output
        return run.output.strip().splitlines()[-1].removeprefix("Error: ")

    out = tmp_path / "data"
    assert line(join(world, out, "--kind", "GSM_Rephrased")) == (
        "--kind: GSM_Rephrased is made from GSM8K, which the paper keeps out. "
        "Choose from MATH_Rephrased, MATH_AnsAug, MATH_SV, MATH_FOBAR"
    )
    assert line(join(world, out, "--kind", "MATH_Rephased")).endswith(
        "Did you mean 'MATH_Rephrased'?"
    )
    no_test = write_jsonl(tmp_path / "half" / "train.jsonl", math_rows()).parent
    assert line(join(world, out, "--math-test", no_test)) == (
        f"--math-test: {no_test}: no test split here. Needed: .parquet, .jsonl or .json "
        "files. The guard needs it; --no-guard goes without, as the data card says"
    )
    assert line(join(world, out, "--gsm8k", tmp_path / "nowhere.jsonl")).startswith(
        f"--gsm8k: {tmp_path / 'nowhere.jsonl'}: no such file or folder. The guard needs it"
    )
    wrong = write_jsonl(tmp_path / "wrong.jsonl", [{"problem": "1?", "text": "2"}])
    assert line(join(world, out, "--math", wrong)) == (
        f"{wrong}: columns problem, text. Needed: solution or Solution or answer or Answer"
    )
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"type": "MATH_SV"}\n{"type": "MA', encoding="utf-8")
    assert line(join(world, out, metamathqa=torn)) == (
        f"{torn}:2: not a line of JSON: Unterminated string starting at: line 1 column 10 (char 9)"
    )
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(b"PAR1 and no more")
    assert line(join(world, out, metamathqa=cut)).startswith(f"{cut}: not readable as parquet: ")
    assert not out.exists()

    big = write_jsonl(  # some copies hold MATH's 5,000 test problems in their training split
        tmp_path / "big.jsonl",
        [{"problem": f"What is {n}?", "solution": f"\\boxed{{{n}}}"} for n in range(7_501)],
    )
    assert line(join(world, out, "--math", big, "--no-guard")) == (
        f"--math: {big} has 7,501 problems, MATH's training split 7,500: the others are test "
        "problems. Leave out --no-guard, or give another copy"
    )

    out.mkdir()
    (out / "README.md").write_text("mine")
    assert line(join(world, out)) == (
        f"{out / 'README.md'}: there already. Give another --out, or --overwrite"
    )
    assert (out / "README.md").read_text() == "mine"
    assert join(world, out, "--overwrite").exit_code == 0


def test_nothing_left_is_a_fault_with_its_reasons(world, tmp_path):
    rows = [{**row, "type": "GSM_Rephrased"} for row in metamath_rows()]
    source = write_jsonl(tmp_path / "gsm.jsonl", rows)
    run = join(world, tmp_path / "data", metamathqa=source)
    assert run.exit_code == 1
    assert run.output.strip().endswith(
        "no rephrased question is left. Rejected: made_from_gsm8k 20"
    )
