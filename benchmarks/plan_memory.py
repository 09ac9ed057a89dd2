"""What `solar plan` predicts of a training's memory, against what the training takes.

    .venv/bin/python benchmarks/plan_memory.py [--only llama-256x8 …]

Small models of several shapes are trained for three steps on the CPU, each by Axolotl in a process
of its own as `solar run` starts it, or in two processes under ZeRO: with kept and with recomputed
activations, texts and preference pairs, adapters, float32 and bf16. Measured is the most memory
that a process has held, above that of a training of next to nothing, which holds the imports.
Predicted is what `solar plan` says. Prints JSON and, to stderr, a table.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from environment import environment

from solar_plugins.chain.run import stages
from solar_plugins.chain.run.worker import Work, Workers
from solar_plugins.plan.stages import GIB, Machine, plan_chain

MIB = 1024**2
RANKS = 2

WORDS = [f"w{number}" for number in range(400)]


@dataclass(frozen=True)
class Case:
    """One training: the model's shape and what of the recipe decides its memory."""

    model: str
    hidden: int
    layers: int
    vocabulary: int
    batch: int
    length: int
    checkpointing: bool = False
    pairs: bool = False
    accumulation: int = 1
    adapter: bool = False
    packed: bool = False
    bf16: bool = False
    attention: str = "sdpa"
    zero: int = 0


CASES = {
    "llama-256x8": Case("LlamaConfig", 256, 8, 4096, 8, 256),
    "llama-256x8-recompute": Case("LlamaConfig", 256, 8, 4096, 8, 256, checkpointing=True),
    "llama-512x8": Case("LlamaConfig", 512, 8, 8192, 4, 512),
    "llama-512x8-recompute": Case("LlamaConfig", 512, 8, 8192, 4, 512, checkpointing=True),
    "llama-768x12": Case("LlamaConfig", 768, 12, 16384, 2, 256),
    "mistral-512x16": Case("MistralConfig", 512, 16, 4096, 2, 512),
    "mistral-512x16-accumulate": Case("MistralConfig", 512, 16, 4096, 2, 512, accumulation=2),
    "qwen3-512x8-wide": Case("Qwen3Config", 512, 8, 32768, 4, 256),
    "gemma2-384x8": Case("Gemma2Config", 384, 8, 16384, 2, 256),
    "olmo2-512x12": Case("Olmo2Config", 512, 12, 8192, 2, 512),
    "dpo-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 2, 256, pairs=True),
    "dpo-qwen3-384x8": Case("Qwen3Config", 384, 8, 16384, 2, 256, pairs=True),
    "dpo-llama-recompute": Case("LlamaConfig", 512, 8, 8192, 4, 256, True, pairs=True),
    "lora-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 4, 512, adapter=True),
    "lora-qwen3-recompute": Case("Qwen3Config", 512, 8, 8192, 4, 512, True, adapter=True),
    "bf16-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 4, 512, bf16=True),
    "bf16-dpo-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 2, 256, pairs=True, bf16=True),
    "long-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 1, 2048),
    "packed-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 2, 512, packed=True),
    "eager-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 1, 1024, attention="eager"),
    "zero2-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 2, 256, zero=2),
    "zero3-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 2, 256, zero=3),
    "zero3-dpo-llama-512x8": Case("LlamaConfig", 512, 8, 8192, 1, 256, pairs=True, zero=3),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=CASES, default=list(CASES))
    names = parser.parse_args().only
    rows: list[dict[str, Any]] = []
    nothing: dict[int, float] = {}  # by ZeRO stage
    with tempfile.TemporaryDirectory(prefix="plan_memory_") as name:
        folder = Path(name)
        workers = [
            Workers({"train"}, folder / f"lock{rank}", folder / "server.log") for rank in (0, 1)
        ]
        for zero in sorted({CASES[case].zero for case in names}):
            nothing[zero] = measure(
                Case("LlamaConfig", 8, 1, 512, 1, 16, zero=zero), folder / str(zero), workers
            )
        for case in names:
            taken = measure(CASES[case], folder / case, workers) - nothing[CASES[case].zero]
            log = folder / case / "log"
            said = finished(workers[0].start(predict, CASES[case], folder / case, log=log))
            row = {
                "case": case,
                "predicted_mib": round(said / MIB),
                "measured_mib": round(taken / MIB),
                "error": round(said / taken - 1, 3),
            }
            print("| {case} | {predicted_mib} | {measured_mib} | {error:+.1%} |".format(**row),
                  file=sys.stderr, flush=True)  # fmt: skip
            rows.append(row)
    worst = max(abs(row["error"]) for row in rows)
    print(json.dumps({"rows": rows, "largest_error": worst, **environment()}, indent=2))


def measure(case: Case, folder: Path, workers: list[Workers]) -> float:
    """Train `case`; the most memory in bytes of one of its processes."""
    log = folder / "log"
    recipe = finished(workers[0].start(write_case, case, folder, log=log))
    if not case.zero:
        return peak_bytes([workers[0].start(train, recipe, log=log)])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environments = [
        {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS),
         "LOCAL_WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
         "DS_ACCELERATOR": "cpu"}
        for rank in range(RANKS)
    ]  # fmt: skip
    return peak_bytes(
        [
            worker.start(train_as_rank, recipe, log=log, env=environment)
            for worker, environment in zip(workers, environments, strict=True)
        ]
    )


