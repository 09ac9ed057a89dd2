"""The settings that are known to be harmless in a stranger's recipe.

Positive knowledge: a name is here because its setting only shapes the numbers of a training, a
merge or an evaluation, or names a model, dataset or file, whose value `recipe_risks` checks. Leave
a name out when in doubt; the user is then shown the setting and asked. A name is harmless for every
tool, because any file of a pack can be given to any tool.
"""

from __future__ import annotations


def _words(names: str) -> frozenset[str]:
    return frozenset(names.split())


AXOLOTL = _words("""
    accelerator_config activation_offloading adam_beta1 adam_beta2 adam_beta3 adam_epsilon
    adam_epsilon2 adapter added_tokens_overrides attn_implementation auto_find_batch_size
    auto_resume_from_checkpoints base_model base_model_config batch_flattening batch_size bf16
    bfloat16 bnb_config_kwargs center_rewards_coefficient chat_template chat_template_jinja
    chat_template_kwargs chunked_cross_entropy chunked_cross_entropy_num_chunks
    context_parallel_size cosine_constant_lr_ratio cosine_min_lr_ratio cpo_alpha curriculum_sampling
    dataloader_drop_last dataloader_num_workers dataloader_pin_memory dataloader_prefetch_factor
    dataset_exact_deduplication dataset_keep_in_memory dataset_num_proc dataset_prepared_path
    dataset_processes dataset_shard_idx dataset_shard_num datasets ddp ddp_broadcast_buffers
    ddp_bucket_cap_mb ddp_find_unused_parameters ddp_timeout deepcompile deepspeed
    default_system_message device device_map dion_lr dion_momentum dion_rank_fraction
    dion_rank_multiple_of do_causal_lm_eval dp_replicate_size dp_shard_size dpo_beta
    dpo_label_smoothing dpo_loss_type dpo_loss_weights dpo_norm_loss dpo_padding_free
    dpo_use_liger_kernel dpo_use_logits_to_keep dpo_use_weighting eaft_alpha eaft_k eager_attention
    early_stopping_patience embedding_lr embedding_lr_scale embeddings_skip_upcast eot_tokens
    eval_batch_size eval_max_new_tokens eval_sample_packing eval_sequence_len eval_steps
    eval_strategy eval_table_size evals_per_epoch evaluation_strategy excess_length_strategy
    experimental_skip_move_to_device experts_implementation fix_untrained_tokens flash_attention
    flash_attn_cross_entropy flash_attn_fuse_mlp flash_attn_rms_norm flash_optimum flex_attention
    float16 float32 fp16 fp32_norm_classes fp32_norms fp8 fp8_enable_fsdp_float8_all_gather
    freeze_mm_modules fsdp fsdp_config fsdp_final_state_dict_type fsdp_version fused_attn_kernel
    gemma4_hybrid_attn_impl use_onebitllms
    gc_steps gptq gpu_memory_limit gradient_accumulation_steps gradient_checkpointing
    gradient_checkpointing_kwargs greater_is_better group_by_length heads_k_stride hf_use_auth_token
    image_resize_algorithm image_size include_tkps include_tokens_per_second is_falcon_derived_model
    is_llama_derived_model is_mistral_derived_model is_preprocess is_qwen_derived_model
    jagged_restart_anneal_steps jagged_restart_steps jagged_restart_warmup_steps
    kto_desirable_weight kto_undesirable_weight layer_offloading learning_rate lisa_layers_attribute
    lisa_n_layers lisa_step_interval llama4_linearized_experts load_best_model_at_end load_in_4bit
    load_in_8bit local_rank logging_steps lora_alpha lora_alpha_pattern lora_dropout
    lora_embedding_kernel lora_fan_in_fan_out lora_mlp_kernel lora_model_dir lora_modules_to_save
    lora_o_kernel lora_on_cpu lora_qkv_kernel lora_r lora_rank_pattern lora_target_linear
    lora_target_modules lora_target_parameters loraplus_lr_embedding loraplus_lr_ratio
    loss_watchdog_patience loss_watchdog_threshold low_cpu_mem_usage lr_div_factor lr_groups
    lr_quadratic_warmup lr_scheduler lr_scheduler_kwargs max_grad_norm max_memory
    max_packed_sequence_len max_prompt_len max_steps mean_resizing_embeddings merge_lora
    metric_for_best_model micro_batch_size min_sample_len model_kwargs model_quantization_config
    model_quantization_config_kwargs model_revision model_type multipack_real_batches
    neftune_noise_alpha noisy_embedding_alpha num_dataset_shards_to_save num_epochs num_labels
    optim_args optim_target_modules optimizer orpo_alpha output_dir overrides_of_model_config
    overrides_of_model_kwargs pad_to_multiple_of pad_to_sequence_len peft
    peft_autocast_adapter_dtype
    peft_init_lora_weights peft_layer_replication peft_layers_pattern peft_layers_to_transform
    peft_trainable_token_indices peft_use_dora peft_use_rslora plugins pose_max_context_len
    pose_num_chunks pose_split_on_token_ids precompute_ref_log_probs preprocess_iterable
    pretrain_multipack_attn pretrain_multipack_buffer_size pretraining_dataset
    pretraining_sample_concatenation process_reward_model processor_type profiler_steps
    profiler_steps_start qat qgalore_cos_threshold qgalore_gamma_proj qgalore_proj_bits
    qgalore_proj_group_size qgalore_proj_quant qgalore_proj_type qgalore_queue_size qgalore_rank
    qgalore_scale qgalore_update_proj_gap qlora_sharded_model_loading quantization
    quantize_moe_experts reinit_weights relora relora_cpu_offload relora_prune_method
    relora_prune_ratio remove_unused_columns resize_token_embeddings_to_32x revision_of_model
    reward_model ring_attn_func rl rl_beta role_boundaries rope_scaling rpo_alpha s2_attention
    sage_attention sample_packing sample_packing_bin_size sample_packing_eff_est
    sample_packing_group_size sample_packing_mp_start_method sample_packing_sequentially
    save_first_step save_only_model save_safetensors save_steps save_strategy save_total_limit
    saves_per_epoch scaling_softmax scaling_softmax_bias scaling_softmax_factor sdp_attention seed
    selective_checkpointing sequence_len sequence_parallel_degree shrink_embeddings
    shuffle_before_merging_datasets shuffle_merged_datasets simpo_gamma skip_prepare_dataset
    special_tokens streaming streaming_multipack_buffer_size strict tensor_parallel_size
    test_datasets tf32 tiled_mlp tiled_mlp_num_shards tiled_mlp_use_original_mlp tokenizer_config
    tokenizer_legacy tokenizer_save_jinja_files tokenizer_type tokenizer_use_fast
    tokenizer_use_mistral_common tokens torch_compile torch_compile_backend torch_compile_mode
    torch_empty_cache_steps total_num_tokens total_supervised_tokens train_on_inputs trl
    type_of_model
    unfrozen_parameters use_eaft use_pose use_tensorboard val_set_size warmup_ratio warmup_steps
    weight_decay world_size xformers_attention
""")
"""Keys of Axolotl 0.19 at the top of a recipe."""

