"""A Mistral base as LlamaForCausalLM: written, trained, merged; and what is refused."""

import json
import sys

import pytest
import torch
import yaml
from click.testing import CliRunner
from dus_runs import Runs
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import load_file
from tiny_models import character_tokenizer, write_tiny_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from solar_plugins import run_record
from solar_plugins.cli import cli
from solar_plugins.depth_up_scaling.plugin import DepthUpScalingPlugin
from solar_plugins.errors import SolarError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

WINDOW = 64


def write_mistral(folder, **fields):
    fields = {"sliding_window": WINDOW, "head_dim": 16, "vocab_size": 128, **fields}
    return write_tiny_model(folder, character_tokenizer(), "mistral", **fields)


def written(base, out, *options):
    result = CliRunner().invoke(cli, ["dus", str(base), "--out", str(out), *options])
    assert result.exit_code == 0, result.output
    return out


def logits(model, length):
    ids = torch.arange(length).remainder(120)[None]
    with torch.no_grad():
        return model.eval()(ids).logits


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_mistral(tmp_path_factory.mktemp("mistral"))


@pytest.fixture(scope="module")
def llama(base, tmp_path_factory):
    return written(base, tmp_path_factory.mktemp("as") / "llama", "--as-llama")


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_same_tensors_and_logits_up_to_the_window(kernel, base, llama, tmp_path):
    plain = written(base, tmp_path / "plain")
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (llama, plain))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    a, b = (
        AutoModelForCausalLM.from_pretrained(folder, attn_implementation=kernel)
        for folder in (llama, plain)
    )
    assert (type(a).__name__, type(b).__name__) == ("LlamaForCausalLM", "MistralForCausalLM")
    for length in (1, 9, WINDOW - 1, WINDOW):
        assert torch.equal(logits(a, length), logits(b, length)), length
    assert not torch.equal(logits(a, 2 * WINDOW), logits(b, 2 * WINDOW))  # the window hides


def test_what_lies_in_the_folder(base, llama):
    config = json.loads((llama / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("llama", ["LlamaForCausalLM"])
    assert config["max_position_embeddings"] == WINDOW
    assert config["sliding_window"] is None
    assert config["head_dim"] == 16
    assert json.loads((base / "config.json").read_text())["model_type"] == "mistral"
    assert "--as-llama" in (llama / "README.md").read_text()
    tokenizers = [AutoTokenizer.from_pretrained(folder) for folder in (base, llama)]
    ours, theirs = ([type(t), t(" two  words").input_ids, t.special_tokens_map] for t in tokenizers)
    assert ours == theirs


def test_mergekit_merges_it_with_a_llama(llama, tmp_path):
    shape = {"num_hidden_layers": 6, "head_dim": 16, "vocab_size": 128, "seed": 3}
    other = write_tiny_model(tmp_path / "other", character_tokenizer(), **shape)
    models = [{"model": str(m), "parameters": {"weight": 0.5}} for m in (llama, other)]
    text = {"merge_method": "linear", "base_model": str(llama), "models": models}
    config = MergeConfiguration.model_validate(yaml.safe_load(yaml.safe_dump(text)))
    run_merge(config, str(tmp_path / "out"), MergeOptions(cuda=False, quiet=True))
    merged = LlamaForCausalLM.from_pretrained(tmp_path / "out")
    parts = [LlamaForCausalLM.from_pretrained(m).state_dict() for m in (llama, other)]
    for name, tensor in merged.state_dict().items():
        torch.testing.assert_close(tensor, (parts[0][name] + parts[1][name]) / 2)


def test_a_training_saves_a_llama(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["axolotl"])
    runs = Runs(tmp_path)
    write_mistral(tmp_path / "mistral")
    block = {"remove_layers": 1, "as_llama": True}
    keys = {"base_model": str(tmp_path / "mistral"), "depth_up_scaling": block}
    start = runs.train("start", **keys, max_steps=1, learning_rate=1e-9)
    model = AutoModelForCausalLM.from_pretrained(start)
    plain = AutoModelForCausalLM.from_pretrained(written(tmp_path / "mistral", tmp_path / "plain"))
    assert type(model) is LlamaForCausalLM
    assert model.config.max_position_embeddings == WINDOW
    torch.testing.assert_close(logits(model, WINDOW), logits(plain, WINDOW))
    record = run_record.read(start, "depth_up_scaling")
    assert (record["as_llama"], record["layer_map"]) == (True, [0, 1, 2, 1, 2, 3])
    later = {"base_model": str(start), "plugins": None, "depth_up_scaling": None, "max_steps": 1}
    assert json.loads((runs.train("later", **later) / "config.json").read_text())[
        "architectures"
    ] == ["LlamaForCausalLM"]


def registered(base, *plugins, block=None, **keys):
    cfg = {
        "base_model": str(base),
        "plugins": [f"solar_plugins.{name}" for name in ("DepthUpScalingPlugin", *plugins)],
        "depth_up_scaling": {"remove_layers": 1, "as_llama": True, **(block or {})},
        **keys,
    }
    DepthUpScalingPlugin().register(cfg)
    return cfg


def refused(base, **keys):
    with pytest.raises(SolarError) as error:
        registered(base, **keys)
    return str(error.value)


def test_longer_sequences_than_the_window_are_refused(base):
    assert registered(base, sequence_len=WINDOW)["cls_model_config"] == "LlamaConfig"
    assert refused(base, sequence_len=65) == (
        f"depth_up_scaling.as_llama: {base} has a sliding window of 64 tokens, and sequences here "
        "are 65 long. Write sequence_len: 64, or remove as_llama."
    )
    joined = {"pretraining_dataset": [{"path": "x"}], "sample_packing": True, "sequence_len": 32}
    registered(base, **joined, micro_batch_size=4)
    more = {**joined, "micro_batch_size": 4, "pretrain_multipack_attn": False}
    assert "sequences here are 128 long" in refused(base, **more)


def test_another_base(tiny_base, tmp_path):
    """A Llama stays one; a third family is refused, and stays what it is where recipes follow."""
    for base, plugins in ((tiny_base("llama"), ()), (tiny_base("qwen3"), ("StagePlugin",))):
        assert "cls_model_config" not in registered(base, *plugins, sequence_len=4096)
    assert refused(tiny_base("qwen3")).endswith(
        "is of model_type qwen3, and only a Mistral has a Llama that computes the same. Remove "
        "as_llama."
    )
    free = write_mistral(tmp_path / "free", sliding_window=None)
    assert registered(free, sequence_len=128)["cls_model_config"] == "LlamaConfig"


def test_an_adapters_base_is_written_as_a_llama(base, tmp_path):
    cfg = registered(base, adapter="lora", output_dir=str(tmp_path / "run"))
    assert "cls_model_config" not in cfg
    assert type(AutoModelForCausalLM.from_pretrained(cfg["base_model"])) is LlamaForCausalLM
