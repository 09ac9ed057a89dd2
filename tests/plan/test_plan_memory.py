"""Memory that `solar plan` says of a training: by hand where that is possible, and measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import transformers

from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.plan import memory, model_size, training_step
from solar_plugins.plan.stages import GIB, Machine, plan_chain
from solar_plugins.plan.training_step import Adapter, CannotRun, TrainingStep
from solar_plugins.seams import torch as seam

pytestmark = pytest.mark.slow

MISTRAL = model_config.KNOWN["mistralai/Mistral-7B-v0.1"]
GROWN = model_size.with_layers(MISTRAL, [*range(24), *range(8, 32)])
PARAMETERS = 10_731_524_096
STEP = TrainingStep(
    sequences=2,
    length=256,
    is_pairs=False,
    recomputes=False,
    weights="float32",
    autocasts=False,
    attention="sdpa",
    adapter=None,
)


def small(kind: str = "Llama", **changes) -> dict:
    """The config.json of a small model."""
    shape = {
        "vocab_size": 4096,
        "hidden_size": 256,
        "intermediate_size": 768,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "tie_word_embeddings": False,
    }
    return getattr(transformers, f"{kind}Config")(**{**shape, **changes}).to_dict()


def recipe(**changes) -> dict:
    common = {"micro_batch_size": 1, "sequence_len": 2048, "bf16": True}
    return {**common, "attn_implementation": "flash_attention_2", **changes}


def zero(stage: int, **changes) -> dict:
    block = {"stage": stage, "reduce_bucket_size": "auto", **changes}
    return recipe(deepspeed={"zero_optimization": block})


def estimate(values: dict, gpus: int = 8) -> memory.Memory:
    return memory.estimate(GROWN, memory.read_setup(values, gpus), gpus)


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("kind", ["Llama", "Qwen3", "Gemma2", "Olmo2"])
def test_eight_layers_follow_from_two_and_three(kind, recomputes):
    config, step = small(kind), replace(STEP, recomputes=recomputes)
    whole = training_step._run(config, step)
    prolonged = training_step.trace(config, step)
    assert prolonged == training_step._traced(*whole)


def test_every_layer_is_run_where_layers_differ():
    config = small("Qwen3Moe", num_experts=4, num_experts_per_tok=2, mlp_only_layers=[0])
    step = replace(STEP, weights="bfloat16")  # torch's grouped matrix product takes no other
    assert not model_size.of(config).layers_are_alike
    whole = training_step._run(config, step)
    assert training_step.trace(config, step) == training_step._traced(*whole)


def peak_of(step: Callable[[], None]) -> int:
    """Bytes that torch's allocator held more than before, at most, while `step` ran."""
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("kind", ["Llama", "Gemma2"])
@pytest.mark.parametrize("recomputes", [False, True])
def test_as_torch_allocates_it(kind, recomputes):
    """A real step of the same model; the allocator's own record, which knows scratch space too."""
    config = small(kind, num_hidden_layers=2, _attn_implementation="sdpa")
    known = model_size.transformers_config(config)
    model = transformers.AutoModelForCausalLM.from_config(known, attn_implementation="sdpa")
    model.train()
    if recomputes:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    ids = torch.randint(4096, (2, 256))
    measured = peak_of(lambda: model(input_ids=ids, labels=ids, use_cache=False).loss.backward())
    traced = training_step.trace(config, replace(STEP, recomputes=recomputes))
    assert traced.with_gradients == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"is_pairs": True},
        {"is_pairs": True, "weights": "bfloat16"},
        {"weights": "bfloat16", "autocasts": True},
        {"attention": "eager"},
        {"adapter": Adapter(rank=16, targets="all-linear", dropout=0.1)},
        {"adapter": Adapter(rank=16, targets=("q_proj",), dropout=0.0), "recomputes": True},
    ],
    ids=["pairs", "pairs in bf16", "autocast", "eager", "adapter", "adapter, recomputed"],
)
def test_what_a_recipe_changes_as_torch_allocates_it(changes):
    config, step = small(num_hidden_layers=2), replace(STEP, **changes)
    model = training_step._model(config, step).to_empty(device="cpu")
    loss = training_step._pair_loss if step.is_pairs else training_step._loss
    ids = torch.zeros(step.sequences, step.length, dtype=torch.long)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=step.autocasts):
            result = loss(model, ids, step)
        result.backward()

    traced = training_step.trace(config, step)
    assert traced.with_gradients == pytest.approx(peak_of(run), rel=0.05)


