"""Model cards: read back by huggingface_hub, and saying what the run says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import small_run
from click.testing import CliRunner
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from huggingface_hub.utils import validate_repo_id

from solar_plugins.cli import cli
from solar_plugins.sharing import card
from solar_plugins.shipped import root

MODELS = ("base", "dus", "cpt", "sft_v3", "sft_v4", "sft_v3_v4", "cand_1", "cand_2", "instruct")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = small_run.write_run(tmp_path / "run")
    (folder / ".solar/resolved").mkdir(exist_ok=True)
    for name in MODELS:
        (folder / name).mkdir(exist_ok=True)
        recipe = root() / "recipes/tiny" / f"{'merge_v1' if name == 'instruct' else name}.yml"
        shutil.copy(recipe, folder / ".solar/resolved" / f"{name}.yml")
    # As in the full chain, whose data are on the Hub.
    shutil.copy(root() / "recipes/sft_v3.yml", folder / ".solar/resolved/sft_v3.yml")
    return folder


def test_every_model_gets_one_that_the_hub_can_read(run: Path):
    result = CliRunner().invoke(cli, ["card", str(run)])
    assert result.exit_code == 0, result.output
    for name in MODELS:
        read = ModelCard.load(run / name / "README.md")  # raises where the model index is not one
        data = read.data
        assert data.base_model == "unused/base"
        validate_repo_id(data.base_model)
        assert data.license == "unknown"
        assert "Not known of: " in read.text
        assert data.base_model_relation == ("merge" if name in _MERGED else "finetune")
        for dataset in data.datasets or []:
            validate_repo_id(dataset)
        assert "None" not in read.text
        assert len(data.eval_results) == 7
        name_again, results = model_index_to_eval_results(data.to_dict()["model-index"])
        assert name_again == f"tiny-solar-{name}"
        assert len(results) == 7


_MERGED = ("dus", "sft_v3_v4", "instruct")


def test_it_says_where_the_model_comes_from_and_what_it_scores(run: Path):
    card.write_cards(run, ("instruct",))
    assert not (run / "cpt/README.md").exists()
    read = ModelCard.load(run / "instruct/README.md")
    data = read.data
    assert {"merge", "mergekit", "depth-up-scaling", "sdpo", "dpo", "axolotl"} <= set(data.tags)
    assert "meta-math/MetaMathQA" in data.datasets
    scores = small_run.result("instruct")
    h6 = next(result for result in data.eval_results if result.metric_name == "H6")
    assert h6.metric_value == round(100 * scores["h6"], 2)
    arc = next(result for result in data.eval_results if result.dataset_type == "mini_arc")
    assert arc.metric_value == round(100 * scores["tasks"]["mini_arc"]["value"], 2)
    assert "| cpt | base | Axolotl | continued.jsonl | 0.001 |" in read.text
    assert "| instruct | cand_1, cand_2 | MergeKit, linear |" in read.text
    assert "8 layers stacked to 12, which are the base's 0-5, 2-7" in read.text
    assert "the FLAN filter removed 100 of 600 rows" in read.text
    assert "stepwise DPO: 2 steps of 400, 300 pairs" in read.text
    assert "sft_v4" in read.text  # through the merge that cand_2 starts from
    assert str(run) not in read.content


def test_energy_of_the_trainings_on_gpus_whose_power_is_known(run: Path):
    for name, device in (("cpt", "NVIDIA H100 80GB HBM3"), ("sft_v3", "cpu")):
        file = run / f".solar/stages/{name}.json"
        record = json.loads(file.read_text())
        record["facts"]["proofs"] = {"stage": {"world_size": 8, "device": device}}
        file.write_text(json.dumps(record | {"wall_s": 36_000.0}))
    card.write_cards(run, ("cpt", "sft_v3", "base"))
    for name in ("cpt", "sft_v3"):  # of what sft_v3 comes from, the part that is known
        text = (run / name / "README.md").read_text()
        assert "on GPUs took 80.0 GPU-hours: at most 56.0 kWh, if the GPUs drew their full" in text
    assert "kWh" not in (run / "base/README.md").read_text()


def test_a_local_base_is_no_hub_id(run: Path, monkeypatch):
    monkeypatch.chdir(run.parent)
    Path("unused/base").mkdir(parents=True)
    card.write_cards(run, ("cpt",))
    read = ModelCard.load(run / "cpt/README.md")
    assert (read.data.base_model, read.data.license) == (None, "unknown")
    assert "from `base`, after" in read.text
    Path("unused/base/README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n# Base\n")
    card.write_cards(run, ("cpt",))
    read = ModelCard.load(run / "cpt/README.md")
    assert read.data.license == "unknown"
    assert "Made from base (cc-by-nc-4.0). Not known of: continued.jsonl, pretrain" in read.text


def test_the_same_run_gives_the_same_card(run: Path):
    first = {path: path.read_bytes() for path in card.write_cards(run)}
    assert first == {path: path.read_bytes() for path in card.write_cards(run)}


def test_without_scores_it_says_so_and_has_no_model_index(tmp_path: Path):
    folder = small_run.write_run(tmp_path / "run", {"h6": None, "instruct": None})
    for name in MODELS[:-1]:
        (folder / name).mkdir(exist_ok=True)
    assert len(card.write_cards(folder)) == 8
    read = ModelCard.load(folder / "cpt/README.md")
    assert read.data.eval_results is None
    assert "It was not evaluated at all." in read.text
    assert not (folder / "instruct/README.md").exists()
    result = CliRunner().invoke(cli, ["card", str(folder), "instruct"])
    assert (
        result.output == f"Error: {folder}: instruct has made no model (yet), so it gets no card.\n"
    )
    result = CliRunner().invoke(cli, ["card", str(folder), "instrct"])
    assert "Did you mean 'instruct'?" in result.output


@pytest.fixture
def full_size(tmp_path: Path, monkeypatch) -> Path:
    """A run whose stages are the full-size recipes, the math pairs made by one of them."""
    monkeypatch.chdir(tmp_path)
    folder = small_run.write_run(Path("outputs/solar-10.7b"))
    hidden = folder / ".solar"
    chain = (hidden / "chain.yml").read_text().replace("world", "synth_math")
    (hidden / "chain.yml").write_text(chain.replace("unused/base", "mistralai/Mistral-7B-v0.1"))
    (hidden / "stages/world.json").rename(hidden / "stages/synth_math.json")
    (hidden / "resolved").mkdir(exist_ok=True)
    recipes = {"base": "cpt", "instruct": "merge_v1", "dus": "dus"}
    for name in (*MODELS, "synth_math"):
        (folder / name).mkdir(exist_ok=True)
        file = f"{recipes.get(name, name)}.yml"
        where = "mergekit_configs" if name in _MERGED else "recipes"
        shutil.copy(root() / where / file, hidden / "resolved" / f"{name}.yml")
    return folder


def licence_of(run: Path, stage: str) -> tuple[str, str]:
    card.write_cards(run, (stage,))
    read = ModelCard.load(run / stage / "README.md")
    return read.data.license, read.text.partition("## Licence")[2].partition("##")[0].strip()


def test_the_licence_is_the_strictest_of_base_and_data(full_size: Path):
    assert licence_of(full_size, "cpt") == (
        "apache-2.0",
        "Made from HuggingFaceFW/fineweb-edu (odc-by), mistralai/Mistral-7B-v0.1 (apache-2.0). "
        "The strictest holds for this model: apache-2.0.",
    )
    for stage in ("sft_v3", "sft_v4", "sft_v3_v4", "cand_1", "cand_2", "instruct"):
        name, text = licence_of(full_size, stage)
        assert name == "cc-by-nc-4.0"
        assert "alpaca-gpt4-data (cc-by-nc-4.0)" in text
    assert "EleutherAI/hendrycks_math (mit)" in text  # through the stage that made the pairs
    readme = (root() / "README.md").read_text()
    for line in ("| `cpt` | apache-2.0 |", "| all after it | cc-by-nc-4.0 |"):
        assert line in readme


def test_a_card_may_be_stricter_than_the_list_and_not_weaker(full_size: Path, monkeypatch):
    on_card = {"Open-Orca/OpenOrca": "cc-by-nc-nd-4.0", "c-s-ale/alpaca-gpt4-data": "cc-by-4.0"}

    def cached(name, file, folder, revision, kind):
        known = full_size / "card.md"
        known.write_text(f"---\nlicense: {on_card.get(name)}\n---\n")
        return str(known) if name in on_card and kind == "dataset" else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    name, text = licence_of(full_size, "sft_v3")
    assert name == "cc-by-nc-nd-4.0"
    assert "alpaca-gpt4-data (cc-by-nc-4.0)" in text
    recipe = full_size / ".solar/resolved/sft_v3.yml"
    recipe.write_text(recipe.read_text().replace("Open-Orca/OpenOrca", "someone/rows"))
    name, text = licence_of(full_size, "sft_v3")
    assert (name, text.partition(". Not")[2]) == (
        "unknown",
        " known of: someone/rows; ask before you pass the model on.",
    )


def test_full_size_benchmarks_name_their_datasets(run: Path):
    import json

    result = small_run.result("cpt")
    tasks = {}
    for name, task in result["tasks"].items():
        tasks[name.removeprefix("mini_")] = {**task, "num_fewshot": 5, "n": 20_000}
    (run / "h6/cpt.json").write_text(json.dumps({**result, "tasks": tasks}))
    card.write_cards(run, ("cpt",))
    found = ModelCard.load(run / "cpt/README.md").data.eval_results
    arc = next(result for result in found if result.dataset_name == "ARC")
    assert (arc.dataset_type, arc.dataset_config) == ("allenai/ai2_arc", "ARC-Challenge")
    assert arc.dataset_args == {"num_few_shot": 5}


def test_a_trial_is_no_score(run: Path):
    import json

    result = {**small_run.result("cpt"), "limit": 10.0}
    (run / "h6/cpt.json").write_text(json.dumps(result))
    card.write_cards(run, ("cpt",))
    read = ModelCard.load(run / "cpt/README.md")
    assert read.data.eval_results is None
    assert "A small sample, a trial and not a score: mini_arc 200 items" in read.text


def test_held_out_loss_and_own_tasks_are_in_it(run: Path):
    import json

    quiz = {"values": {"acc,none": 0.4321, "acc_stderr,none": 0.01}, "n": 30}
    result = {**small_run.result("cpt"), "other": {"my_quiz": quiz}, "tasks": {}, "h6": None}
    (run / "h6/cpt.json").write_text(json.dumps(result))
    card.write_cards(run, ("cpt",))
    text = ModelCard.load(run / "cpt/README.md").text
    assert "| mini_loss, held-out bits per byte | 1.0200 |  |  | 50 |" in text
    assert "| my_quiz, acc | 0.4321 |  |  | 30 |" in text
    assert "H6" not in text
