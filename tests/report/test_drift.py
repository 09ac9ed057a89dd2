"""The distance of a preference training from its start, from logs with planted log-ratios."""

from __future__ import annotations

import json

import pytest
from small_run import write_run

from solar_plugins.report import results
from solar_plugins.report.run import StageRun, read_run
from solar_plugins.report.write import to_html


def facts(number: int, reference: str, model: str, beta: float) -> dict:
    return {
        "step": number,
        "beta": beta,
        "start_digest": "sft" if number == 1 else f"m{number - 1}",
        "reference_digest": reference,
        "model_digest": model,
    }


def logs(beta: float, gone: list[tuple[int, float, float]]) -> list[dict]:
    """Logs of updates in which chosen and rejected lost so many nats against the reference."""
    return [
        {"step": at, "rewards/chosen": -beta * chosen, "rewards/rejected": -beta * rejected}
        for at, chosen, rejected in gone
    ]


FIRST = logs(0.1, [(1, 0, 0), (2, 1, 3), (3, 2, 6)])  # 0, 2 and 4 nats
SECOND = logs(0.5, [(4, 0, 0), (5, -1, 2)])  # 0 and half a nat more


def kl_to_start(steps: list[dict], logged: dict[int, list[dict]]) -> dict:
    """Of a stage with these facts and logs."""
    metrics = [
        {**log, "sdpo_step": number, "rewards/accuracies": 0.5}
        for number, logs_ in logged.items()
        for log in logs_
    ]
    return results.kl_to_start(
        StageRun("dpo", "train", (), metrics=metrics, proofs={"sdpo": {"steps": steps}})
    )


def rounded(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(at, round(value, 9)) for at, value in points]


def test_each_step_goes_on_from_where_its_reference_ended():
    steps = [facts(1, "sft", "m1", 0.1), facts(2, "m1", "m2", 0.5)]

    found = kl_to_start(steps, {1: FIRST, 2: SECOND})

    assert rounded(found[1]) == [(1, 0), (2, 2), (3, 4)]
    assert rounded(found[2]) == [(4, 4), (5, 4.5)]


def test_a_fixed_reference_is_the_start_itself():
    steps = [facts(1, "sft", "m1", 0.1), facts(2, "sft", "m2", 0.5)]

    assert rounded(kl_to_start(steps, {1: FIRST, 2: SECOND})[2]) == [(4, 0), (5, 0.5)]


def test_another_model_as_reference_tells_nothing_of_the_start():
    steps = [facts(1, "other", "m1", 0.1), facts(2, "m1", "m2", 0.5)]

    assert kl_to_start(steps, {1: FIRST, 2: SECOND}) == {}
    assert kl_to_start([], {1: FIRST}) == {}


def test_the_report_draws_it_and_says_how_far_it_went(tmp_path):
    run = write_run(tmp_path / "run")
    assert "KL to the start" not in to_html(read_run(run))
    steps = [
        {"rows": 400, **facts(1, "sft", "m1", 0.1)},
        {"rows": 300, **facts(2, "m1", "m2", 0.1)},
    ]
    (run / "cand_1" / "solar" / "sdpo.json").write_text(json.dumps({"steps": steps}))

    read = read_run(run)
    page = to_html(read)
    rewards = {(row.stage, row.step): row.kl_last for row in results.rewards(read)}

    assert 'aria-label="cand_1: KL to the start"' in page
    assert 'aria-label="cand_2: KL to the start"' not in page
    # small_run: chosen gains 0.4 margins and rejected loses 0.6, at beta 0.1.
    ends = {
        number: found[-len(found) // 5 :]
        for number, found in results.preference_logs(read.stages["cand_1"]).items()
    }
    mean = {
        number: sum(log["rewards/margins"] for log in end) / len(end)
        for number, end in ends.items()
    }
    assert rewards["cand_1", 1] == pytest.approx(mean[1])
    assert rewards["cand_1", 2] == pytest.approx(mean[1] + mean[2])
    assert rewards["cand_2", 1] is None
