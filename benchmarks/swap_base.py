"""The tiny chain on other base models: one line to another architecture and tokenizer.

    .venv/bin/python benchmarks/swap_base.py                    # all, about two minutes each
    .venv/bin/python benchmarks/swap_base.py qwen3 gemma2       # these anew

For each family a small untrained base is made: its own architecture, a depth of its own, and a
tokenizer of its kind, trained on the world's text. Then

    solar run recipes/tiny/solar.yml --base-model THAT_FOLDER

runs the whole chain, every training cut to `--steps` steps and every benchmark to `--items` items.
What a row reports is read from the folders of the base and of the run. Writes `swap_base.json`
beside this file and the table in `solar_plugins/chain/README.md`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from environment import environment

from solar_plugins import atomic
from solar_plugins.check import tokenizer_files
from solar_plugins.models import model_config

BIN = Path(sys.executable).parent
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
CHAIN = ROOT / "recipes" / "tiny" / "solar.yml"
README = ROOT / "solar_plugins" / "chain" / "README.md"
BEGIN, END = "<!-- table of base models -->", "<!-- end of the table -->"

CHATML = """{% for message in messages %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}"""

KINDS = {
    "bytes": "byte-level BPE",
    "pieces": "BPE on words with ▁, byte fallback",
    "unigram": "Unigram on words with ▁",
}


@dataclass(frozen=True)
class Family:
    """A published family in small.

    Attributes:
        config: name of its class in transformers.
        layers: depth of the small base.
        kind: of its tokenizer, one of `KINDS`.
        bos, eos, pad, unk: its special tokens; None where the family has none.
        extra: further config values that the family needs when it is small.
        chat: the chat template that its base models have.
        spare_rows: rows of the embedding beyond the tokenizer's, more than rounding up makes.
    """

    config: str
    layers: int
    kind: str
    bos: str | None
    eos: str
    pad: str | None = None
    unk: str | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    chat: str | None = None
    spare_rows: int = 0


FAMILIES = {
    "Llama 3": Family("LlamaConfig", 8, "bytes", "<|begin_of_text|>", "<|end_of_text|>"),
    "Qwen 2.5": Family(
        "Qwen2Config", 12, "bytes", None, "<|endoftext|>", "<|endoftext|>",
        extra={"tie_word_embeddings": True}, chat=CHATML, spare_rows=271,
    ),
    "Qwen 3": Family(
        "Qwen3Config", 9, "bytes", None, "<|im_end|>", "<|endoftext|>",
        extra={"head_dim": 32}, chat=CHATML, spare_rows=267,
    ),
    "Gemma 2": Family(
        "Gemma2Config", 10, "pieces", "<bos>", "<eos>", "<pad>", "<unk>",
        extra={"head_dim": 32, "tie_word_embeddings": True},
    ),
    "Phi 3": Family("Phi3Config", 8, "pieces", "<s>", "<|endoftext|>", "<|endoftext|>", "<unk>"),
    "OLMo 2": Family("Olmo2Config", 8, "bytes", None, "<|endoftext|>", "<|pad|>", "<unk>"),
    "Granite": Family(
        "GraniteConfig", 8, "bytes", "<|end_of_text|>", "<|end_of_text|>", "<|end_of_text|>",
        extra={"tie_word_embeddings": True},
    ),
    "Mistral": Family("MistralConfig", 6, "pieces", "<s>", "</s>", None, "<unk>"),
    # Beyond the eight: no grouped queries, experts, and a tokenizer that is no BPE.
    "GPT-NeoX": Family(
        "GPTNeoXConfig", 10, "bytes", "<|endoftext|>", "<|endoftext|>", None, "<|endoftext|>",
        extra={"num_key_value_heads": 4},
    ),
    "StableLM": Family(
        "StableLmConfig", 7, "bytes", "<|endoftext|>", "<|endoftext|>", spare_rows=500
    ),
    "Mixtral": Family(
        "MixtralConfig", 8, "pieces", "<s>", "</s>", None, "<unk>", extra={"num_local_experts": 4}
    ),
    "LLM-jp": Family("LlamaConfig", 5, "unigram", "<s>", "</s>", "<PAD|LLM-jp>", "<unk>"),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--steps", type=int, default=5, help="steps per training")
    parser.add_argument("--items", type=int, default=8, help="items per benchmark")
    arguments = parser.parse_args()
    out = HERE / "swap_base.json"
    rows = json.loads(out.read_text())["rows"] if arguments.names and out.is_file() else {}
    with tempfile.TemporaryDirectory(prefix="swap_base_") as name:
        folder = Path(name)
        world = folder / "world"
        _solar(["run", str(CHAIN), "--until", "world", "--set", f"output_dir={folder / 'first'}"])
        (folder / "first" / "world").rename(world)
        for family in arguments.names or FAMILIES:
            base = folder / family.replace(" ", "-").lower()
            make_base(FAMILIES[family], world, base)
            rows[family] = run_chain(base, FAMILIES[family], arguments)
            print(family, rows[family], flush=True)
    rows = {family: rows[family] for family in FAMILIES if family in rows}
    measured = {"steps": arguments.steps, "items": arguments.items, "rows": rows, **environment()}
    out.write_text(json.dumps(measured, indent=1) + "\n")
    write_readme(measured)


def make_base(family: Family, world: Path, folder: Path) -> None:
    """An untrained base of the family with a tokenizer of its kind, as a folder."""
    import torch
    import transformers

    tokenizer = _tokenizer(family, world)
    tokenizer.chat_template = family.chat
    tokenizer.save_pretrained(folder)
    torch.manual_seed(2312)
    small = {
        # padded, as families publish their embeddings
        "vocab_size": -(-(len(tokenizer) + family.spare_rows) // 64) * 64,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": family.layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = getattr(transformers, family.config)(**(small | family.extra))
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)


def _tokenizer(family: Family, world: Path) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = [t for t in dict.fromkeys([family.unk, family.bos, family.eos, family.pad]) if t]
    if family.chat:
        special += [t for t in ("<|im_start|>", "<|im_end|>") if t not in special]
    options = {"vocab_size": 900, "special_tokens": special, "show_progress": False}
    if family.kind == "bytes":
        tokens = Tokenizer(models.BPE())
        tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokens.decoder = decoders.ByteLevel()
        options |= {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}
    elif family.kind == "unigram":
        tokens = Tokenizer(models.Unigram())
        tokens.pre_tokenizer = pre_tokenizers.Metaspace()
        tokens.decoder = decoders.Metaspace()
        options |= {"unk_token": family.unk}
    else:
        tokens = Tokenizer(models.BPE(unk_token=family.unk, byte_fallback=True, fuse_unk=True))
        tokens.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        tokens.decoder = decoders.Sequence(
            [
                decoders.Replace("▁", " "),
                decoders.ByteFallback(),
                decoders.Fuse(),
                decoders.Strip(" ", 1, 0),
            ]
        )
        special += [f"<0x{byte:02X}>" for byte in range(256)]
    if family.kind == "unigram":
        trainer = trainers.UnigramTrainer(**options)
    else:
        trainer = trainers.BpeTrainer(**options, max_token_length=16)
    rows = (world / "pretrain.jsonl").read_text(encoding="utf-8").splitlines()[:500]
    tokens.train_from_iterator((json.loads(row)["text"] for row in rows), trainer)
    if family.bos and family.bos != family.eos:
        from tokenizers.processors import TemplateProcessing

        tokens.post_processor = TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, tokens.token_to_id(family.bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        unk_token=family.unk,
        model_max_length=512,
    )


def run_chain(base: Path, family: Family, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the chain on `base`; what came out, from its folder and the run's."""
    run = base.parent / f"{base.name}-run"
    command = ["run", str(CHAIN), "--base-model", str(base), "--set", f"output_dir={run}"]
    for name, stage in yaml.safe_load(CHAIN.read_text())["stages"].items():
        if "train" in stage:
            command += ["--set", f"{name}.max_steps={arguments.steps}"]
        if "evaluate" in stage:
            command += ["--set", f"{name}.limit={arguments.items}"]
    started = time.perf_counter()
    error = _solar(command, may_fail=True)
    stages = [json.loads(file.read_text()) for file in (run / ".solar" / "stages").glob("*.json")]
    done = {stage["stage"]: stage["facts"] for stage in stages if stage["state"] == "done"}
    tokenizer, config = tokenizer_files.find(str(base)), model_config.find(str(base))
    end = done.get("instruct", {})
    return {
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "stages_done": len(done),
        "stages": len(yaml.safe_load(CHAIN.read_text())["stages"]),
        "architecture": config["model_type"],
        "base_layers": model_config.depth(config),
        "up_scaled_layers": end.get("num_hidden_layers"),
        "stacked_by_merge": done.get("dus", {}).get("num_hidden_layers"),
        "tied": bool(config.get("tie_word_embeddings")),
        "tokens": len(tokenizer.vocabulary),
        "rows": config["vocab_size"],
        "tokens_at_the_end": end.get("tokens"),
        "rows_at_the_end": end.get("vocabulary"),
        "kind": KINDS[family.kind],
        "special": tokenizer.special,
        "chat_template": tokenizer.chat_template is not None,
        "error": error,
    }


