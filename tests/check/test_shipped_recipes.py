"""The shipped recipes, checked and planned as a reader of the README would."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from solar_plugins.check import check_files
from solar_plugins.plan.stages import GIB, Machine, plan_chain
from solar_plugins.recipes.data_recipe import WorldRecipe

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_nothing_is_wrong_in_the_shipped_files():
    files = [
        str(path.relative_to(ROOT))
        for folder in ("recipes", "mergekit_configs")
        for path in sorted((ROOT / folder).rglob("*.yml"))
    ]
    assert {"recipes/solar.yml", "recipes/paper.yml", "recipes/tiny/solar.yml"} <= set(files)
    assert [finding.text for finding in check_files(files) if not finding.is_note] == []


def test_the_full_chain_is_planned_without_network():
    plan = plan_chain("recipes/solar.yml", Machine(gpus=8, gpu_bytes=80 * GIB))
    sizes = {s.stage: s.parameters for s in plan.stages if s.kind in ("train", "merge")}
    assert set(sizes.values()) == {10_731_524_096}
    assert {s.layers for s in plan.stages if s.stage in sizes} == {48}
    assert plan.fits
    assert plan.hours is not None  # the rows of every data set are known
    assert all(s.zero_stage == 3 for s in plan.stages if s.kind == "train")


def test_every_row_of_the_paper_is_planned():
    plan = plan_chain("recipes/paper.yml", Machine(gpus=8, gpu_bytes=80 * GIB))
    made = [s for s in plan.stages if s.kind in ("train", "merge")]
    assert {s.parameters for s in made} == {10_731_524_096}
    assert plan.fits


def test_the_tiny_chain_is_planned_with_its_data_counted():
    plan = plan_chain("recipes/tiny/solar.yml", Machine(gpus=1, gpu_bytes=6 * GIB))
    stages = {s.stage: s for s in plan.stages}
    assert (stages["base"].layers, stages["dus"].layers, stages["cpt"].layers) == (8, 12, 12)
    assert stages["dus"].parameters == stages["cpt"].parameters
    pages = WorldRecipe(seed=0).pretrain_pages
    assert stages["base"].rows == pages
    assert stages["base"].steps == math.ceil(pages / stages["base"].global_batch)
    assert plan.fits
    assert not any("/tmp" in note for s in plan.stages for note in s.notes)
