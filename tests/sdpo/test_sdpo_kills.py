"""kill -9 at drawn moments; `benchmarks/sdpo/kills.py` does the same with 30."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from sdpo_kills import WatchedRun, draw, killed, weights_of
from sdpo_world import dataset, make_model, make_preferences, recipe

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    for heavy in ("axolotl.cli.config", "axolotl.core.builders.rl", "axolotl.train"):
        import_module(heavy)  # once here; each run is a fork of this process
    folder = tmp_path_factory.mktemp("kills")
    make_model(folder / "sft")
    for seed in (1, 2, 3):
        make_preferences(folder / f"{seed}.jsonl", 20, seed=seed)
    return folder


def values_of(world: Path, name: str) -> dict:
    steps = [{"datasets": [dataset(world / f"{n}.jsonl", "chatml.default")]} for n in (1, 2, 3)]
    return recipe(
        world,
        output_dir=str(world / name),
        # Its own, so that a kill can fall into the preparation of the data too.
        dataset_prepared_path=str(world / f"{name}_prepared"),
        plugins=["solar_plugins.StepwiseDPOPlugin"],
        sdpo={"steps": steps},
    )


@pytest.fixture(scope="module")
def undisturbed(world):
    return WatchedRun(values_of(world, "undisturbed")).timeline()


@pytest.mark.parametrize("seed", [21, 22])
def test_killed_again_and_again_it_ends_with_the_same_weights(world, undisturbed, seed):
    calls, seconds = undisturbed

    trial = killed(
        values_of(world, f"killed_{seed}"), draw(calls, 6, seed)[seed % 2 :: 2], calls, seconds
    )

    told = [*zip(map(str, trial.moments), trial.left, strict=True)]
    assert any(trial.left), told
    assert trial.weights == weights_of(world / "undisturbed"), told
    assert len(trial.weights) == 4  # three steps and the run's own
    assert not trial.repeated, told