def _solar(command: list[str], may_fail: bool = False) -> str | None:
    """Run `solar …`; its last line if it failed."""
    done = subprocess.run(
        [str(BIN / "solar"), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        return None
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    if not may_fail:
        sys.exit("\n".join(lines))
    return lines[-1]


def write_readme(measured: dict[str, Any]) -> None:
    """The table in the chain's README, between its two marks."""
    rows = measured["rows"]
    whole = sum(row["stages_done"] == row["stages"] for row in rows.values())
    lines = [
        BEGIN,
        f"{len(rows)} bases, {measured['steps']} steps a training and {measured['items']} items a "
        f"benchmark; the whole chain on {whole} of them.",
        "",
        "| base | layers | tokens / rows, before and after | tokenizer | BOS | padding | chat "
        "template | embeddings | stages | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for family, row in rows.items():
        special, after = row["special"], (row["tokens_at_the_end"], row["rows_at_the_end"])
        vocabulary = f"{row['tokens']} / {row['rows']}"
        same = after == (row["tokens"], row["rows"])
        cells = (
            family,
            f"{row['base_layers']} -> {row['up_scaled_layers']}",
            f"{vocabulary}, the same" if same else f"{vocabulary}, {after[0]} / {after[1]}",
            row["kind"],
            "yes" if "bos_token" in special else "none",
            _padding(special),
            "its own" if row["chat_template"] else "none",
            "tied" if row["tied"] else "untied",
            f"{row['stages_done']} of {row['stages']}" + (f": {row['error']}" * bool(row["error"])),
            row["minutes"],
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    atomic.write_text(README, before + "\n".join([*lines, END]) + after)


def _padding(special: dict[str, str]) -> str:
    pad = special.get("pad_token")
    if pad is None:
        return "none"
    return "the end" if pad == special.get("eos_token") else "its own"


if __name__ == "__main__":
    main()
