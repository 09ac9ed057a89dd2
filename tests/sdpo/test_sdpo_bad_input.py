"""Bad recipes and data, each told in one line that begins with the YAML path."""

from __future__ import annotations

import json

import pytest
from sdpo_world import Run, dataset, make_model, recipe

from solar_plugins.errors import SolarError
from solar_plugins.sdpo import args, recipe_rules

pytestmark = pytest.mark.slow

RECIPE = {"rl": "dpo", "rl_beta": 0.1, "learning_rate": 5e-7}
ORCA = {"path": "orca.jsonl", "type": "chatml.intel"}
STEP = {"datasets": [ORCA]}
LORA = {"adapter": "lora"}


def refusal(block: dict, change: dict | None = None) -> str:
    with pytest.raises(SolarError) as error:
        recipe_rules.check_recipe(RECIPE | (change or {}), args.parse(block), "T")
    return str(error.value)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            {"steps": [STEP | {"reference": "fixd"}]},
            "sdpo.steps[0].reference: 'fixd'. Write previous (the model of the step before), fixed "
            "(the model that the run starts from) or {path: MODEL}. Did you mean 'fixed'?",
        ),
        (
            {"steps": [STEP | {"reference": "./other"}]},
            "sdpo.steps[0].reference: './other'. Write previous (the model of the step before), "
            "fixed (the model that the run starts from) or {path: MODEL}. Did you mean "
            "`reference: {path: ./other}`?",
        ),
        (
            {"steps": [STEP | {"reference": {"model": "x"}}]},
            "sdpo.steps[0].reference: {'model': 'x'}. Write previous (the model of the step",
        ),
        (
            {"steps": [STEP], "policy": "bass"},
            "sdpo.policy: 'bass' is unknown. Write one of: previous, base. Did you mean 'base'?",
        ),
        (
            {"steps": [STEP, STEP], "order_by": "reward_acuracy"},
            "sdpo.order_by: 'reward_acuracy' is unknown. Write one of: given, random, "
            "reward_accuracy. Did you mean 'reward_accuracy'?",
        ),
        (
            {"steps": [STEP], "order_by": "random"},
            "sdpo.order_by: random with a single step. List several steps, or cut it with "
            "`split: 2`.",
        ),
        (
            {"steps": [STEP, STEP], "split": 2},
            "sdpo.split: 2 beside 2 steps. Put all datasets into one step, which is then cut; or "
            "take `split` out.",
        ),
        (
            {"steps": [STEP], "split": 1},
            "sdpo.split: 1. Input should be greater than or equal to 2.",
        ),
        (
            {"steps": [STEP | {"test_datasets": []}]},
            "sdpo.steps[0].test_datasets: no dataset for step 1. A step looks like "
            f"{args.EXAMPLE}.",
        ),
        (
            {"steps": [STEP | {"warmup_ratio": 0.1, "warmup_steps": 3}]},
            "sdpo.steps[0].warmup_ratio: beside warmup_steps; only one of them counts. Remove one.",
        ),
        (
            {"steps": [STEP | {"lora_r": 8}]},
            "sdpo.steps[0].lora_r: unknown key.",
        ),
        (
            {"steps": [STEP], "live_reference": "yes please"},
            "sdpo.live_reference: 'yes please' is unknown.",
        ),
    ],
)
def test_blocks(block, message):
    assert refusal(block).startswith(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rl": "kto"}, "rl: 'kto' with an sdpo block. Write `rl: dpo` (or ipo)."),
        (
            {"streaming": True},
            "streaming: true with an sdpo block; a stream cannot be read once for the reference "
            "and again to train. Remove it.",
        ),
        (
            {"processor_type": "AutoProcessor"},
            "processor_type: AutoProcessor with an sdpo block; its reference pass reads token ids "
            "only, and images would be lost. Remove it.",
        ),
        (
            LORA | {"rl_adapter_ref_model": True},
            "rl_adapter_ref_model: true with an sdpo block; the reference of a step has the "
            "adapter of the step before in it. Remove it.",
        ),
        (
            LORA | {"peft_init_lora_weights": "pissa"},
            "peft_init_lora_weights: pissa with an sdpo block; it changes the base weights in "
            "memory, and a step's adapter would be loaded on the unchanged ones when the run goes "
            "on. Remove it.",
        ),
        (
            {"early_stopping_patience": 2, "eval_steps": 4, "save_steps": 6},
            "early_stopping_patience: 2 with eval_steps: 4 and save_steps: 6. Set both, save_steps "
            "to a multiple of eval_steps.",
        ),
        (
            {"rl": "ipo", "dpo_label_smoothing": 0.1},
            "dpo_label_smoothing: 0.1 with rl: ipo, which does not read it. Remove it, or write "
            "rl: dpo.",
        ),
        (
            LORA | {"peft": 3},
            "peft: 3 found. A block of keys is needed; or remove it.",
        ),
        (
            {"early_stopping_patience": 2, "eval_steps": [4], "save_steps": 6},
            "early_stopping_patience: 2 with eval_steps: [4] and save_steps: 6. Set both, "
            "save_steps to a multiple of eval_steps.",
        ),
        (
            {"context_parallel_size": 2},
            "context_parallel_size: 2 with an sdpo block; each process would see a part of every "
            "answer. Remove it.",
        ),
    ],
)
def test_recipes(change, message):
    assert refusal({"steps": [STEP]}, change) == message


@pytest.mark.parametrize("datasets", [3, "orca.jsonl", [3], [["ab"]], {"path": "orca.jsonl"}])
def test_datasets_that_are_no_list_of_entries(datasets):
    assert refusal({"steps": [STEP]}, {"datasets": datasets}) == (
        "datasets: given beside sdpo.steps, so it is unclear when to train on them. "
        "Move them into a step, under sdpo.steps[…].datasets."
    )