def test_activations_double_with_the_batch():
    one, two = (training_step.trace(small(), replace(STEP, sequences=n)) for n in (2, 4))
    assert two.without_gradients == pytest.approx(2 * one.without_gradients, rel=0.01)
    assert (two.weights, two.gradients) == (one.weights, one.gradients)


def test_recomputing_keeps_one_state_per_layer():
    step = replace(STEP, recomputes=True)
    by_depth = [
        training_step.trace(small(num_hidden_layers=n), step).without_gradients for n in (20, 30)
    ]
    assert by_depth[1] - by_depth[0] == 10 * 2 * 256 * 256 * 4


def test_scores_are_kept_by_eager_attention_alone():
    fused, eager = (
        training_step.trace(small(), replace(STEP, attention=name)).without_gradients
        for name in ("flash_attention_2", "eager")
    )
    scores = 8 * 2 * 8 * 256 * 256 * 4  # layers, sequences, heads, tokens, tokens, bytes
    assert scores * 0.8 < eager - fused < scores


def test_a_pair_is_two_sequences():
    one, two = (memory.read_setup(recipe(**more), 8).step for more in ({}, {"rl": "dpo"}))
    assert (one.sequences, two.sequences) == (1, 2)
    pairs, texts = (
        training_step.trace(small(), replace(STEP, is_pairs=is_pairs)) for is_pairs in (True, False)
    )
    # TRL's copies of the logits, 2 x 255 x 4096 of 4 bytes, are more than the one of texts.
    assert pairs.without_gradients > texts.without_gradients + 2 * 255 * 4096 * 4 * 0.9


def test_states_of_each_stage_of_zero():
    # 2 bytes of weights, 2 of gradients and 12 of Adam and float32 weights under ZeRO.
    assert estimate(zero(1)).states == 4 * PARAMETERS + 12 * PARAMETERS // 8
    assert estimate(zero(2)).states == 2 * PARAMETERS + 14 * PARAMETERS // 8
    assert estimate(zero(3)).states == 16 * PARAMETERS // 8
    # Without it the moments are bf16, and DistributedDataParallel has the gradients twice.
    assert estimate(recipe(), 1).states == 8 * PARAMETERS
    assert estimate(recipe(), 8).states == 10 * PARAMETERS
    in_8_bits = {"optimizer": "adamw_bnb_8bit"}
    assert estimate(recipe(**in_8_bits), 1).states == 6 * PARAMETERS
    assert estimate(zero(3) | in_8_bits).states == 10 * PARAMETERS // 8


