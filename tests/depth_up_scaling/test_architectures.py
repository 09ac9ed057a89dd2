"""Every causal language model that transformers knows: up-scaled right, or refused with the reason.

The outcomes are those of benchmarks/depth_up_scaling/architectures.json, from which the table in
the plugin's README is made: a row that is no longer true fails here.
"""

import json
from pathlib import Path

import pytest
from coverage_judge import REFUSED, RIGHT, judge
from tiny_architectures import ARCHITECTURES, VARIANTS

import solar_plugins.depth_up_scaling

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

ROOM = Path(solar_plugins.depth_up_scaling.__file__).parent
RECORDED = json.loads(
    (ROOM.parents[1] / "benchmarks/depth_up_scaling/architectures.json").read_text()
)["architectures"]

# `init: identity` takes as long as all the rest: one of each kind of block here, all in the table
WITH_IDENTITY = {
    "bamba",  # mamba, and attention in some layers
    "bloom",
    "deepseek_v3",  # experts, a shared expert, dense first layers, latent attention
    "falcon",  # attention and MLP beside each other
    "gemma2",  # norms before and behind
    "gpt2",  # biases
    "gpt2_inverse",  # attention divided by the layer's position: refused
    "llama_tied",
    "mamba",
    "nemotron_h",  # one mixer per layer
    "olmo2",  # norms behind the blocks only
    "openai-gpt",  # norms on the residual stream: refused
    "qwen3_next",  # linear attention, gated attention, experts
}
SHARDED = {"llama_tied", "mixtral", "gpt2", "qwen3_next"}


@pytest.mark.parametrize("name", [*ARCHITECTURES, *VARIANTS])
def test_right_or_refused(name, tmp_path):
    saving = {"max_shard_size": "60KB"} if name in SHARDED else {}
    verdict = judge(name, tmp_path, identity=name in WITH_IDENTITY, **saving)
    recorded = RECORDED[name]
    assert verdict.outcome in (RIGHT, REFUSED), verdict.reason
    assert (verdict.outcome, verdict.remove_layers) == (
        recorded["outcome"],
        recorded["remove_layers"],
    ), verdict.reason
    if verdict.outcome == REFUSED:
        assert verdict.reason == recorded["reason"]
        assert "\n" not in verdict.reason
    if name in WITH_IDENTITY:
        assert (verdict.identity, verdict.identity_reason) == (
            recorded["identity"],
            recorded["identity_reason"],
        )
        assert verdict.layouts == recorded["layouts"]
    if name in SHARDED:
        assert len(list(tmp_path.glob("*.safetensors"))) > 2


def test_the_table_is_whole():
    assert list(RECORDED) == [*ARCHITECTURES, *VARIANTS]
    outcomes = [row["outcome"] for row in RECORDED.values()]
    assert set(outcomes) == {RIGHT, REFUSED}
    assert outcomes.count(RIGHT) + outcomes.count(REFUSED) >= 60
    assert {row["identity"] for row in RECORDED.values()} <= {"", RIGHT, REFUSED}
    for row in RECORDED.values():
        assert {found.partition(":")[0] for found in row["layouts"].values()} <= {RIGHT, REFUSED}
    readme = (ROOM / "README.md").read_text(encoding="utf-8")
    for name in RECORDED:
        assert f"\n| {name} | " in readme
