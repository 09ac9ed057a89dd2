"""What can be said of the recipes without the tools: they agree with each other and the paper."""

from __future__ import annotations

import json
import re

import pytest
from recipe_files import DPO, MERGES, RECIPES, ROOT, SFT, TRAINED, merge, recipe

from solar_plugins.chain.chain_file import load_chain
from solar_plugins.depth_up_scaling import args as depth_up_scaling_args
from solar_plugins.evaluation import paper
from solar_plugins.plan.stages import GIB, Machine, plan_chain

pytestmark = pytest.mark.slow

CHAINS = ("solar", "paper")


def model_names(config: dict) -> list[str]:
    """The distinct models of a MergeKit config, in order of appearance."""
    return list(dict.fromkeys(re.findall(r"'model': '([^']+)'", str(config))))


@pytest.fixture
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("chain_name", CHAINS)
def test_each_plain_file_says_what_its_stage_says(chain_name, at_root):
    """`axolotl train recipes/X.yml` by hand and `solar run` use the same models and folders."""
    chain = load_chain(RECIPES.relative_to(ROOT) / f"{chain_name}.yml")
    place = {name: f"./outputs/solar-10.7b/{name}" for name in chain.stages}
    place["base_model"] = "mistralai/Mistral-7B-v0.1"
    for stage in chain.stages.values():
        inputs = [place[name] for name in stage.from_]
        if stage.kind == "train":
            keys = recipe(stage.file.stem)
            assert keys["output_dir"] == place[stage.name]
            assert [keys["base_model"]] == inputs
        elif stage.kind == "merge":
            assert model_names(merge(stage.file.stem)) == inputs


def test_solar_yml_is_the_chain_to_merge_v1(at_root):
    chain = load_chain("recipes/solar.yml")
    assert {name: stage.from_ for name, stage in chain.stages.items()} == {
        "flan_index": (),
        "synth_math": (),
        "cpt": ("base_model",),
        "sft_v3": ("cpt",),
        "sft_v4": ("cpt",),
        "sft_v3_v4": ("sft_v3", "sft_v4"),
        "cand_1": ("sft_v3",),
        "cand_2": ("sft_v3_v4",),
        "instruct": ("cand_1", "cand_2"),
        "h6": ("instruct",),
    }
    assert chain.stages["instruct"].file.name == "merge_v1.yml"


@pytest.mark.parametrize("chain_name", CHAINS)
def test_stages_come_after_the_data_that_they_read(chain_name, at_root):
    chain = load_chain(f"recipes/{chain_name}.yml")
    for name, file in (
        ("flan_index", "flan.index"),
        ("synth_math", "math_alignment.jsonl"),
    ):
        path = f"./outputs/solar-10.7b/{name}/{file}"
        reads = [s for s in chain.stages.values() if path in s.file.read_text(encoding="utf-8")]
        assert reads
        assert all(name in stage.after for stage in reads if stage.kind == "train")


def test_paper_yml_makes_every_row_of_tables_3_to_7(at_root):
    chain = load_chain("recipes/paper.yml")
    made = [name for name, stage in chain.stages.items() if stage.kind in ("train", "merge")]
    rows = [*SFT, "sft_v3_v4", *DPO, "dpo_v1_v2", *(f"merge_v{i}" for i in range(1, 5))]
    assert sorted(made) == sorted(["cpt", *rows])
    assert len(rows) == 15
    assert set(chain.stages["h6"].from_) == {"base_model", *made}
    # One folder for both chains: neither trains again what the other has.
    solar = load_chain("recipes/solar.yml")
    assert (chain.name, chain.output_dir) == (solar.name, solar.output_dir)
    for name in set(chain.stages) & set(solar.stages) - {"h6"}:
        assert chain.stages[name] == solar.stages[name]


@pytest.mark.parametrize("chain_name", ["paper", "tiny/paper"])
@pytest.mark.parametrize("number", range(3, 8))
def test_every_row_can_be_asked_for_by_its_name(chain_name, number, at_root):
    chain = load_chain(f"recipes/{chain_name}.yml")
    for row in paper.table(number):
        *before, evaluation = chain.order(row.model)
        assert evaluation.from_ == (before[-1].name,)
        assert paper.row_of_stage(before[-1].name).scores == row.scores


def test_the_scores_beside_the_stages_are_the_papers():
    text = (RECIPES / "paper.yml").read_text(encoding="utf-8")
    written = dict(re.findall(r"^  (\w+): +\{.*\} # ([\d.]+)", text, flags=re.MULTILINE))
    assert len(written) == 16
    for stage, h6 in written.items():
        assert paper.row_of_stage(stage).h6 == float(h6), stage


def test_the_lines_that_the_readme_names_are_there(at_root):
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| the line to change |")[1]
    lines = re.findall(r"\| `([\w/.]+\.yml)`: `([^`]+)` \|\n", table)
    assert len(lines) == 14
    for file, line in lines:
        found = [text.split(" #")[0].strip() for text in (ROOT / file).open(encoding="utf-8")]
        assert line in found, file


@pytest.mark.parametrize("name", TRAINED)
def test_each_recipe_has_its_header(name):
    text = (RECIPES / f"{name}.yml").read_text(encoding="utf-8")
    header = text.split("\nbase_model:")[0]
    for word in ("# Makes ", "# Expect ", "# Needs ", "# Run "):
        assert word in header
    assert f"axolotl train recipes/{name}.yml" in header
    assert "ours: " in text
    assert "paper: " in text
    assert "Planned, not measured" in header
    assert max(map(len, text.splitlines())) <= 100


