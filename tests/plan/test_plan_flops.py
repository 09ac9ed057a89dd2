"""Tokens and FLOPs of `solar plan`; these against torch's count of a real training step."""

from __future__ import annotations

import json
import math

import pytest

from solar_plugins.models import model_config
from solar_plugins.plan import model_size, training_run
from solar_plugins.plan.data_size import DataReader, DataSize

pytestmark = pytest.mark.slow

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 200,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 48}
ARCHITECTURES = {
    "mistral": {"sliding_window": 32},
    "llama": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
    "gpt2": {},
    "gemma2": {"head_dim": 16, "sliding_window": 32},
    "mixtral": {"num_local_experts": 8, **EXPERTS},
    "qwen3_moe": {"num_experts": 8, "head_dim": 16, **EXPERTS},
    "gpt_oss": {"num_local_experts": 8, "head_dim": 16, **EXPERTS},
    "deepseek_v3": {
        "n_routed_experts": 8,
        "n_group": 2,
        "topk_group": 1,
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 16,
        "first_k_dense_replace": 1,
        **EXPERTS,
    },
}
TOKENS = 256


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_as_torch_counts_them(architecture):
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import AutoModelForCausalLM

    config = {**SMALL, **ARCHITECTURES[architecture], "model_type": architecture}
    model = AutoModelForCausalLM.from_config(
        model_size.transformers_config(config),
        attn_implementation="eager",
        experts_implementation="eager",
    )
    ids = torch.randint(3, 200, (1, TOKENS))
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids).loss.backward()
    size = model_size.of(config)
    # Eager attention multiplies every pair of tokens and masks afterwards: twice what is seen.
    every_pair = 4 * sum(channels for channels, _ in size.attention) * TOKENS
    ours = 3 * TOKENS * (2 * size.token_weights + every_pair)
    # Rotary frequencies are a matrix product of a few thousand FLOPs.
    assert ours == pytest.approx(counter.get_total_flops(), rel=1e-4)


@pytest.mark.parametrize(
    ("document", "window"), [(1, None), (100, None), (100, 100), (100, 7), (3, 5)]
)
def test_tokens_seen_are_those_of_the_mask(document, window):
    seen = [min(i + 1, window or document) for i in range(document)]
    found = training_run.tokens_seen(document, window)
    assert found == pytest.approx(sum(seen) / document)


def test_windows_follow_the_layers():
    config = {**SMALL, "model_type": "gemma2", "head_dim": 16, "sliding_window": 32}
    kinds = ["sliding_attention", "full_attention"] * 2
    size = model_size.of({**config, "layer_types": kinds})
    assert size.attention == ((64, 32), (64, None)) * 2


def test_a_state_space_model_has_no_attention():
    config = {"model_type": "mamba", "hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 50}
    assert model_size.of(config).attention == ()


def test_solar_at_4096_tokens():
    """By hand: 48 layers of q, k, v, o and three matrices of the MLP, and the head."""
    mistral = model_config.KNOWN["mistralai/Mistral-7B-v0.1"]
    size = model_size.of(model_size.with_layers(mistral, [*range(24), *range(8, 32)]))
    per_layer = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336
    assert size.token_weights == 48 * per_layer + 32000 * 4096
    attention = 4 * 48 * 4096 * 4097 / 2  # the window of 4096 hides nothing yet
    assert training_run.forward_flops(size, 4096) == 2 * size.token_weights + attention
    # Attention's share, so that the table's note can be judged.
    assert attention / training_run.forward_flops(size, 4096) == pytest.approx(0.0706, abs=1e-4)


def test_what_a_prompt_format_writes_is_counted(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a" * 40, "chosen": "b" * 80, "rejected": "c" * 80}))
    plain = {"path": str(file)}
    asked = {**plain, "type": {"prompt_format": f"{'u' * 20}{{prompt}}{'v' * 20}"}}
    tokens = [
        DataReader().size({"datasets": [entry], "rl": "dpo"}).tokens_per_row
        for entry in (plain, asked)
    ]
    # Four letters a token; the prompt and what is around it stand before both answers, and both
    # end.
    assert tokens == pytest.approx([(2 * 40 + 160) / 4 + 2, (2 * 80 + 160) / 4 + 2], abs=2)


def test_what_a_chat_template_writes_is_counted(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"question": "a" * 40, "answer": "b" * 80}))
    template = {"chat_template_jinja": "recipes/templates/solar.jinja"}
    entry = {"path": str(file), "type": "solar_plugins.chat"}
    tokens = [
        DataReader().size({"datasets": [entry], **keys}).tokens_per_row for keys in ({}, template)
    ]
    frame = "### User:\n \n\n### Assistant:\n"
    assert tokens[1] - tokens[0] == pytest.approx(len(frame) / 4, abs=1)


def test_rows_that_the_filter_knows_by_name_are_left_out(tmp_path):
    file = tmp_path / "rows.jsonl"
    tasks = ["cot_gsm8k", "cot_esnli", "hellaswag:1.1.0", None] * 10
    rows = [json.dumps({"inputs": "a", "_task_name": task}) + "\n" for task in tasks]
    file.write_text("".join(rows))
    block = {"tasks": "solar", "datasets": [str(file)]}
    found = DataReader().size({"datasets": [{"path": str(file)}], "flan_filter": block})
    assert found.rows == 20


