"""What a `data` stage's file may say."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from solar_plugins.errors import SolarError, nearest


@dataclass(frozen=True)
class WorldRecipe:
    """Sizes of the miniature world. `seed` fixes all of it; the defaults are the demo's.

    Attributes:
        seed: of the world and of the initial weights (2312 is the paper's month on arXiv).
        words_per_page: pages of pretraining text are at most this long.
        pretrain_pages, continued_pages, held_out_pages: text for the base, for the continued
            pretraining after depth up-scaling, and for measuring the loss.
        alpaca_rows, orca_rows, math_rows: instruction data.
        benchmark_share: part of the orca rows that come from tasks of Table 8.
        easy_pairs, hard_pairs, math_pairs: preference data, in the order in which sDPO takes them.
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads: of the base.
    """

    seed: int
    words_per_page: int = 126
    pretrain_pages: int = 6500
    continued_pages: int = 5000
    held_out_pages: int = 100
    alpaca_rows: int = 1800
    orca_rows: int = 1500
    benchmark_share: float = 0.1
    math_rows: int = 1500
    easy_pairs: int = 600
    hard_pairs: int = 1000
    math_pairs: int = 600
    hidden_size: int = 128
    intermediate_size: int = 352
    num_hidden_layers: int = 8
    num_attention_heads: int = 4


@dataclass(frozen=True)
class FlanIndexRecipe:
    """The index by which the FLAN filter knows rows without a task name; see `solar flan-index`."""

    sources: list[str]


@dataclass(frozen=True)
class SynthMathRecipe:
    """The two math sets that are not public, as `solar synth-math from-metamathqa --help` says."""

    seed: int = 42
    metamathqa: str = "meta-math/MetaMathQA"
    math: str = "EleutherAI/hendrycks_math"
    math_test: str = "EleutherAI/hendrycks_math"
    gsm8k: str = "openai/gsm8k"
    instruct_rows: int = 52_000
    alignment_rows: int = 20_100


@dataclass(frozen=True)
class UntrainedModelRecipe:
    """A base of another architecture for the miniature world, drawn from the seed.

    `architecture` is transformers' `model_type`; what `config` does not say is transformers' own.
    """

    seed: int
    architecture: str
    tokenizer: str
    config: dict[str, object]


@dataclass(frozen=True)
class ContaminationRecipe:
    """The paper's Table 9 of `model`, see `solar contamination --help`.

    `benchmarks` says where each one's test items are: a file or folder, or the id on the Hub.
    """

    model: str
    reference: str
    benchmarks: dict[str, str]
    items: int = 100
    neighbours: int = 100
    seed: int = 0


DataRecipe = (
    WorldRecipe | UntrainedModelRecipe | FlanIndexRecipe | SynthMathRecipe | ContaminationRecipe
)

GENERATORS: dict[str, type[DataRecipe]] = {
    "miniature_world": WorldRecipe,
    "untrained_model": UntrainedModelRecipe,
    "flan_index": FlanIndexRecipe,
    "synth_math": SynthMathRecipe,
    "contamination_test": ContaminationRecipe,
}
"""What a file's `generator` may say."""

_EXAMPLES = {
    "seed": "seed: 2312",
    "sources": "sources: [benchmarks]",
    "architecture": "architecture: qwen3",
    "tokenizer": "tokenizer: ./outputs/tiny/world/init",
    "config": "config: {num_hidden_layers: 8}",
    "model": "model: ./outputs/solar-10.7b/merge_v1",
    "reference": "reference: ./outputs/solar-10.7b/cpt",
    "benchmarks": "benchmarks: {arc: allenai/ai2_arc}",
}
_NEEDED = {
    "int": "a number",
    "float": "a number",
    "str": "a text",
    "list[str]": "a list of texts",
    "dict[str, object]": "a block of keys",
    "dict[str, str]": "a block of texts",
}


def read(recipe: dict) -> DataRecipe:
    """The settings in `recipe`, checked.

    Raises:
        SolarError: naming the key, what it says and what it must be.
    """
    settings = dict(recipe)
    generator = settings.pop("generator", None)
    if not isinstance(generator, str) or generator not in GENERATORS:
        raise SolarError(
            f"generator: {generator!r} is not one of {', '.join(GENERATORS)}."
            f"{nearest(str(generator), GENERATORS)}"
        )
    fields = {field.name: field for field in dataclasses.fields(GENERATORS[generator])}
    for key, value in settings.items():
        if key not in fields:
            raise SolarError(f"{key}: not a setting of {generator}.{nearest(str(key), fields)}")
        kind, default = str(fields[key].type), fields[key].default
        write = _EXAMPLES.get(key, f"{key}: {default}")
        if not _is_of(kind, value):
            raise SolarError(f"{key}: {value!r} is not {_NEEDED[kind]}. Write {write}")
        smallest = 1 if kind == "int" and key != "seed" else 0
        if kind in ("int", "float") and value < smallest:
            raise SolarError(f"{key}: {value!r} is too small. Write {write}")
    for key, field in fields.items():
        if field.default is dataclasses.MISSING and key not in settings:
            raise SolarError(f"{key}: missing. {generator} needs it; write {_EXAMPLES[key]}")
    return GENERATORS[generator](**settings)


def _is_of(kind: str, value: object) -> bool:
    if kind == "str":
        return isinstance(value, str) and bool(value)
    if kind == "list[str]":
        return isinstance(value, list) and bool(value) and all(_is_of("str", v) for v in value)
    if kind == "dict[str, object]":
        return isinstance(value, dict) and all(_is_of("str", key) for key in value)
    if kind == "dict[str, str]":
        pairs = value.items() if isinstance(value, dict) else ()
        return bool(pairs) and all(_is_of("str", text) for pair in pairs for text in pair)
    return type(value) is int or (kind == "float" and type(value) is float)
