"""A tiny random model of any family, from a config of that family.

Only widths shrink: the layers, their kinds and every switch stay as the config has them, so that
what holds for the tiny model holds for the large one. `identity` finds there which parameters
silence a layer, and the tests up-scale one of every architecture that transformers knows.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY = 64

_WIDTHS: dict[int, str] = {
    VOCABULARY: """
        vocab_size vocab_size_per_layer_input max_position_embeddings
    """,
    48: """
        intermediate_size moe_intermediate_size moe_shared_expert_intermediate_size
        shared_expert_intermediate_size shared_intermediate_size dense_intermediate_size
        intermediate_size_mlp expert_ffn_hidden_size ffn_hidden_size ffn_dim n_inner dff
        dim_ff d_inner
    """,
    32: """
        hidden_size attention_hidden_size word_embed_proj_dim embedding_size
        input_embedding_size output_embedding_size lru_width sliding_window
        sliding_window_size attention_window_size window_size attention_chunk_size
        local_attention context_length
    """,
    16: """
        q_lora_rank kv_lora_rank o_lora_rank index_topk indexer_budget router_hidden_size
        hidden_size_per_layer_input mamba_d_state ssm_state_size state_size qk_head_dim
        mamba_dt_rank time_step_rank mamba_chunk_size chunk_size block_size
    """,
    8: """
        head_dim d_head dim_head global_head_dim swa_head_dim v_head_dim swa_v_head_dim
        qk_rope_head_dim qk_nope_head_dim index_head_dim indexer_head_dim
        linear_key_head_dim linear_value_head_dim kv_channels rotary_dim laurel_rank
        gated_norm_rank hc_lowrank adapter_rank block_multiple_of
    """,
    4: """
        num_attention_heads swa_num_attention_heads linear_num_value_heads index_n_heads
        o_groups num_experts num_local_experts n_routed_experts moe_num_experts
        zero_expert_num
    """,
    2: """
        linear_num_key_heads num_experts_per_tok moe_topk moe_k
    """,
}
"""Width in the tiny model -> names of the config fields that get it."""

_GROUPED = ("num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads", "num_query_groups")
"""Heads that several attention heads share: all of them (as many), one, or in between."""

_FAMILIES: dict[str, dict[str, Any]] = {
    "bamba": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8},
    "granitemoehybrid": {"mamba_n_heads": 8, "mamba_d_head": 8},
    "mamba2": {"num_heads": 8, "n_groups": 2},
    "xlstm": {"hidden_size": 64, "embedding_dim": 64, "num_heads": 4},
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 8, "n_groups": 2},
}
"""Widths that must fit each other in a family's own way."""


def shrunk(config: PreTrainedConfig) -> PreTrainedConfig:
    """`config`, of a language model or of one with others in it, with small widths."""
    content = config.to_dict()
    for name in ("_name_or_path", "output_attentions"):  # written by to_dict, not always read back
        content.pop(name, None)
    for name in config.sub_configs:
        part = getattr(config, name)
        if isinstance(part, PreTrainedConfig):
            content[name] = shrunk(part)
    changes: dict[str, Any] = {}
    for width, names in _WIDTHS.items():
        for name in names.split():
            own = config.attribute_map.get(name, name)
            value = content.get(own)
            if isinstance(value, int) and not isinstance(value, bool):
                changes[own] = min(width, value)
            elif isinstance(value, list):
                changes[own] = [width] * len(value)
    heads = content.get(config.attribute_map.get("num_attention_heads", "num_attention_heads"))
    for name in _GROUPED:
        if isinstance(content.get(name), int):
            changes[name] = 4 if content[name] == heads else min(2, content[name])
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if name in content and content[name] is not None:
            changes[name] = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}[name]
    if isinstance(content.get("n_group"), int):
        changes.update(n_group=min(2, content["n_group"]), topk_group=1)
    if isinstance(content.get("rope_parameters"), dict):
        changes["rope_parameters"] = _small_rope(content["rope_parameters"])
    changes.update(_FAMILIES.get(config.model_type, {}))
    return type(config).from_dict({**content, **changes})


def _small_rope(parameters: dict[str, Any]) -> dict[str, Any]:
    """Rotary settings that fit heads of eight: no factor per dimension, an even share of them."""
    if any(isinstance(value, dict) for value in parameters.values()):  # one for each layer type
        return {k: _small_rope(v) if isinstance(v, dict) else v for k, v in parameters.items()}
    small = dict(parameters)
    if small.get("rope_type") == "longrope":
        small = {"rope_type": "default", "rope_theta": small.get("rope_theta", 1e4)}
        small |= {k: v for k, v in parameters.items() if k == "partial_rotary_factor"}
    if int(8 * small.get("partial_rotary_factor", 1.0)) % 2:
        small["partial_rotary_factor"] = 0.5
    return small


def random_model(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedModel:
    """A float32 model of this config in which no two weights are equal, in eval mode."""
    with torch.random.fork_rng(devices=[]):  # a training run around us keeps its random numbers
        torch.manual_seed(0)
        model = model_class(config).float().eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.2)
    return model
