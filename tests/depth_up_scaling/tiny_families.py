"""Tiny random models of many families."""

LAYERS = 8
SIZES = dict(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=LAYERS,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)
EXPERTS = dict(
    num_experts=4,
    num_local_experts=4,
    n_routed_experts=4,
    n_shared_experts=1,
    num_experts_per_tok=2,
    moe_intermediate_size=16,
    shared_expert_intermediate_size=16,
)
GPT2 = dict(n_embd=32, n_layer=LAYERS, n_head=4, n_positions=64)
LATENT = dict(
    q_lora_rank=8,
    kv_lora_rank=8,
    qk_rope_head_dim=4,
    qk_nope_head_dim=4,
    v_head_dim=8,
    n_group=2,
    topk_group=1,
)
LINEAR = dict(
    linear_num_value_heads=4,
    linear_num_key_heads=2,
    linear_key_head_dim=8,
    linear_value_head_dim=8,
)
VISION = dict(
    hidden_size=32,
    intermediate_size=32,
    num_hidden_layers=LAYERS,  # as deep as the language model: it must not grow with it
    num_attention_heads=4,
    image_size=28,
    patch_size=14,
)

# name -> transformers config class, and what it needs beyond SIZES
FAMILIES = {
    "llama": ("LlamaConfig", {}),
    "llama_tied": ("LlamaConfig", {"tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"sliding_window": 8}),
    "qwen2": ("Qwen2Config", {"use_sliding_window": True, "max_window_layers": 3}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "gemma2": ("Gemma2Config", {"head_dim": 8}),
    "gemma3_text": ("Gemma3TextConfig", {"head_dim": 8}),
    "gemma3": ("Gemma3Config", None),
    "phi3": ("Phi3Config", {}),
    "olmo2": ("Olmo2Config", {}),
    "cohere2": ("Cohere2Config", {}),
    "smollm3": ("SmolLM3Config", {}),
    "gpt2": ("GPT2Config", GPT2),
    "gpt2_inverse": ("GPT2Config", {**GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gpt_neo": (
        "GPTNeoConfig",
        {"num_layers": LAYERS, "attention_types": [[["global", "local"], LAYERS // 2]]},
    ),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "bloom": ("BloomConfig", {"n_layer": LAYERS, "n_head": 4}),
    "opt": ("OPTConfig", {"ffn_dim": 32, "word_embed_proj_dim": 32}),
    "mixtral": ("MixtralConfig", EXPERTS),
    "gpt_oss": ("GptOssConfig", {"head_dim": 8, **EXPERTS}),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {**EXPERTS, "decoder_sparse_step": 2, "mlp_only_layers": [1]},
    ),
    "deepseek_v3": ("DeepseekV3Config", {**EXPERTS, **LATENT, "first_k_dense_replace": 2}),
    "llama4_text": (
        "Llama4TextConfig",
        {"head_dim": 8, "interleave_moe_layer_step": 2, "intermediate_size_mlp": 32, **EXPERTS},
    ),
    "qwen3_next": ("Qwen3NextConfig", {"head_dim": 8, **LINEAR, **EXPERTS}),
    "lfm2": ("Lfm2Config", {"full_attn_idxs": [1, 3, 7]}),
    "mamba": ("MambaConfig", {"state_size": 4}),
}


def write_random_base(folder, family, max_shard_size, more):
    import torch
    import transformers

    name, own = FAMILIES[family]
    config_class = getattr(transformers, name)
    if own is None:
        config = config_class(
            text_config={**SIZES, "head_dim": 8}, vision_config=VISION, mm_tokens_per_image=4
        )
    else:
        config = config_class(**{**SIZES, **own, **more})
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