@pytest.fixture
def size() -> model_size.ModelSize:
    return model_size.of({**SMALL, "model_type": "llama"})


def test_an_epoch_ends_with_what_is_left(size):
    recipe = {"num_epochs": 3, "sequence_len": 512}
    run = training_run.of(recipe, DataSize(65, 100), 32, size)
    assert (run.rows, run.steps, run.tokens) == (65, 9, 65 * 100 * 3)
    assert run.flops == pytest.approx(3 * run.tokens * training_run.forward_flops(size, 100))


def test_max_steps_cut_a_run_short_and_never_prolong_it(size):
    recipe = {"num_epochs": 3, "sequence_len": 512}
    cut = training_run.of({**recipe, "max_steps": 2}, DataSize(65, 100), 32, size)
    assert (cut.steps, cut.tokens) == (2, 2 * 32 * 100)
    whole = training_run.of({**recipe, "max_steps": 100}, DataSize(65, 100), 32, size)
    assert whole.steps == 9


def test_a_preference_run_reads_its_pairs_once_more(size):
    recipe = {"num_epochs": 2, "sequence_len": 512, "rl": "dpo", "gradient_checkpointing": True}
    run = training_run.of(recipe, DataSize(64, 300), 32, size)
    assert run.tokens == 64 * 300 * 2
    # Four passes for each epoch and one for the reference, in sequences of 150 tokens.
    forward = training_run.forward_flops(size, 150)
    assert run.flops == pytest.approx((4 * run.tokens + 64 * 300) * forward)


def test_a_block_that_a_chain_sets_to_null_is_not_there():
    recipe = {"rl": "dpo", "sdpo": None, "datasets": [{"path": "a.jsonl"}]}
    assert training_run.recipes_of(recipe) == [recipe]


@pytest.mark.parametrize(
    ("keys", "masked"),
    [
        ({"attn_implementation": "flash_attention_2"}, True),
        ({"attn_implementation": "sdpa"}, False),
        ({}, False),
        ({"flash_attention": True, "pretraining_dataset": [{"path": "a/b"}]}, True),
        (
            {
                "attn_implementation": "flash_attention_2",
                "pretraining_dataset": [{"path": "a/b"}],
                "pretrain_multipack_attn": False,
            },
            False,
        ),
    ],
)
def test_packed_documents_do_not_see_each_other_where_they_are_masked(size, keys, masked):
    recipe = {"sequence_len": 512, "sample_packing": True, **keys}
    run = training_run.of(recipe, DataSize(1000, 64), 4, size)
    full = 512 * training_run.PACKING
    assert run.steps == math.ceil(math.ceil(1000 * 64 / full) / 4)
    forward = training_run.forward_flops(size, 64 if masked else 512)
    assert run.flops == pytest.approx(3 * run.tokens * forward, rel=1e-4)


def test_a_token_is_in_a_long_document_more_often_than_in_a_short_one():
    """Against what lognormal documents give that are cut at 4,096 tokens."""
    import numpy as np

    drawn = np.random.default_rng(0).lognormal(6.4, 1.15, 400_000)
    mean, spread = drawn.mean(), (drawn**2).mean() / drawn.mean() ** 2
    found = DataSize(1, mean, spread=spread).document(4096)
    assert found == pytest.approx((drawn * np.minimum(drawn, 4096)).sum() / drawn.sum(), rel=0.01)
    assert DataSize(1, 64).document(512) == pytest.approx(64)


def test_lengths_of_files_are_counted_with_their_spread(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": "a" * n}) + "\n" for n in (396, 1196)))
    found = DataReader().size({"datasets": [{"path": str(file)}] * 2})
    # 100 and 300 tokens, four letters each and an end; both files alike.
    assert found.spread == pytest.approx((100**2 + 300**2) / 2 / 200**2, rel=0.01)


def test_axolotls_packer_takes_as_many_steps(size):
    import numpy as np
    from axolotl.utils.samplers import MultipackBatchSampler
    from torch.utils.data import RandomSampler

    drawn = np.random.default_rng(0).lognormal(5, 0.8, 20_000)
    lengths = np.clip(drawn.astype(int), 8, 2048)
    packer = MultipackBatchSampler(
        RandomSampler(range(len(lengths))),
        batch_size=1,
        batch_max_len=4 * 2048,
        lengths=lengths,
        group_size=100_000,  # Axolotl's own defaults
        bin_size=200,
        drop_last=True,
        num_processes=1,
    )
    recipe = {"sequence_len": 2048, "sample_packing": True}
    run = training_run.of(recipe, DataSize(len(lengths), lengths.mean()), 4, size)
    assert run.steps == pytest.approx(len(packer), rel=0.015)


def test_a_stream_is_as_long_as_max_steps(size):
    recipe = {"pretraining_dataset": [{}], "sequence_len": 512, "max_steps": 10}
    run = training_run.of(recipe, DataSize(None, None), 4, size)
    assert (run.rows, run.steps, run.tokens) == (None, 10, 10 * 4 * 512)
    assert run.flops == 3 * run.tokens * training_run.forward_flops(size, 512)
