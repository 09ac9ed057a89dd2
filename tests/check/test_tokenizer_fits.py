"""A base whose tokenizer, configs, template and recipe do not agree on where a text ends."""

from __future__ import annotations

import json
from pathlib import Path

import planted_files
import pytest

from solar_plugins.check import check_files

RECIPE = """\
base_model: models/llama
datasets: [{path: data/chat.jsonl, type: TYPE}]
sequence_len: 128
micro_batch_size: 1
learning_rate: 1.0e-4
output_dir: ./out
"""
ALPACA = RECIPE.replace("TYPE", "alpaca").replace("chat.jsonl", "alpaca.parquet")
CHAT = RECIPE.replace("TYPE", "chat_template")
LORA = ALPACA + "adapter: lora\nlora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n"
PAIRS = RECIPE.replace("chat.jsonl", "pairs.jsonl").replace(
    "TYPE", '{field_prompt: question, prompt_format: "<s>{prompt}", chosen_format: "{chosen}"}'
)
TURN = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}END{% endfor %}"
SEQUENCE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]}


@pytest.fixture(autouse=True)
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planted_files.write(tmp_path)


def found(text: str) -> list[tuple[str, str, bool]]:
    Path("recipe.yml").write_text(text, encoding="utf-8")
    every = check_files(["recipe.yml"], with_axolotl=False)
    return [(f.path, f.message, f.is_note) for f in every]


def change(file: str, **values: object) -> None:
    path = Path("models/llama", file)
    before = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps(before | values))


@pytest.mark.parametrize(
    ("config", "generation", "is_note"),
    [
        ({"eos_token_id": 2}, {"eos_token_id": [1, 2]}, None),
        ({"eos_token_id": 1}, {}, False),
        ({}, {"eos_token_id": 1}, False),
        ({"eos_token_id": 2}, {"eos_token_id": [1]}, False),
        ({"eos_token_id": 1}, {"eos_token_id": [1, 2]}, True),  # generation stops rightly
    ],
)
def test_ends_of_tokenizer_and_configs(config, generation, is_note):
    change("config.json", **config)
    change("generation_config.json", **generation)
    told = found(ALPACA)
    if is_note is None:
        assert told == []
        return
    ((path, message, note),) = told
    assert (path, note) == ("base_model", is_note)
    assert message.startswith("the tokenizer of models/llama ends a text with '</s>' (2), its ")
    assert "with '<s>' (1). Correct the wrong one" in message
    chosen = ALPACA + 'special_tokens: {eos_token: "<s>"}\n'
    assert found(chosen) == []


def test_a_start_that_the_template_and_trl_both_write():
    change("tokenizer.json", post_processor=SEQUENCE)
    pairs = CHAT.replace("chat_template", "chat_template.default, field_messages: question")
    pairs = pairs.replace("chat.jsonl", "pairs.jsonl") + "rl: dpo\n"
    for start, is_found in (("{{ bos_token }}", True), ("<s>", True), ("", False)):
        Path("t.jinja").write_text(start + TURN.replace("END", "</s>"))
        told = found(f"{pairs}chat_template: jinja\nchat_template_jinja: t.jinja\n")
        notes = [m for path, m, is_note in told if is_note and "TRL puts another" in m]
        assert len(notes) == is_found, told


def test_a_start_that_is_the_end(says):
    change("tokenizer_config.json", bos_token="</s>")
    ((_, message, is_note),) = found(ALPACA)
    says(message)
    assert is_note


@pytest.mark.parametrize(
    ("end", "more", "said"),
    [
        ("{{ eos_token }}", "", None),
        ("</s>", "", None),
        ("<|im_end|>", "eot_tokens: [<|im_end|>]\n", None),
        ("<|im_end|>", "", "Write `special_tokens: {eos_token: '<|im_end|>'}`."),
        ("", "", "Write {{ eos_token }} after it."),
        # written, but before the answers
        ("{{ raise_exception(eos_token) if false }}", "", "Write {{ eos_token }} after it."),
    ],
)
def test_the_end_of_a_turn_in_the_models_own_template(end, more, said):
    change("tokenizer_config.json", chat_template=TURN.replace("END", end))
    told = [entry for entry in found(CHAT + more) if entry[0] == "base_model"]
    assert len(told) == (said is not None)
    for _, message, is_note in told:
        assert not is_note
        assert message.startswith(
            "the template writes '</s>', the end of sequence, after no answer"
        )
        assert message.endswith(said)
    assert found(ALPACA) == []  # which uses no template


