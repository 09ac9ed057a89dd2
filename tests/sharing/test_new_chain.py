"""`solar new` with a base and rows of one's own: a chain that checks clean and is sized."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_models import byte_tokenizer, write_tiny_model

from solar_plugins import project
from solar_plugins.chain.chain_file import load_chain
from solar_plugins.check import check_files
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.plan.stages import GIB, Machine, plan_chain
from solar_plugins.sharing import new_chain

pytestmark = pytest.mark.slow

ROWS = {
    "text": [{"text": f"page {n} is here"} for n in range(50)],
    "sft": [{"question": f"{n}?", "answer": f"{n}!"} for n in range(50)],
    "pairs": [{"prompt": f"{n}?", "chosen": "yes", "rejected": "no"} for n in range(50)],
}


@pytest.fixture
def files(tmp_path, monkeypatch) -> dict[str, Path]:
    monkeypatch.chdir(tmp_path)
    write_tiny_model("base", byte_tokenizer(), max_position_embeddings=512)
    made = {kind: Path(f"{kind}.jsonl") for kind in ROWS}
    for kind, file in made.items():
        file.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS[kind]))
    return made


@pytest.mark.parametrize("kinds", [("text", "sft", "pairs"), ("sft",), ("pairs",)])
def test_it_checks_clean_and_holds_rows_out(files, kinds):
    options = [part for kind in kinds for part in (f"--{kind}", str(files[kind]))]
    made = CliRunner().invoke(
        cli, ["new", "mine", "--base-model", "base", "--gpu", "cpu", *options]
    )
    assert made.exit_code == 0, made.output
    for kind in kinds:
        read = [
            Path(f"mine/data/{name}.jsonl").read_text().splitlines()
            for name in (kind, new_chain.TASKS[kind])
        ]
        assert [len(lines) for lines in read] == [45, 5]
        assert not set(read[0]) & set(read[1])
    with project.working_in(Path("mine")):
        chain = load_chain("solar.yml")
        first = "cpt" if "text" in kinds else "dus"
        trained = [new_chain.STAGES[kind] for kind in kinds]
        assert {*chain.stages} == {first, *trained, "held_out"}
        assert chain.stages["held_out"].from_ == tuple(
            dict.fromkeys(["base_model", first, *trained])
        )
        assert [f.text for f in check_files(["solar.yml"], False) if not f.is_note] == []
        plan = plan_chain("solar.yml", Machine(1, 8 * GIB, 1e11, is_cpu=True))
        steps = [chain.settings[name]["max_steps"] for name in trained]
        assert steps == [11] * len(kinds)  # 45 rows, 4 at a time
        assert {stage.layers for stage in plan.stages if stage.layers} == {6}


def test_steps_follow_the_minutes_and_memory_the_machine(files):
    slow = Machine(1, 8 * GIB, 1e9, is_cpu=True)
    plan, _ = new_chain.write_chain(Path("slow"), "base", files, slow, minutes=0.2)
    assert plan.hours is not None
    assert 0 < plan.hours * 60 <= 0.2
    steps = [keys["max_steps"] for keys in plan.chain.settings.values() if "max_steps" in keys]
    assert len(steps) == 3
    assert 1 <= min(steps) < 11
    with pytest.raises(SolarError, match=r"--base-model base: cpt: .* Choose a smaller base"):
        new_chain.write_chain(Path("small"), "base", files, Machine(1, 1.0, is_cpu=True), 30)
    assert not Path("small").exists()


def test_wrong_usage(files):
    for options, says in (
        (["--base-model", "base"], "Write --base-model and at least one of"),
        (["--sft", "sft.jsonl"], "Write --base-model and at least one of"),
        (["--sft", "sft.jsonl", "--from", "a.zip"], "mutually exclusive"),
    ):
        run = CliRunner().invoke(cli, ["new", "mine", *options])
        assert run.exit_code == 2
        assert says in run.output