def finished(work: Work) -> Any:
    """What `work` returns."""
    outcome = work.wait()
    if outcome.error:
        sys.exit(outcome.error)
    return outcome.value


def predict(case: Case, folder: Path) -> float:
    """Bytes that `solar plan` says of one GPU, without those of the process itself."""
    chain = {
        "name": "plan_memory",
        "base_model": str(folder / "base"),
        "output_dir": str(folder),
        "stages": {"training": {"train": "recipe.yml"}},
    }
    (folder / "chain.yml").write_text(yaml.safe_dump(chain))
    machine = Machine(gpus=RANKS if case.zero else 1, gpu_bytes=80 * GIB)
    (stage,) = plan_chain(folder / "chain.yml", machine).stages
    return (stage.states_gib + stage.activations_gib) * GIB


def train(recipe: Path) -> None:
    """The training, with a C library that gives freed memory back to the system at once.

    By default glibc keeps freed blocks of up to 32 MiB in its heap, whose gaps are no part of what
    the training needs.
    """
    import transformers.training_args

    _give_back()
    # transformers takes bf16 without a GPU only from a key that Axolotl does not have.
    transformers.training_args.is_torch_bf16_gpu_available = lambda: True
    stages.train(recipe)


def train_as_rank(recipe: Path) -> None:
    """The same as one of several processes, see `train_on_cpu_ranks`."""
    _give_back()
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "distributed"))
    from train_on_cpu_ranks import main

    sys.argv = ["axolotl"]
    main(str(recipe))


def _give_back() -> None:
    ctypes.CDLL(None).mallopt(-3, 64 * 1024)  # M_MMAP_THRESHOLD of malloc.h; also ends its growth


def peak_bytes(works: list[Work]) -> float:
    """The most memory that one of the processes has held, files that it maps included.

    (Weights that nothing writes to stay pages of the file that they were read from.)
    """
    for work in works:
        finished(work)
    return max(work.outcome.peak_memory_gib for work in works) * GIB


def write_case(case: Case, folder: Path) -> Path:
    """Base model, data and recipe of one training; returns the recipe."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    torch.manual_seed(0)
    config = getattr(transformers, case.model)(
        vocab_size=case.vocabulary,
        hidden_size=case.hidden,
        intermediate_size=3 * case.hidden,
        num_hidden_layers=case.layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=max(case.hidden // 8, 2),
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        **({"sliding_window": None} if case.model == "MistralConfig" else {}),
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder / "base")
    words = ["<pad>", "<s>", "</s>", "<unk>", *WORDS]
    tokens = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
    ).save_pretrained(folder / "base")
    rng = random.Random(0)

    def text(count: int) -> str:
        return " ".join(rng.choices(WORDS, k=count))

    rows = 3 * case.batch * case.accumulation
    half = case.length // 2
    if case.pairs:
        data = [
            {"prompt": text(half - 1), "chosen": text(half - 1), "rejected": text(half - 1)}
            for _ in range(rows)
        ]
        kind: Any = {"prompt_format": "{prompt}"}
    else:
        data = [{"text": text(case.length - 1)} for _ in range(rows)]
        kind = "completion"
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    entry = {"path": str(folder / "rows.jsonl"), "split": "train", "type": kind}
    recipe = {
        "base_model": str(folder / "base"),
        **({"rl": "dpo", "plugins": ["solar_plugins.StepwiseDPOPlugin"],
            "sdpo": {"steps": [{"datasets": [entry]}]}}
           if case.pairs else {"datasets": [{**entry, "ds_type": "json"}]}),
        "output_dir": str(folder / "out"),
        "dataset_prepared_path": str(folder / "prepared"),
        "sequence_len": case.length,
        "micro_batch_size": case.batch,
        "gradient_accumulation_steps": case.accumulation,
        "num_epochs": 1,
        "max_steps": 3,
        "optimizer": "adamw_torch_fused",
        "learning_rate": 1.0e-4,
        "lr_scheduler": "constant",
        "gradient_checkpointing": case.checkpointing,
        "bf16": case.bf16,
        "fp16": False,
        "tf32": False,
        "attn_implementation": case.attention,
        "save_strategy": "no",
        "logging_steps": 1,
    }  # fmt: skip
    if case.adapter:
        kernels = dict.fromkeys(("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel"), False)
        recipe |= {"adapter": "lora", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.0}
        recipe |= {"lora_target_linear": True, **kernels}
    if case.packed:
        recipe |= {"sample_packing": True, "pad_to_sequence_len": True}
    if case.zero:
        auto = ("gradient_accumulation_steps", "gradient_clipping", "train_batch_size",
                "train_micro_batch_size_per_gpu")  # fmt: skip
        zero = {"stage": case.zero, "reduce_bucket_size": "auto"}
        if case.zero == 3 and case.pairs:  # each step's model is saved whole
            zero["stage3_gather_16bit_weights_on_model_save"] = True
        recipe["deepspeed"] = {"zero_optimization": zero, **dict.fromkeys(auto, "auto")}
    if case.checkpointing:
        recipe["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    (folder / "recipe.yml").write_text(yaml.safe_dump(recipe))
    return folder / "recipe.yml"


if __name__ == "__main__":
    main()