AXOLOTL_BLOCKS = _words("""
    path name split type revision shards shards_idx preprocess_shards data_files ds_type field
    field_system field_instruction field_input field_output field_prompt field_chosen field_rejected
    field_completion field_label field_human field_model field_messages field_tools field_thinking
    format no_input_format input_format system_format no_system_format system_prompt prompt_format
    chosen_format rejected_format completion_format conversation drop_system_message roles
    roles_to_train train_on_eos train_on_eot message_field_role message_field_content
    message_field_training message_field_training_detail message_property_mappings split_thinking
    template_thinking_key text_column skip temperature logprobs_field step_separator
    max_completion_length train_on_last_step_only
    bos_token eos_token unk_token pad_token additional_special_tokens
    use_reentrant num_cycles min_lr min_lr_rate split_batches dispatch_batches even_batches
    activation_dtype weight_dtype group_size quantize_embedding loftq_bits
    beta num_generations max_prompt_length loss_type scale_rewards sync_ref_model
    ref_model_mixup_alpha ref_model_sync_steps epsilon
    fsdp_offload_params offload_params fsdp_sync_module_states fsdp_cpu_ram_efficient_loading
    cpu_ram_efficient_loading fsdp_use_orig_params fsdp_state_dict_type state_dict_type
    final_state_dict_type fsdp_auto_wrap_policy auto_wrap_policy fsdp_activation_checkpointing
    activation_checkpointing fsdp_transformer_layer_cls_to_wrap transformer_layer_cls_to_wrap
    fsdp_limit_all_gathers fsdp_forward_prefetch fsdp_backward_prefetch fsdp_reshard_after_forward
    reshard_after_forward fsdp_sharding_strategy fsdp_min_num_params mixed_precision_policy
    bnb_4bit_compute_dtype bnb_4bit_quant_type bnb_4bit_use_double_quant bnb_4bit_quant_storage
    torch_dtype factor rope_type rope_theta original_max_position_embeddings sliding_window
    max_position_embeddings num_hidden_layers hidden_size intermediate_size num_attention_heads
    num_key_value_heads head_dim vocab_size tie_word_embeddings attention_dropout
    sharding_strategy eta_min adam_eps dequantize fake_quant_after_n_steps loftq_config
    gptq_disable_exllama reward_weights
""")
"""Keys inside Axolotl's blocks: dataset entries, special tokens, FSDP, quantization, RL, model."""

AXOLOTL_PLUGIN_KEYS = _words("""
    cut_cross_entropy dense_mixer diffusion eps generation_interval generation_max_length
    generation_steps generation_temperature importance_weighting mask_token_id mask_token_str
    max_mask_ratio min_mask_ratio noise_schedule num_diffusion_steps generate_samples
    num_generation_samples expert_parallel_size
    expert_parallel_backend grokfast_alpha grokfast_lamb use_scattermoe use_sonicmoe
    liger_cross_entropy liger_fused_linear_cross_entropy liger_glu_activation liger_layer_norm
    liger_rms_norm liger_rms_norm_gated liger_rope liger_swiglu liger_use_token_scaling mora
    mora_type use_mora spectrum_model_name spectrum_top_fraction
""")
"""Keys of those of Axolotl's plugins that only train, `PLUGINS`."""

