"""From easy to hard: the measurement, the order of steps, and one data set cut into steps."""

from __future__ import annotations

import json
import math
import random
from itertools import pairwise

import pytest
from sdpo_world import WORDS, Run, dataset, probed, recipe, sha256

from solar_plugins import run_record
from solar_plugins.sdpo import args, difficulty

pytestmark = pytest.mark.slow

PLUGINS = ["solar_plugins.StepwiseDPOPlugin", "sdpo_probe.ProbePlugin"]


def test_reward_accuracy_is_the_share_of_pairs_with_the_likelier_chosen_answer():
    found = difficulty.measured("d", [(-1.0, -3.0), (-2.0, -1.0), (-4.0, -4.0), (-5.0, -9.0)])

    assert found == {"name": "d", "rows": 4, "reward_accuracy": 0.5, "mean_margin": 1.25}


def test_easy_to_hard_is_by_falling_accuracy_and_keeps_the_order_of_equals():
    assert difficulty.easy_to_hard([0.2, 0.9, 0.5, 0.9]) == [1, 3, 2, 0]


@pytest.mark.parametrize("order_by", ["given", "random", "reward_accuracy"])
@pytest.mark.parametrize(("rows", "count"), [(10, 3), (7, 2), (5, 5)])
def test_chunks_share_all_rows_out_evenly(order_by, rows, count):
    draw = random.Random(4)
    pairs = [(draw.gauss(0, 1), draw.gauss(0, 1)) for _ in range(rows)]

    chunks = difficulty.chunks(rows, count, order_by, 7, pairs)

    assert sorted(row for chunk in chunks for row in chunk) == list(range(rows))
    assert max(map(len, chunks)) - min(map(len, chunks)) <= 1
    if order_by == "reward_accuracy":
        margins = [[pairs[i][0] - pairs[i][1] for i in chunk] for chunk in chunks]
        for easier, harder in pairwise(margins):
            assert min(easier) >= max(harder)
    if order_by == "given":
        assert [row for chunk in chunks for row in chunk] == list(range(rows))
    if order_by == "random" and rows == 10:
        assert chunks == difficulty.chunks(rows, count, order_by, 7)
        assert chunks != difficulty.chunks(rows, count, order_by, 8)


def test_a_random_order_of_steps_is_the_seeds():
    steps = [{"datasets": [{"path": f"{n}.jsonl"}]} for n in range(6)]
    plan = args.parse({"steps": steps, "order_by": "random"})

    assert plan.random_order(1) == plan.random_order(1) != plan.random_order(2)
    drawn = plan.in_order(plan.random_order(1))
    assert [step.number for step in drawn] == [1, 2, 3, 4, 5, 6]
    assert [step.index for step in drawn] == plan.random_order(1)


def make_sets(world):
    """Pairs whose chosen answer is the shorter one (easy for any model), and the other way."""
    draw = random.Random(9)

    def words(count):
        return " ".join(draw.choice(WORDS) for _ in range(count))

    rows = {"hard": [], "easy": [], "mixed": []}
    for number in range(24):
        short, long = words(2), words(9)
        prompt = words(3)
        rows["easy"].append({"prompt": prompt, "chosen": short, "rejected": long})
        rows["hard"].append({"prompt": prompt, "chosen": long, "rejected": short})
        rows["mixed"].append(rows["easy" if number % 2 else "hard"][-1])
    for name, of in rows.items():
        (world / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of))


def ordered(world, output, names, block, **changes):
    steps = [{"datasets": [dataset(world / f"{n}.jsonl", "chatml.default")]} for n in names]
    values = recipe(world, output_dir=str(world / output), plugins=PLUGINS, **changes)
    return values | {"sdpo": {"steps": steps, **block}}


@pytest.fixture(scope="module")
def sets(small_world):
    make_sets(small_world)
    return small_world


@pytest.fixture(scope="module")
def by_accuracy(sets):
    names = ["hard", "mixed", "easy"]
    values = ordered(sets, "by_accuracy", names, {"order_by": "reward_accuracy"})
    Run(values).end()
    return values, sets / "by_accuracy"


def test_the_steps_are_trained_from_easy_to_hard(by_accuracy):
    _, output = by_accuracy
    facts = run_record.read(output, "sdpo")
    names = [step["datasets"][0]["path"].rpartition("/")[2] for step in facts["steps"]]
    assert names == ["easy.jsonl", "mixed.jsonl", "hard.jsonl"]
    accuracies = [one["reward_accuracy"] for one in facts["difficulty"]]
    assert (accuracies[0], accuracies[2]) == (1.0, 0.0)
    assert 0 < accuracies[1] < 1
    for step in facts["steps"]:
        assert step["first_loss"] == pytest.approx(math.log(2), abs=5e-7)
    # The measurement's model was freed before the policy was loaded.
    assert len([e for e in probed(output) if e["event"] == "load"]) == 2


def test_the_order_is_kept_when_the_run_goes_on(by_accuracy):
    values, output = by_accuracy
    before = sha256(output)
    (output / "step_3" / "sdpo_step.json").unlink()
    loads = len([e for e in probed(output) if e["event"] == "load"])

    Run(values).end()

    assert sha256(output) == before
    assert len([e for e in probed(output) if e["event"] == "load"]) == loads + 1


def test_one_set_is_cut_into_steps_from_easy_to_hard(sets):
    block = {"order_by": "reward_accuracy", "split": 3}
    Run(ordered(sets, "split", ["mixed"], block, val_set_size=0.0, eval_strategy=None)).end()

    facts = run_record.read(sets / "split", "sdpo")
    assert [step["rows"] for step in facts["steps"]] == [8, 8, 8]
    accuracies = [one["reward_accuracy"] for one in facts["difficulty"]]
    assert (accuracies[0], accuracies[2]) == (1.0, 0.0)
    for step in facts["steps"]:
        assert step["first_loss"] == pytest.approx(math.log(2), abs=5e-7)


def test_difficulty_measures_without_training(sets, capfd):
    import yaml
    from click.testing import CliRunner

    from solar_plugins.cli import cli

    file = sets / "difficulty.yml"
    values = ordered(sets, "untrained", ["hard", "easy"], {})
    file.write_text(yaml.safe_dump(values))
    result = CliRunner().invoke(cli, ["difficulty", str(file), "--json"])

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["order"] == [1, 0]
    assert [one["reward_accuracy"] for one in found["measured"]] == [1.0, 0.0]
    assert not list((sets / "untrained").glob("step_*"))
