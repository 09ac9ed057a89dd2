"""The plan: reading `sdpo:`, finding the finished steps, refusing what cannot be honoured."""

from __future__ import annotations

import json

import pytest

from solar_plugins.errors import SolarError
from solar_plugins.sdpo import args, recipe_rules, step_records

TRAINER = "solar_plugins.sdpo.plugin.AxolotlStepTrainer"
ORCA = {"path": "Intel/orca_dpo_pairs", "type": "chatml.intel", "split": "train"}
ULTRA = {"path": "allenai/ultrafeedback_binarized_cleaned", "split": "train_prefs"}
RECIPE = {"base_model": "sft", "rl": "dpo", "rl_beta": 0.1, "learning_rate": 5e-7, "num_epochs": 1}
BLOCK = {"steps": [{"datasets": [ORCA]}, {"datasets": [ULTRA], "learning_rate": "2e-7"}]}


def test_steps_are_numbered_from_one_and_keep_their_own_settings():
    first, second = args.parse(BLOCK).steps

    assert (first.number, first.datasets, first.settings) == (1, [ORCA], {})
    # YAML reads 2e-7 as text; the number is meant.
    assert (second.number, second.settings) == (2, {"learning_rate": 2e-7})
    assert first.note(2, RECIPE)["settings"]["learning_rate"] == 5e-7
    assert second.note(2, RECIPE)["settings"]["learning_rate"] == 2e-7


EXAMPLE = "`- datasets: [{path: Intel/orca_dpo_pairs, type: chatml.intel, split: train}]`"


@pytest.mark.parametrize(
    "block",
    [
        {"stepz": []},
        {"steps": []},
        {},
        ["steps"],
        {"steps": [{"datasets": [ORCA]}, {"learning_rate": 1e-6}]},
        {"steps": [{"dataset": [ORCA]}]},
        {"steps": [{"datasets": ["orca.jsonl"]}]},
        {"steps": [{"datasets": [ORCA], "num_epochs": 0}]},
        {"steps": [{"datasets": [ORCA], "rl_beta": "small"}]},
    ],
)
def test_a_block_that_cannot_be_read_is_told_in_one_line(block, says):
    with pytest.raises(SolarError) as error:
        args.parse(block)

    says(str(error.value))


@pytest.mark.parametrize(
    "change",
    [
        {"rl": "orpo"},
        {"rl": None},
        {"datasets": [{"path": "other.jsonl"}]},
        {"adapter": "llama-adapter"},
        {"trainer_cls": "my.Trainer"},
        {"resume_from_checkpoint": "out/checkpoint-3"},
        {"precompute_ref_log_probs": False},
        {"dpo_use_liger_kernel": True},
        {"depth_up_scaling": {"remove_layers": 8}},
    ],
)
def test_a_recipe_that_cannot_be_honoured_is_told_in_one_line(change, says):
    plan = args.parse(BLOCK)
    recipe_rules.check_recipe(RECIPE, plan, TRAINER)

    with pytest.raises(SolarError) as error:
        recipe_rules.check_recipe(RECIPE | change, plan, TRAINER)

    says(str(error.value))


def test_registering_twice_is_no_conflict():
    plan = args.parse(BLOCK)

    recipe_rules.check_recipe(
        RECIPE | {"datasets": [ORCA, ULTRA], "trainer_cls": TRAINER}, plan, TRAINER
    )


@pytest.fixture
def finished(tmp_path):
    """A run folder in which both steps of BLOCK are done."""
    for step in args.parse(BLOCK).steps:
        where = step_records.folder(tmp_path, step.number)
        where.mkdir()
        (where / "model.safetensors").write_bytes(b"x" * 100)
        (where / "README.md").write_text("a card")
        step_records.write_marker(
            where,
            step.note(2, RECIPE)
            | {"reference_digest": f"m{step.number - 1}", "model_digest": f"m{step.number}"},
        )
    return tmp_path


def numbers(output_dir, block=BLOCK, recipe=RECIPE):
    done = step_records.finished_steps(output_dir, args.parse(block).steps, recipe)
    return [marker["step"] for marker in done]


def test_finished_steps_are_found(finished, tmp_path_factory):
    assert numbers(finished) == [1, 2]
    assert numbers(tmp_path_factory.mktemp("empty")) == []


def test_a_model_without_marker_is_half_written_and_not_finished(finished):
    (finished / "step_2" / step_records.MARKER).unlink()
    assert numbers(finished) == [1]

    # Without its first step the second has no meaning either.
    (finished / "step_1" / step_records.MARKER).unlink()
    assert numbers(finished) == []


