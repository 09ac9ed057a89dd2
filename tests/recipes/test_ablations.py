"""The ablations: each question at both sizes, and each miniature measures what it asks."""

from __future__ import annotations

import pytest
from recipe_files import RECIPES, ROOT

from solar_plugins.chain.chain_file import Chain, load_chain
from solar_plugins.chain.resolve import resolve
from solar_plugins.depth_up_scaling.layer_map import layer_map

pytestmark = pytest.mark.slow

QUESTIONS = sorted(file.stem for file in (RECIPES / "ablations").glob("*.yml"))
TINY_LAYERS = 8


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def miniature(name: str) -> Chain:
    return load_chain(f"recipes/tiny/ablations/{name}.yml")


def evaluated(chain: Chain) -> set[str]:
    return {
        name for stage in chain.stages.values() if stage.kind == "evaluate" for name in stage.from_
    }


def test_each_question_has_a_miniature():
    files = (RECIPES / "tiny" / "ablations").glob("*.yml")
    chains = {file.stem for file in files if "\nstages:\n" in file.read_text(encoding="utf-8")}
    assert sorted(chains) == QUESTIONS


@pytest.mark.parametrize("name", [name for name in QUESTIONS if name != "merge_v4"])  # merges
def test_a_miniature_changes_one_training_and_measures_each_variant(name):
    """The report compares the trainings of one file: there are several, and all are evaluated."""
    chain = miniature(name)
    by_file: dict[str, list[str]] = {}
    for stage in chain.stages.values():
        if stage.kind == "train":
            by_file.setdefault(stage.file.name, []).append(stage.name)
    compared = [names for names in by_file.values() if len(names) > 1]
    assert compared
    assert all(evaluated(chain).issuperset(names) for names in compared)


@pytest.mark.parametrize("name", ["remove_layers", "init", "bases"])
def test_every_up_scaling_is_measured_untrained_too(name):
    chain = miniature(name)
    starts = set()
    for stage in chain.stages.values():
        if stage.kind == "merge" and stage.name in evaluated(chain):
            sources = [slice_["sources"][0] for slice_ in resolve(chain, stage)["slices"]]
            layers = tuple(i for source in sources for i in range(*source["layer_range"]))
            starts.add((stage.from_, layers, any("parameters" in source for source in sources)))
    trained = [stage for stage in chain.stages.values() if stage.file.name == "cpt.yml"]
    for stage in trained:
        removed = stage.set_.get("depth_up_scaling.remove_layers", TINY_LAYERS // 4)
        silent = stage.set_.get("depth_up_scaling.init") == "identity"
        assert (stage.from_, tuple(layer_map(TINY_LAYERS, removed)), silent) in starts
    assert len(trained) > 1