def test_a_template_that_cannot_be_rendered_here_is_read():
    change("tokenizer_config.json", chat_template="{{ messages.nothing.at.all }}{{ eos_token }}")
    assert found(CHAT) == []


@pytest.mark.parametrize("more", ["", "lora_modules_to_save: [lm_head]\n"])
@pytest.mark.parametrize(
    ("tokens", "place"),
    [
        ("tokens: [<|a|>]\n", "tokens"),
        ("special_tokens: {additional_special_tokens: [<|a|>]}\n", "special_tokens"),
    ],
)
def test_new_tokens_under_an_adapter_need_saved_embeddings(tokens, place, more, says):
    ((path, message, is_note),) = found(LORA + tokens + more)
    assert (path, is_note) == (place, False)
    says(message)
    assert found(LORA + tokens + "lora_modules_to_save: [embed_tokens, lm_head]\n") == []
    assert found(ALPACA + tokens) == []
    change("config.json", model_type="gpt_neox")
    assert "[embed_in, embed_out]" in found(LORA + tokens + more)[0][1]


def test_a_start_in_a_format_that_the_tokenizer_writes_as_well():
    assert found(PAIRS + "rl: dpo\n") == []
    change("tokenizer.json", post_processor=SEQUENCE)
    ((path, message, is_note),) = found(PAIRS + "rl: dpo\n")
    assert (path, is_note) == ("datasets[0].type.prompt_format", False)
    assert message.startswith("begins with '<s>', which the tokenizer writes before every text")
    change("tokenizer_config.json", add_bos_token=False)
    assert found(PAIRS + "rl: dpo\n") == []


def test_prompt_and_answer_apart_under_a_tokenizer_that_puts_blanks_before_both(says):
    own = ALPACA.replace("type: alpaca", 'type: {format: "{instruction}"}')
    ours = ALPACA.replace("type: alpaca", "type: solar_plugins.chat") + "chat_template: alpaca\n"
    assert [found(text) for text in (own, ALPACA, ours)] == [[], [], []]
    blanks = {"normalizer": {"type": "Prepend", "prepend": "\u2581"}}
    for parts in (blanks, {"normalizer": None, "pre_tokenizer": {"type": "Metaspace"}}):
        change("tokenizer.json", **parts)
        for text in (own, ALPACA):
            ((path, message, is_note),) = found(text)
            assert (path, is_note) == ("datasets[0].type", True)
            says(message)
        assert found(ours) == []


def test_our_type_is_read_in_a_step_of_sdpo_alone_of_preference_data(says):
    text = RECIPE.replace("TYPE", "solar_plugins.chat").replace("chat.jsonl", "pairs.jsonl")
    ((path, message, is_note),) = found(text + "chat_template: alpaca\nrl: dpo\n")
    assert (path, is_note) == ("datasets[0].type", False)
    says(message)


@pytest.mark.parametrize(
    ("line", "is_there"),
    [
        ("model_type: AutoModelForVision2Seq\n", False),
        ("model_type: AutoModelForImageTextToText\n", True),
        ("model_type: MyModelForCausalLM\ntrust_remote_code: true\n", True),
        ("tokenizer_type: LlamaTokenizer\n", True),
        ("tokenizer_type: NllbMoeTokenizerFast\n", False),
    ],
)
def test_classes_that_transformers_does_not_have(line, is_there):
    told = found(ALPACA + line)
    assert (told == []) is is_there
    for path, message, _ in told:
        assert path == line.partition(":")[0]
        assert "has no class" in message
        assert message.endswith("Take it out: Axolotl chooses one.")


@pytest.mark.parametrize("value", ["3", "true", "[1]", "{a: 1}", "[[1]]", "word"])
@pytest.mark.parametrize(
    "key",
    ["tokens", "special_tokens", "lora_modules_to_save", "model_type", "plugins", "eot_tokens"],
)
def test_strange_values_stop_no_rule(key, value):
    text = LORA.replace("alpaca}", "chat_template}") + f"{key}: {value}\n"
    assert not any("validator failed" in message for _, message, _ in found(text))
