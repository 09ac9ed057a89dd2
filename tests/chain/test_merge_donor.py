"""Merges without a base: the same files every time, with config and template of the first."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file
from tiny_models import word_tokenizer, write_tiny_model

from solar_plugins.chain.run import stages

pytestmark = pytest.mark.slow

WORDS = [f"w{number}" for number in range(20)]
TEMPLATE = "{% for m in messages %}{{ m['content'] + eos_token }}{% endfor %}"
CHAIN = """\
name: small
base_model: ./one
output_dir: ./run
stages:
  other: {data: other.yml}
  mix: {merge: mix.yml, from: [other, base_model]}
"""
OTHER = """\
generator: untrained_model
architecture: mistral
tokenizer: ./two
seed: 3
config:
  {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 4, num_attention_heads: 4,
   num_key_value_heads: 2, rms_norm_eps: 1.0e-5, sliding_window: 64}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for seed, (name, theta) in enumerate((("one", 1e4), ("two", 5e5))):
        tokenizer = word_tokenizer(WORDS, chat_template=TEMPLATE + name)
        rope = {"rope_theta": theta, "rope_type": "default"}
        write_tiny_model(name, tokenizer, "mistral", seed, rope_parameters=rope, vocab_size=64)
    return tmp_path


def config(*models: str, method: str = "linear") -> dict:
    inputs = [{"model": model, "parameters": {"weight": 0.5}} for model in models]
    return {"merge_method": method, "models": inputs, "dtype": "float32"}


def merged(content: dict, folder: str) -> tuple[Path, dict]:
    Path(f"{folder}.yml").write_text(yaml.safe_dump(content))
    out = Path("out") / folder
    out.parent.mkdir(exist_ok=True)
    facts = stages.merge(Path(f"{folder}.yml"), out, Path("temporary"))
    assert sorted(Path("temporary").iterdir()) == []
    return out, facts


@pytest.mark.parametrize("method", ["linear", "nuslerp"])
def test_the_first_model_gives_config_and_template(here, capsys, method):
    for names in (("./one", "./two"), ("./two", "./one")):
        out, facts = merged(config(*names, method=method), f"from_{names[0][2:]}")
        own = json.loads(Path(names[0], "config.json").read_text())
        assert (
            json.loads((out / "config.json").read_text())["rope_parameters"]
            == own["rope_parameters"]
        )
        template = (out / "chat_template.jinja").read_text()
        assert template == Path(names[0], "chat_template.jinja").read_text()
        assert facts == {"donor": names[0]}
        printed = capsys.readouterr().out
        assert f"differs from {names[0]} in rope_theta" in printed
        assert f"tokenizer and chat template are those of {names[0]}" in printed


def test_a_base_of_an_average_changes_no_weight(here):
    plain, _ = merged(config("./one", "./two"), "plain")
    named, facts = merged({"base_model": "./two", **config("./one", "./two")}, "named")
    assert facts == {"donor": "./two"}
    file = "model.safetensors"
    assert (plain / file).read_bytes() == (named / file).read_bytes()


def test_an_adapter_is_merged_into_its_model(here):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained("one"), lora)
    model.save_pretrained("lora")
    out, facts = merged(config("./one", "./one+./lora"), "with_adapter")
    assert facts == {"donor": "./one"}
    name = "model.layers.0.self_attn.q_proj.weight"
    tuned = model.merge_and_unload().state_dict()
    wanted = (load_file("one/model.safetensors")[name] + tuned[name]) / 2
    assert load_file(out / "model.safetensors")[name].sub(wanted).abs().max() < 1e-6


def test_one_result_under_every_hash_seed(here):
    (here / "chain.yml").write_text(CHAIN)
    (here / "other.yml").write_text(OTHER)
    (here / "mix.yml").write_text(yaml.safe_dump(config("A", "B")))
    digests = set()
    for seed, more in (("1", []), ("2", ["--redo", "mix"])):
        subprocess.run(
            [sys.executable, "-m", "solar_plugins.cli", "run", "chain.yml", *more],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
        )
        files = sorted(path for path in (here / "run/mix").iterdir() if path.is_file())
        text = b"".join(file.name.encode() + file.read_bytes() for file in files)
        digests.add(hashlib.sha256(text).hexdigest())
        record = json.loads((here / "run/.solar/stages/mix.json").read_text())
        assert record["facts"]["donor"] == "./run/other"
    assert len(digests) == 1