def test_a_live_reference_takes_what_stored_log_probabilities_cannot():
    plan = args.parse({"steps": [STEP], "live_reference": True})

    recipe_rules.check_recipe(RECIPE | {"dpo_use_liger_kernel": True}, plan, "T")
    with pytest.raises(SolarError, match="precompute_ref_log_probs: true with"):
        recipe_rules.check_recipe(RECIPE | {"precompute_ref_log_probs": True}, plan, "T")
    with pytest.raises(SolarError, match=r"sdpo\.live_reference: true with adapter: lora"):
        recipe_rules.check_recipe(RECIPE | LORA, plan, "T")


@pytest.fixture
def told(small_world):
    """The last line of a run with one more step."""

    def run(step: dict, **changes) -> str:
        data = [dataset(small_world / "orca.jsonl", "chatml.default")]
        values = recipe(small_world, output_dir=str(small_world / "refused"), **changes)
        values["plugins"] = ["solar_plugins.StepwiseDPOPlugin"]
        values["sdpo"] = {"steps": [{"datasets": data}, {"datasets": data} | step]}
        line = Run(values).error()
        assert line.startswith("solar_plugins.errors.SolarError: ")
        assert not (small_world / "refused" / "step_1").exists()  # told before any training
        return line.removeprefix("solar_plugins.errors.SolarError: ")

    return run


def test_settings_are_typed_by_axolotls_schema(told):
    line = told({"warmup_steps": "few"})
    assert line.startswith("sdpo.steps[1].warmup_steps: 'few'. Input should be a valid integer")
    assert told({"lr_scheduler": "cosin"}) == (
        "sdpo.steps[1].lr_scheduler: no lr_scheduler is called 'cosin'. Did you mean 'cosine'?"
    )


def test_data_without_rows_or_of_another_kind(told, small_world):
    (small_world / "empty.jsonl").write_text("")
    assert told({"datasets": [dataset(small_world / "empty.jsonl", "chatml.default")]}) == (
        f"sdpo.steps[1].datasets: no rows in {small_world}/empty.jsonl. Put some in, or take it "
        "out."
    )
    strings = told({"datasets": [dataset(small_world / "orca.jsonl", "chatml.ultra")]})
    assert strings.startswith(
        f"sdpo.steps[1]: row 1 of {small_world}/orca.jsonl: not of the kind that its type reads: "
    )


def test_a_row_that_cannot_be_trained_as_it_is(told, small_world):
    path = small_world / "talks.jsonl"
    talk = [{"role": "user", "content": "red"}, {"role": "assistant", "content": " cat "}]
    rows = [{"chosen": talk, "rejected": [talk[0], talk[1] | {"content": "dog"}]} for _ in range(3)]
    rows[1]["rejected"] = [talk[0], talk[1] | {"content": ""}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    entry = dataset(path, "chat_template.argilla_chat")
    for key in ("datasets", "test_datasets"):
        assert told({key: [entry]}, chat_template="chatml") == (
            f"sdpo.steps[1]: row 2 of {path}: rejected: empty. Write an answer, or remove the row."
        )

    null = small_world / "null.jsonl"
    rows = [{"prompt": "red\n", "chosen": answer, "rejected": "dog"} for answer in ("cat", None)]
    null.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert told({"datasets": [dataset(null, "chatml.default")]}) == (
        f"sdpo.steps[1]: {null}: row 2: column 'chosen' is null. Fill it in, or remove the row."
    )
    assert told({"datasets": [{"path": str(null), "split": "train"}]}) == (
        f"sdpo.steps[1]: row 2 of {null}: chosen: null. Fill it in, or remove the row."
    )


def test_pairs_that_are_one_answer_twice(told, small_world):
    path = small_world / "equal.jsonl"
    rows = [json.loads(line) for line in (small_world / "orca.jsonl").read_text().splitlines()]
    path.write_text("".join(json.dumps(r | {"rejected": r["chosen"]}) + "\n" for r in rows))

    assert told({"datasets": [dataset(path, "chatml.default")]}) == (
        f"sdpo.steps[1]: chosen and rejected are the same in 20 of 20 rows of {path}: nothing to "
        "prefer. Look at the columns of `type`."
    )


def test_references_of_another_vocabulary_or_shape(told, small_world):
    from transformers import AutoConfig, AutoModelForCausalLM

    make_model(small_world / "wider", intermediate_size=128)
    assert told({"reference": {"path": str(small_world / "wider")}}) == (
        f"sdpo.steps[1].reference.path: {small_world}/wider has another shape than "
        f"{small_world}/sft (model.layers.0.mlp.down_proj.weight: (64, 128) against (64, 96)). "
        "Name a model of the same architecture and size."
    )

    config = AutoConfig.from_pretrained(small_world / "sft")
    config.vocab_size += 5
    AutoModelForCausalLM.from_config(config).save_pretrained(small_world / "more_words")
    assert told({"reference": {"path": str(small_world / "more_words")}}) == (
        f"sdpo.steps[1].reference.path: {small_world}/more_words has a vocabulary of "
        f"{config.vocab_size}, {small_world}/sft one of {config.vocab_size - 5}. A reference "
        "scores the policy's tokens; name a model with the same tokenizer."
    )

    nowhere = told({"reference": {"path": str(small_world / "nowhere")}})
    assert nowhere.startswith(f"sdpo.steps[1].reference.path: {small_world}/nowhere: no model")
