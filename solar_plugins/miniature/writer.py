"""Write a miniature world to a folder: texts, datasets, benchmarks, tokenizer, untrained model."""

from __future__ import annotations

import json
from pathlib import Path

from solar_plugins import atomic
from solar_plugins.miniature.benchmarks import build_benchmarks
from solar_plugins.miniature.facts import build_world
from solar_plugins.miniature.instructions import Teacher
from solar_plugins.miniature.texts import Author
from solar_plugins.recipes import data_recipe as recipes
from solar_plugins.recipes.strings import strings

# Columns that no model reads.
NO_TEXT = {"id", "_task_name", "role"}
_SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


def write(recipe: dict, out: Path) -> dict:
    """See `solar_plugins.chain.data_stage.generate`."""
    from solar_plugins.miniature import tokens, untrained_model

    settings = recipes.read(recipe)
    assert isinstance(settings, recipes.WorldRecipe)
    files = rows(settings)
    words = tokens.vocabulary(strings(files, NO_TEXT))
    facts = {name.removesuffix(".jsonl"): len(content) for name, content in files.items()}
    with atomic.new_directory(out) as folder:
        for name, content in files.items():
            lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in content)
            atomic.write_text(folder / name, "".join(lines))
        tokens.save_tokenizer(words, folder / "init")
        config = {
            **{name: getattr(settings, name) for name in _SIZES},
            "num_key_value_heads": settings.num_attention_heads,
            "max_position_embeddings": 512,
            "sliding_window": None,
            **{"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2},
        }
        facts["parameters"] = untrained_model.save(
            "mistral", len(words), config, settings.seed, folder / "init"
        )
        facts["vocabulary"] = len(words)
        atomic.write_json(folder / "world.json", {"recipe": recipe, "facts": facts})
    return facts


def rows(settings: recipes.WorldRecipe) -> dict[str, list[dict]]:
    """Every JSONL file of the world by its name."""
    world = build_world(settings.seed)
    benchmarks = build_benchmarks(world)
    teacher = Teacher(world, benchmarks)

    def pages(purpose: str, count: int) -> list[dict]:
        author = Author(world, benchmarks, purpose)
        return [{"text": page} for page in author.pages(count, settings.words_per_page)]

    files = {
        "pretrain.jsonl": pages("pretrain", settings.pretrain_pages),
        "continued.jsonl": pages("continued", settings.continued_pages),
        "alpaca.jsonl": teacher.alpaca(settings.alpaca_rows),
        "orca.jsonl": teacher.orca(settings.orca_rows, settings.benchmark_share),
        "math_instruct.jsonl": teacher.math_instruct(settings.math_rows),
        "math_alignment.jsonl": teacher.math_alignment(settings.math_pairs),
        "orca_pairs.jsonl": teacher.orca_pairs(settings.easy_pairs),
        "ultrafeedback.jsonl": teacher.ultrafeedback(settings.hard_pairs),
        "benchmarks/mini_loss/test.jsonl": pages("held out", settings.held_out_pages),
    }
    for name, benchmark in benchmarks.items():
        files[f"benchmarks/{name}/train.jsonl"] = benchmark.train
        files[f"benchmarks/{name}/test.jsonl"] = benchmark.test
    return files
