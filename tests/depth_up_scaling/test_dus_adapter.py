"""LoRA and QLoRA on an up-scaled base: trained, read again, merged, asked and resumed."""

import json
import math
import os
import shutil
import sys

import pytest
import tiny_recipe
import torch
from axolotl.cli import inference
from axolotl.cli.merge_lora import do_cli as axolotl_merge_lora
from axolotl.cli.preprocess import do_cli as axolotl_preprocess
from bitsandbytes.nn import Linear4bit
from dus_runs import Runs
from in_memory import load_up_scaled
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin

from solar_plugins import run_record
from solar_plugins.depth_up_scaling import adapter_base
from solar_plugins.depth_up_scaling.adapter_base import FOLDER
from solar_plugins.depth_up_scaling.args import parse
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow

MAP = [0, 1, 2, 1, 2, 3]
LORA = {**tiny_recipe.LORA, "learning_rate": 5e-2}
IDS = torch.tensor([[1, 45, 40, 7, 33]])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["axolotl"])  # axolotl parses it for its own options
        yield Runs(tmp_path_factory.mktemp("dus_adapter"))


@pytest.fixture(scope="module")
def lora(runs):
    return runs.train("lora", **LORA)


def adapter_layers(folder):
    names = load_file(folder / "adapter_model.safetensors")
    return {int(name.split(".layers.")[1].split(".")[0]) for name in names}


def logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits.float()


def by_hand(base, adapter):
    """The base's weights plus scaled B A, without PEFT."""
    weights = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    parameters = dict(weights.named_parameters())
    lora = load_file(adapter / "adapter_model.safetensors")
    moved = 0.0
    for name, down in lora.items():
        if ".lora_A." not in name:
            continue
        target = name.removeprefix("base_model.model.").replace(".lora_A", "")
        change = 8 / 4 * lora[name.replace("lora_A", "lora_B")] @ down
        parameters[target].data += change
        moved = max(moved, change.abs().max().item())
    assert moved > 1e-3  # something was learnt
    return weights


def test_the_adapter_names_a_base_that_has_its_layers(lora, runs):
    assert adapter_layers(lora) == set(range(6))
    config = json.loads((lora / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(lora / FOLDER)
    base = AutoModelForCausalLM.from_pretrained(lora / FOLDER).state_dict()
    memory = load_up_scaled(runs.base, {"remove_layers": 1}).state_dict()
    assert base.keys() == memory.keys()
    assert all(torch.equal(base[name], memory[name]) for name in memory)
    facts = run_record.read(lora, "depth_up_scaling")
    assert facts["base_model"] == str(runs.base)
    assert facts["layer_map"] == MAP
    assert facts["parameters"] == sum(
        t.numel() for t in load_file(lora / FOLDER / "model.safetensors").values()
    )


def test_read_again_by_its_name_alone(lora):
    """PEFT finds the base by the adapter's own config: every layer has what it learnt."""
    found = logits(AutoPeftModelForCausalLM.from_pretrained(lora))
    assert torch.allclose(found, logits(by_hand(lora / FOLDER, lora)), atol=1e-5)
    untrained = logits(AutoModelForCausalLM.from_pretrained(lora / FOLDER))
    assert (found - untrained).abs().max() > 1e-2


def test_dpo(runs):
    """The reference is the up-scaled base, which is the model without its adapter."""
    keys = {**LORA, "rl": "dpo", "remove_unused_columns": False, "max_steps": 2}
    out = runs.train("dpo", datasets=[runs.preferences("pairs")], **keys)
    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    losses = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[1] < losses[0]
    assert adapter_layers(out) == set(range(6))
    found = logits(AutoPeftModelForCausalLM.from_pretrained(out))
    assert torch.allclose(found, logits(by_hand(out / FOLDER, out)), atol=1e-5)


@pytest.mark.parametrize("method", ["memory_efficient", "legacy"])
def test_merge_lora(method, lora, runs):
    recipe = runs.recipe("lora", **LORA, merge_method=method, save_safetensors=True)
    axolotl_merge_lora(recipe)
    merged = lora / "merged"
    assert AutoConfig.from_pretrained(merged).num_hidden_layers == 6
    found = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)
    assert torch.allclose(logits(found), logits(by_hand(lora / FOLDER, lora)), atol=1e-5)
    shutil.rmtree(merged)


def ask(recipe, monkeypatch, capsys, **options):
    """One question to `axolotl inference`: what it printed, and the model that it loaded."""
    loaded = []
    load, answer = inference.load_model_and_tokenizer, GenerationMixin.generate

    def remember(**arguments):
        model, *rest = load(**arguments)
        loaded.append(model)
        return model, *rest

    def answer_shortly(self, *arguments, generation_config, **more):
        generation_config.max_new_tokens = 4  # in place of Axolotl's 1024
        return answer(self, *arguments, generation_config=generation_config, **more)

    typed = iter(["abc def", ""])
    with monkeypatch.context() as patch:
        patch.setattr(inference, "load_model_and_tokenizer", remember)
        patch.setattr(inference, "get_multi_line_input", lambda: next(typed))
        patch.setattr(GenerationMixin, "generate", answer_shortly)
        inference.do_cli(recipe, **options)
    return capsys.readouterr().out, loaded[0]


def test_inference_with_the_adapter(lora, runs, monkeypatch, capsys):
    out, model = ask(runs.recipe("lora", **LORA), monkeypatch, capsys, lora_model_dir=str(lora))
    assert "a b c   d e f" in out
    assert isinstance(model, PeftModel)
    assert torch.allclose(logits(model), logits(by_hand(lora / FOLDER, lora)), atol=1e-5)


def test_inference_on_a_fully_trained_result(runs, monkeypatch, capsys):
    """`axolotl inference RECIPE --base-model RESULT`: the result is not grown again."""
    result = runs.train("full", max_steps=1)
    _, model = ask(runs.recipe("full"), monkeypatch, capsys, base_model=str(result))
    assert model.config.num_hidden_layers == 6
    again = AutoModelForCausalLM.from_pretrained(result)
    assert torch.allclose(logits(model), logits(again), atol=1e-6)


def test_resume(lora, runs):
    """The same adapter as without a break, on the base that was written before it."""
    resumed = runs.folder / "resumed"
    shutil.copytree(lora / "checkpoint-2", resumed / "checkpoint-2")
    shutil.copytree(lora / FOLDER, resumed / FOLDER)
    written = (resumed / FOLDER / "model.safetensors").stat().st_mtime_ns
    runs.train("resumed", **LORA, auto_resume_from_checkpoints=True)
    assert (resumed / FOLDER / "model.safetensors").stat().st_mtime_ns == written
    ours, theirs = (load_file(run / "adapter_model.safetensors") for run in (resumed, lora))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_base_of_another_run_is_not_taken(lora, runs):
    other = runs.folder / "other"
    shutil.copytree(lora / FOLDER, other / FOLDER)
    with pytest.raises(SolarError, match="holds another up-scaled base"):
        runs.train("other", **LORA, depth_up_scaling={"layer_ranges": [[0, 4], [1, 4]]})
    weights = other / FOLDER / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100:] = bytes(100)  # as if the base had been trained on meanwhile
    weights.write_bytes(data)
    with pytest.raises(SolarError, match="holds another up-scaled base"):
        runs.train("other", **LORA)