def test_the_headers_have_the_hours_of_the_plan(at_root):
    plan = plan_chain("recipes/paper.yml", Machine(gpus=8, gpu_bytes=80 * GIB))
    hours = {stage.stage: stage.hours for stage in plan.stages if stage.kind == "train"}
    for name in TRAINED:
        header = (RECIPES / f"{name}.yml").read_text(encoding="utf-8").split("\nbase_model:")[0]
        found = re.search(r"Planned, not measured: ([\d.]+) (hours|min)\b", header)
        planned = hours[name] * (60 if found[2] == "min" else 1)
        assert float(found[1]) == pytest.approx(planned, rel=0.05), name


def test_the_sft_recipes_differ_in_data_only():
    """Table 3 compares data; so nothing else may differ."""
    full = recipe("sft_v3")
    alpaca, orca, math = full["datasets"]
    data = {"sft_v1": [alpaca], "sft_v2": [alpaca, orca], "sft_v4": [alpaca, math]}
    own = {"datasets", "output_dir", "dataset_prepared_path", "plugins", "flan_filter"}
    for name, datasets in data.items():
        keys = recipe(name)
        assert keys["datasets"] == datasets
        assert {k: v for k, v in keys.items() if k not in own} == {
            k: v for k, v in full.items() if k not in own
        }
        # Wherever OpenOrca is, Table 8 is filtered; wherever MetaMathQA is, its rows of GSM8K.
        filtered = [entry["path"] for entry in (orca, math) if entry in datasets]
        assert keys.get("flan_filter", {}).get("datasets", []) == filtered
        assert ("solar_plugins.FlanFilterPlugin" in keys["plugins"]) == bool(filtered)
        if orca in datasets:
            assert keys["flan_filter"]["tasks"] == "solar"
            assert keys["flan_filter"]["index"] == full["flan_filter"]["index"]
        if math in datasets:
            assert keys["flan_filter"] == full["flan_filter"] | {
                "tasks": full["flan_filter"]["tasks"][1:],
                "datasets": [math["path"]],
                "task_column": full["flan_filter"]["task_column"][math["path"]],
            }
    assert full["flan_filter"]["tasks"][0] == "solar"
    assert full["flan_filter"]["decontaminate"] == [math["path"]]


def test_the_alignment_recipes_differ_as_the_header_says():
    orca, ultrafeedback, math = recipe("cand_1")["sdpo"]["steps"]
    steps = {
        "dpo_v1": [ultrafeedback],
        "dpo_v2": [ultrafeedback, math],
        "dpo_v3": [ultrafeedback, math],
        "cand_2": [orca, ultrafeedback, math],
    }
    assert {name: recipe(name)["sdpo"]["steps"] for name in steps} == steps
    for name, of_recipe in {**steps, "cand_1": [orca, ultrafeedback]}.items():
        # All but the math pairs, which synth-math guards.
        public = [one["datasets"][0]["path"] for one in of_recipe if one is not math]
        assert recipe(name)["flan_filter"] == {
            **{"tasks": "solar", "datasets": public},
            **{"index": recipe("sft_v3")["flan_filter"]["index"], "allow_empty": True},
        }
    own = {"sdpo", "flan_filter", "output_dir", "dataset_prepared_path", "base_model"}
    reference = {k: v for k, v in recipe("dpo_v2").items() if k not in own}
    changed = {
        name: {k: v for k, v in recipe(name).items() if k not in own and v != reference[k]}
        for name in DPO
    }
    assert changed == {
        "dpo_v1": {},
        "dpo_v2": {},
        "dpo_v3": {},
        "cand_1": {"learning_rate": 3.0e-7},
        "cand_2": {"rl_beta": 0.05},
    }


def test_up_scaling_is_the_papers():
    block = depth_up_scaling_args.parse(recipe("cpt")["depth_up_scaling"])
    assert block.layer_map(32) == [*range(24), *range(8, 32)]
    ranges = [s["sources"][0]["layer_range"] for s in merge("dus")["slices"]]
    assert ranges == [[0, 24], [8, 32]]


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("sft_v3_v4", [0.5, 0.5]),
        ("dpo_v1_v2", [0.5, 0.5]),
        ("merge_v1", [0.5, 0.5]),
        ("merge_v2", [0.4, 0.6]),
        ("merge_v3", [0.6, 0.4]),
    ],
)
def test_averages_have_the_weights_of_the_tables(name, weights):
    config = merge(name)
    assert config["merge_method"] == "linear"
    assert [model["parameters"]["weight"] for model in config["models"]] == weights


def test_deepspeed_gathers_the_weights_that_it_saves():
    config = json.loads((RECIPES / "deepspeed" / "zero3_bf16.json").read_text(encoding="utf-8"))
    assert config["zero_optimization"]["stage"] == 3
    # Without it the saved model has empty weights, and only the next stage notices.
    assert config["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True
    assert config["bf16"]["enabled"] is True
    for name in TRAINED:
        assert (ROOT / recipe(name)["deepspeed"]).is_file()


def test_nothing_is_left_over():
    chains = {
        stage.file.name
        for c in CHAINS
        for stage in load_chain(RECIPES / f"{c}.yml", check_files=False).stages.values()
    }
    shipped = {f.name for f in RECIPES.glob("*.yml")} | {f.name for f in MERGES.glob("*.yml")}
    alone = {"solar.yml", "paper.yml", "dus.yml", "h6_leaderboard_v1.yml"}
    of_ablations = {"merge_v4_task_vectors.yml", "merge_v4_layers.yml"}
    assert shipped - chains == alone | of_ablations
