"""The world on disk: the same bytes twice, a tokenizer that loses nothing, tasks that lm-eval runs.

One test imports transformers and lm-eval; what needs neither is in test_world.py.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import solar_plugins.miniature
from solar_plugins.chain import data_stage
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

TASKS = Path(solar_plugins.miniature.__file__).parent / "lm_eval_tasks"
SIZES = {
    "pretrain_pages": 300,
    "continued_pages": 40,
    "held_out_pages": 8,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
}
RECIPE = {"generator": "miniature_world", "seed": 2312, **SIZES}


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "world"
    data_stage.generate(RECIPE, folder)
    return folder


def test_same_seed_same_bytes(world, tmp_path):
    again = tmp_path / "again"
    data_stage.generate(RECIPE, again)
    assert digests(again) == digests(world)
    other = tmp_path / "other"
    data_stage.generate({**RECIPE, "seed": 7}, other)
    changed = {name for name, digest in digests(other).items() if digests(world)[name] != digest}
    assert {"pretrain.jsonl", "orca.jsonl", "init/model.safetensors"} <= changed


def test_a_world_is_not_written_over_another_one(world):
    before = digests(world)
    with pytest.raises(FileExistsError, match="exists and is not empty"):
        data_stage.generate(RECIPE, world)
    assert digests(world) == before


def test_nothing_is_left_of_a_world_with_a_wrong_recipe(tmp_path):
    with pytest.raises(SolarError):
        data_stage.generate({**RECIPE, "sed": 1}, tmp_path / "world")
    assert list(tmp_path.iterdir()) == []


def test_tokenizer_loses_nothing(world):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "init")
    assert [tokenizer.bos_token, tokenizer.eos_token] == ["<s>", "</s>"]
    assert [tokenizer.pad_token, tokenizer.unk_token] == ["<pad>", "<unk>"]
    texts = [json.loads(line)["text"] for line in (world / "pretrain.jsonl").open()]
    for file in ("alpaca", "math_instruct"):
        for line in (world / f"{file}.jsonl").open():
            row = json.loads(line)
            texts += [row["instruction"], row["output"]]
    texts += [json.loads(line)["question"] for line in (world / "orca.jsonl").open()]
    for text in texts:
        ids = tokenizer(text).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer("aardvark", add_special_tokens=False).input_ids == [tokenizer.unk_token_id]


def test_chat_template_is_that_of_the_full_size_recipes(world):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(world / "init")
    ours = tokenizer.chat_template
    full_size = Path("recipes/templates/solar.jinja").read_text(encoding="utf-8")
    messages = [
        {"role": "system", "content": "answer the question."},
        {"role": "user", "content": "what can swim?"},
        {"role": "assistant", "content": "the trout."},
    ]
    for conversation in (messages, messages[1:], messages[:2]):
        ask = conversation[-1]["role"] == "user"
        rendered = [
            tokenizer.apply_chat_template(
                conversation, chat_template=template, tokenize=False, add_generation_prompt=ask
            )
            for template in (ours, full_size)
        ]
        assert rendered[0] == rendered[1]


def test_lm_eval_runs_the_tasks_and_an_untrained_model_knows_nothing(world, tmp_path):
    from solar_plugins.evaluation.h6 import evaluate_model

    config = tmp_path / "h6.yml"
    text = Path("recipes/tiny/h6.yml").read_text(encoding="utf-8")
    text = text.replace("./solar_plugins/miniature/lm_eval_tasks", str(TASKS))
    text = text.replace("./outputs/tiny/world", str(world)).replace("./outputs/tiny", str(tmp_path))
    config.write_text(text, encoding="utf-8")

    result = evaluate_model(config, world / "init", tmp_path / "init.json", "init")

    scores = {task["benchmark"]: task for task in result["tasks"].values()}
    assert {name: task["metric"] for name, task in scores.items()} == {
        "arc": "acc_norm",
        "hellaswag": "acc_norm",
        "mmlu": "acc",
        "truthfulqa": "acc",
        "winogrande": "acc",
        "gsm8k": "exact_match",
    }
    assert scores["gsm8k"]["value"] == 0.0
    assert scores["gsm8k"]["chance"] is None
    for name, chance in (
        ("arc", 0.25),
        ("hellaswag", 0.25),
        ("mmlu", 0.25),
        ("truthfulqa", 0.25),
        ("winogrande", 0.5),
    ):
        assert scores[name]["chance"] == chance
        assert abs(scores[name]["value"] - chance) < 0.15
    assert result["losses"]["mini_loss"]["value"] > 1.0