def test_ranks_that_start_at_once_share_one_base(runs):
    """Every rank of a run asks for it: one writes, the others wait and find it whole."""
    output = runs.folder / "at_once"
    ranks = []
    for _ in range(4):
        rank = os.fork()
        if not rank:
            status = 1
            try:
                adapter_base.ensure(str(runs.base), parse({"remove_layers": 1}), output)
                status = 0
            finally:
                os._exit(status)
        ranks.append(rank)
    assert [os.waitpid(rank, 0)[1] for rank in ranks] == [0] * 4
    assert [entry.name for entry in output.iterdir()] == [FOLDER]
    assert AutoConfig.from_pretrained(output / FOLDER).num_hidden_layers == 6


def test_preprocess_writes_no_base(runs):
    axolotl_preprocess(
        runs.recipe("prepared", **LORA, dataset_prepared_path=str(runs.folder / "p"))
    )
    assert any((runs.folder / "p").iterdir())
    assert not (runs.folder / "prepared" / FOLDER).exists()


def test_qlora_in_4_bits(runs, monkeypatch):
    keys = {**LORA, "adapter": "qlora", "load_in_4bit": True, "max_steps": 2}
    seen = set()
    forward = Linear4bit.forward

    def remember(self, *arguments):
        seen.add(self)
        return forward(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Linear4bit, "forward", remember)
        out = runs.train("qlora", **keys)
    assert len(seen) == 6 * 7  # every projection of every layer
    assert adapter_layers(out) == set(range(6))
    axolotl_merge_lora(runs.recipe("qlora", **keys))
    merged = AutoModelForCausalLM.from_pretrained(out / "merged", dtype=torch.float32)
    assert merged.config.num_hidden_layers == 6
    base = AutoModelForCausalLM.from_pretrained(out / FOLDER, dtype=torch.float32).state_dict()
    exact, found = by_hand(out / FOLDER, out).state_dict(), merged.state_dict()
    # the merge rounds the base to 4 bits, as it was when the adapter learnt, then adds: NF4's
    # levels lie at most 0.304 of a block's largest number apart
    for name, weight in exact.items():
        assert (found[name] - weight).abs().max() <= 0.16 * base[name].abs().max(), name