def test_a_step_whose_reference_was_replaced_is_trained_again(finished):
    marker = finished / "step_1" / step_records.MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"model_digest": "another"}))

    assert numbers(finished) == [1]


def test_an_edited_model_card_changes_nothing(finished):
    (finished / "step_1" / "README.md").write_text("a longer card")

    assert numbers(finished) == [1, 2]


def test_a_finished_model_that_was_cut_short_is_refused(finished):
    (finished / "step_1" / "model.safetensors").write_bytes(b"x" * 60)

    with pytest.raises(SolarError) as error:
        numbers(finished)

    assert str(error.value) == (
        f"{finished}/step_1/model.safetensors: gone or cut short since the step ended. "
        f"Delete {finished}/step_1 to train that step again."
    )


def test_another_number_of_steps_is_refused(finished):
    three = {"steps": [*BLOCK["steps"], {"datasets": [ORCA]}]}

    with pytest.raises(SolarError) as error:
        numbers(finished, three)

    assert str(error.value) == (
        f"sdpo.steps: 3 now, but {finished}/step_1 was trained as step 1 of 2. Put the steps back "
        f"to go on, or delete {finished}/step_* (or choose another output_dir) to start anew."
    )


def test_a_changed_earlier_step_is_refused(finished):
    swapped = {"steps": [{"datasets": [ULTRA]}, BLOCK["steps"][1]]}
    anew = f"delete {finished}/step_* (or choose another output_dir) to start anew."

    with pytest.raises(SolarError) as error:
        numbers(finished, swapped)
    assert str(error.value) == (
        'sdpo.steps[0].datasets: [{"path": "allenai/ultrafeedback_binarized_cleaned", "split": '
        '"train_prefs"}] now, [{"path": "Intel/orca_dpo_pairs", "type": "chatml.intel", "split": '
        f'"train"}}] when {finished}/step_1 was trained. Put it back to go on, or {anew}'
    )

    with pytest.raises(SolarError) as error:
        numbers(finished, recipe=RECIPE | {"learning_rate": 1e-6})
    assert str(error.value) == (
        f"learning_rate: 1e-06 now, 5e-07 when {finished}/step_1 was trained. "
        f"Put it back to go on, or {anew}"
    )


def test_what_does_not_decide_the_weights_may_change(finished):
    assert numbers(finished, recipe=RECIPE | {"logging_steps": 5, "wandb_project": "new"}) == [1, 2]


def test_a_step_without_weights_is_not_declared_finished(tmp_path):
    with pytest.raises(SolarError, match="no weights were saved"):
        step_records.write_marker(tmp_path, {})

    assert not (tmp_path / step_records.MARKER).exists()


def test_the_papers_choices_are_the_defaults_and_a_step_may_choose_otherwise():
    block = {
        "policy": "base",
        "steps": [
            {"datasets": [ORCA]},
            {"datasets": [ULTRA], "policy": "previous"},
            {"datasets": [ORCA], "reference": "fixed"},
            {"datasets": [ULTRA], "reference": {"path": "./m"}},
        ],
    }
    steps = args.parse(block).steps

    assert [step.starts_from for step in steps] == ["base", "previous", "base", "base"]
    assert [step.refers_to for step in steps] == ["base", "previous", "base", "path"]
    assert steps[3].reference_path == "./m"
    ours = args.parse(BLOCK).steps
    assert [step.refers_to for step in ours] == ["base", "previous"]
    assert "reference" not in ours[1].note(2, RECIPE)["settings"]


def test_a_changed_reference_or_start_is_refused(finished):
    for key, value in (("reference", "fixed"), ("policy", "base")):
        changed = {"steps": [BLOCK["steps"][0], BLOCK["steps"][1] | {key: value}]}
        with pytest.raises(SolarError) as error:
            numbers(finished, changed)
        assert str(error.value).startswith(f'sdpo.steps[1].{key}: "{value}" now, null when')


def test_one_step_is_cut_into_several():
    plan = args.parse({"steps": [{"datasets": [ORCA]}], "split": 3})

    assert plan.count == 3
    assert [(step.number, step.index) for step in plan.in_order([0])] == [(1, 0), (2, 0), (3, 0)]
    note = plan.in_order([0])[1].note(3, RECIPE | {"sdpo": {"split": 3, "order_by": "given"}})
    assert (note["step"], note["of"], note["settings"]["split"]) == (2, 3, 3)
    assert "order_by" not in note["settings"]
