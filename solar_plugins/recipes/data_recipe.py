"""What a `data` stage's file may say."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from solar_plugins.errors import SolarError, nearest
from solar_plugins.recipes import typed_block

Seed = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Text = Annotated[str, Field(min_length=1)]


class DataRecipe(BaseModel):
    """What the file of one generator may say beside its name."""

    model_config = {"extra": "forbid", "frozen": True, "strict": True}


class WorldRecipe(DataRecipe):
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

    seed: Seed
    words_per_page: Count = 126
    pretrain_pages: Count = 6500
    continued_pages: Count = 5000
    held_out_pages: Count = 100
    alpaca_rows: Count = 1800
    orca_rows: Count = 1500
    benchmark_share: Annotated[float, Field(ge=0)] = 0.1
    math_rows: Count = 1500
    easy_pairs: Count = 600
    hard_pairs: Count = 1000
    math_pairs: Count = 600
    hidden_size: Count = 128
    intermediate_size: Count = 352
    num_hidden_layers: Count = 8
    num_attention_heads: Count = 4


class FlanIndexRecipe(DataRecipe):
    """The index by which the FLAN filter knows rows without a task name; see `solar flan-index`."""

    sources: Annotated[list[Text], Field(min_length=1)]


class SynthMathRecipe(DataRecipe):
    """The two math sets that are not public, as `solar synth-math from-metamathqa --help` says."""

    seed: Seed = 42
    metamathqa: Text = "meta-math/MetaMathQA"
    math: Text = "EleutherAI/hendrycks_math"
    math_test: Text = "EleutherAI/hendrycks_math"
    gsm8k: Text = "openai/gsm8k"
    instruct_rows: Count = 52_000
    alignment_rows: Count = 20_100


class UntrainedModelRecipe(DataRecipe):
    """A base of another architecture for the miniature world, drawn from the seed.

    `architecture` is transformers' `model_type`; what `config` does not say is transformers' own.
    """

    seed: Seed
    architecture: Text
    tokenizer: Text
    config: dict[str, object]


class ContaminationRecipe(DataRecipe):
    """The paper's Table 9 of `model`, see `solar contamination --help`.

    `benchmarks` says where each one's test items are: a file or folder, or the id on the Hub.
    """

    model: Text
    reference: Text
    benchmarks: Annotated[dict[Text, Text], Field(min_length=1)]
    items: Count = 100
    neighbours: Count = 100
    seed: Seed = 0


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
    fields = GENERATORS[generator].model_fields
    examples = {key: f"{key}: {field.default}" for key, field in fields.items()} | _EXAMPLES
    write = {key: f"Write {example}." for key, example in examples.items()}
    return typed_block.read(GENERATORS[generator], settings, "", write)