def test_offloading_moves_states_to_the_cpu():
    cpu = {"device": "cpu"}
    optimizer = estimate(zero(3, offload_optimizer=cpu))
    both = estimate(zero(3, offload_optimizer=cpu, offload_param=cpu))
    assert (optimizer.states, optimizer.cpu) == (2 * PARAMETERS // 8, 16 * PARAMETERS)
    assert (both.states, both.cpu) == (0, 18 * PARAMETERS)
    assert both.activations == optimizer.activations


def test_kept_gathered_weights_can_be_fewer():
    many, few = (estimate(zero(3, stage3_max_reuse_distance=n)) for n in (10**9, 10**8))
    assert many.activations - few.activations == 2 * (10**9 - 10**8) // 2


def test_an_adapter_has_states_for_its_own_weights():
    config = small(num_hidden_layers=2)
    adapter = Adapter(rank=4, targets="all-linear", dropout=0.0)
    full, few = (training_step.trace(config, replace(STEP, adapter=one)) for one in (None, adapter))
    # q and o 256 x 256, k and v 256 x 128, the MLP three times 256 x 768.
    trained = 2 * 4 * (2 * 512 + 2 * 384 + 3 * 1024)
    assert few.trained == trained
    assert (few.gradients, few.weights - full.weights) == (4 * trained, 4 * trained)


def test_layers_that_are_not_trained_have_no_states():
    """`depth_up_scaling.train: added`: gradients and moments of a sixth of the weights."""
    setup = memory.read_setup(recipe(bf16=False), 1)
    whole, part = (memory.estimate(small(), setup, 1, share) for share in (1.0, 1 / 6))
    traced = training_step.trace(small(), setup.step)
    assert whole.states == traced.weights + 3 * traced.gradients
    assert part.states == pytest.approx(traced.weights + 3 * traced.gradients / 6, abs=8)
    assert part.activations == traced.without_gradients
    zero2 = memory.read_setup(zero(2), 2)
    assert memory.estimate(small(), zero2, 2, 1 / 6).gpu < memory.estimate(small(), zero2, 2).gpu


def test_accumulated_gradients_are_there_from_the_start():
    once, often = (
        estimate(recipe(gradient_accumulation_steps=n, sequence_len=512), 1) for n in (1, 2)
    )
    assert once.states == often.states
    assert often.gpu > once.gpu


def test_what_does_not_fit_says_what_would(good_chain):
    plan = plan_chain("chain.yml", Machine(gpus=2, gpu_bytes=40 * GIB))
    cpt = next(stage for stage in plan.stages if stage.stage == "cpt")
    assert not plan.fits
    # 16 bytes x 10.7e9 / 2 are 80 GiB before any activations.
    assert re.fullmatch(
        r"\d+ GiB per GPU needed, 40 available. "
        r"It fits with zero_optimization.offload_optimizer: \{device: cpu\}.",
        *cpt.warnings,
    )
    assert plan_chain("chain.yml", Machine(gpus=8, gpu_bytes=80 * GIB)).fits


def test_only_the_keys_that_are_needed_are_named():
    values = recipe(micro_batch_size=16, sequence_len=4096)
    need = memory.estimate(MISTRAL, memory.read_setup(values, 1), 1).gpu
    fits = memory.what_fits(MISTRAL, values, 1, need - 1)
    assert fits == "gradient_checkpointing: true"
    # 8 bytes x 7.2e9 are states: less per pass is not enough, and recomputing no longer needed.
    assert "offload" in memory.what_fits(MISTRAL, values, 1, 40 * GIB)
    assert memory.what_fits(MISTRAL, values, 1, GIB // 4) is None


def test_a_model_that_does_not_run_without_data_is_said_to():
    with pytest.raises(CannotRun, match="scaled_dot_product_attention"):
        training_step.trace(small("GptOss"), STEP)


def test_what_is_not_planned_is_said():
    values = recipe(fsdp_version=2, load_in_4bit=True, deepspeed="nowhere.json")
    assert memory.left_out(values) == [
        "nowhere.json does not exist, so memory is without ZeRO",
        "FSDP is not planned: memory is that of a GPU that holds everything",
        "load_in_4bit is not planned: the weights count as bf16",
    ]
    assert memory.left_out(recipe()) == []


def test_the_installed_torch_has_every_private_name():
    seam.self_test()


def test_another_torch_is_named(monkeypatch):
    from torch._subclasses import fake_tensor

    monkeypatch.delattr(fake_tensor, "FakeTensorMode")
    with pytest.raises(SolarError, match=r"^torch \S+: tensors without data: ImportError: .*2\.14"):
        seam.self_test()