OURS = _words("""
    name base_model output_dir stages train merge evaluate data from set extends global_batch_size
    max_dropped_share
    depth_up_scaling remove_layers target_layers layer_ranges init layout every times
    flan_filter tasks datasets task_column index prompt_column decontaminate allow_empty
    sdpo steps order_by split reference policy live_reference reference_batches after path
    generator seed sources metamathqa math math_test gsm8k instruct_rows alignment_rows architecture
    tokenizer config words_per_page pretrain_pages continued_pages held_out_pages alpaca_rows
    orca_rows benchmark_share math_rows easy_pairs hard_pairs math_pairs
""")
"""Chains, the blocks of our plugins, and data recipes."""

MERGEKIT = _words("""
    merge_method models model parameters weight density t scale value filter slices sources
    layer_range dtype out_dtype base_model tokenizer_source tokenizer tokens source
    tokenizer_pad_to_multiple_of normalize int8_mask lambda gamma epsilon rescale lora
    residual_weight modules override_architecture chat_template
    select_topk nuslerp_flatten nuslerp_row_wise max_iter tol swapping smooth
""")

LM_EVAL = _words("""
    model model_args tasks num_fewshot batch_size max_batch_size limit seed device include_path
    output_path log_samples apply_chat_template fewshot_as_multiturn system_instruction gen_kwargs
    metadata verbosity predict_only check_integrity write_out show_config cache_requests
    pretrained dtype revision parallelize max_length add_bos_token data_dir
    temperature top_p top_k do_sample max_gen_toks tensor_parallel_size data_parallel_size
    gpu_memory_utilization max_model_len
""")

DEEPSPEED = _words("""
    activation_checkpointing amp bf16 communication_data_type data_types fp16
    gradient_accumulation_steps gradient_clipping gradient_predivide_factor optimizer
    prescale_gradients scheduler seq_parallel_communication_data_type sparse_gradients
    steps_per_print tensor_parallel torch_autocast train_batch_size train_micro_batch_size_per_gpu
    wall_clock_breakdown zero_allow_untested_optimizer zero_force_ds_cpu_optimizer
    zero_optimization
""")
"""What a DeepSpeed config needs at its top; other keys start programs, write files or send data."""

DEEPSPEED_BLOCKS = _words("""
    enabled auto_cast loss_scale initial_scale_power loss_scale_window hysteresis min_loss_scale
    consecutive_hysteresis stage overlap_comm contiguous_gradients reduce_scatter
    reduce_bucket_size allgather_partitions allgather_bucket_size sub_group_size offload_optimizer
    offload_param device pin_memory buffer_count buffer_size max_in_cpu fast_init ratio nvme_path
    pipeline_read pipeline_write round_robin_gradients stage3_gather_16bit_weights_on_model_save
    gather_16bit_weights_on_model_save stage3_max_live_parameters stage3_max_reuse_distance
    stage3_param_persistence_threshold stage3_prefetch_bucket_size
    stage3_module_granularity_threshold
    zero_hpz_partition_size zero_quantized_weights zero_quantized_gradients cpu_offload params lr
    betas weight_decay warmup_min_lr warmup_max_lr warmup_num_steps total_num_steps warmup_type
    last_batch_iteration adam_w_mode torch_adam cos_min_ratio
    partition_activations cpu_checkpointing contiguous_memory_optimization number_checkpoints
    synchronize_checkpoint_boundary profile grad_accum_dtype autotp_size
""")

KEYS = AXOLOTL | AXOLOTL_BLOCKS | AXOLOTL_PLUGIN_KEYS | OURS | MERGEKIT | LM_EVAL
KEYS |= DEEPSPEED | DEEPSPEED_BLOCKS
"""Every key that may be in a recipe without the user being asked; dangerous values still ask."""

NAMED_BY_USER = _words("""
    stages modules special_tokens added_tokens_overrides roles message_property_mappings
    chat_template_kwargs lora_alpha_pattern lora_rank_pattern max_memory device_map config metadata
    task_column prompt_column
""")
"""Blocks whose keys are names that the author chooses: stages, tokens, columns, config values."""

TEXT_KEYS = _words("""
    format no_input_format input_format system_format system_prompt default_system_message
    prompt_format chosen_format rejected_format no_system_format completion_format
    system_instruction step_separator special_tokens tokens added_tokens_overrides eot_tokens
    lora_target_modules lora_target_parameters unfrozen_parameters role_boundaries filter
""")
"""What people write or what is shown to a model: never a path, a variable or a command."""

PLUGINS = _words("""
    cut_cross_entropy densemixer diffusion expert_parallel grokfast kernels liger mora spectrum
""")
"""Axolotl's plugins that only train. The others run a server or a program, or send data."""

LOADERS = _words("json csv parquet text arrow")
"""The loaders of `datasets` that read data only."""

LM_EVAL_MODELS = _words("hf hf-auto huggingface hf-multimodal vllm")
COMPILE_BACKENDS = _words("inductor eager aot_eager")
