"""The plugin inside Axolotl's own loading, tokenising and training."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from orca_twin import orca_rows, stays

from solar_plugins import run_record
from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow


def recipe(tiny_model: Path, tmp_path: Path, orca_file: Path, **changes) -> dict:
    keys = {
        "base_model": str(tiny_model),
        "plugins": ["solar_plugins.FlanFilterPlugin"],
        "flan_filter": {"tasks": "solar", "datasets": [str(orca_file)]},
        "datasets": [{"path": str(orca_file), "type": "alpaca_w_system.load_open_orca"}],
        "special_tokens": {"pad_token": "</s>"},
        "sequence_len": 512,
        "output_dir": str(tmp_path / "out"),
        "dataset_prepared_path": str(tmp_path / "prepared"),
        "shuffle_merged_datasets": False,
        "micro_batch_size": 2,
        "gradient_accumulation_steps": 1,
        "max_steps": 1,
        "learning_rate": 1e-3,
        "optimizer": "adamw_torch",
        "lr_scheduler": "constant",
        "bf16": False,
        "tf32": False,
        "save_strategy": "no",
        "use_tensorboard": False,
    }
    return {key: value for key, value in {**keys, **changes}.items() if value is not None}


def configured(keys: dict, tmp_path: Path):
    """`keys` as Axolotl's configuration, after this recipe's plugins (and no others) registered."""
    from axolotl.cli.config import load_cfg
    from axolotl.integrations.base import PluginManager

    PluginManager.get_instance().plugins.clear()
    file = tmp_path / "recipe.yml"
    file.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return load_cfg(str(file))


def tokenised(keys: dict, tmp_path: Path) -> tuple[list[str], str]:
    """The training texts and the key under which Axolotl keeps the tokenised data."""
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.common.datasets import load_datasets
    from axolotl.integrations.base import PluginManager
    from axolotl.loaders import load_tokenizer

    cfg = configured(keys, tmp_path)
    from axolotl.utils.data.shared import generate_dataset_hash_from_config  # as plugins have it

    assert PluginManager.get_instance().load_datasets(cfg, preprocess=False) is None
    tokenizer = load_tokenizer(cfg)
    key = generate_dataset_hash_from_config(cfg, cfg.datasets, tokenizer.name_or_path)
    rows = load_datasets(cfg=cfg, cli_args=TrainerCliArgs()).train_dataset
    assert (Path(cfg.dataset_prepared_path) / key).is_dir()
    return [tokenizer.decode(ids) for ids in rows["input_ids"]], key


def questions_in(texts: list[str]) -> list[str]:
    return [row["question"] for row in orca_rows() if any(row["question"] in t for t in texts)]


def test_planted_rows_are_not_tokenised_and_their_neighbours_are(tiny_model, tmp_path, orca_file):
    rows = orca_rows()
    off = recipe(tiny_model, tmp_path, orca_file, plugins=None, flan_filter=None)
    on = recipe(tiny_model, tmp_path, orca_file)
    wider = copy.deepcopy(on)
    wider["flan_filter"]["tasks"] = ["solar", "task026_drop_question_generation"]

    everything, key_off = tokenised(off, tmp_path)
    filtered, key_on = tokenised(on, tmp_path)
    fewer, key_wider = tokenised(wider, tmp_path)

    assert questions_in(everything) == [row["question"] for row in rows]
    assert questions_in(filtered) == [row["question"] for row in rows if stays(row)]
    assert len(filtered) == 18
    assert len(fewer) == 15
    # The filter is part of what Axolotl's cache sees: neither run above reused another's tokens.
    assert len({key_off, key_on, key_wider}) == 3
    assert tokenised(on, tmp_path)[1] == key_on

    # The same path with other rows is another copy.
    more = orca_file.read_text(encoding="utf-8") + json.dumps(rows[1]) + "\n"
    orca_file.write_text(more, encoding="utf-8")
    grown, key_grown = tokenised(on, tmp_path)
    assert len(grown) == 19
    assert key_grown != key_on


def test_a_training_run_leaves_its_audit_and_proof(tiny_model, tmp_path, orca_file):
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.train import do_train

    cfg = configured(recipe(tiny_model, tmp_path, orca_file), tmp_path)
    do_train(cfg, TrainerCliArgs())

    out = tmp_path / "out"
    left = run_record.read(out, "flan_filter")
    assert {key: left[key] for key in ("rows_in", "rows_removed", "rows_out")} == {
        "rows_in": 33,
        "rows_removed": 15,
        "rows_out": 18,
    }
    audit = json.loads((out / "solar" / "flan_filter_audit.json").read_text(encoding="utf-8"))
    (dataset,) = audit["datasets"]
    assert dataset["removed"]["ai2_arc/ARC-Challenge:1.0.0"] == {"name": 3}
    assert dataset["spellings"]["ai2_arc/ARC-Challenge:1.0.0"] == {"ai2_arcARCChallenge:1.0.0": 3}
    assert dataset["near_misses"] == ["hellaswag:1.0.0"]
    assert dataset["rows_unnamed"] == 6
    assert "trophy" in dataset["examples"]["winogrande:1.1.0"]["name"][0]["text"]
    assert "15 removed" in (out / "solar" / "flan_filter_audit.md").read_text(encoding="utf-8")
    assert (out / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (
            {"taks": "solar", "datasets": ["PATH"]},
            "flan_filter.taks: unknown key. Known: tasks, datasets, task_column, index, "
            "prompt_column, decontaminate, allow_empty. Did you mean 'tasks'?",
        ),
        (
            {"datasets": ["Open-Orca/OpenOrka"]},
            "flan_filter.datasets[0]: no entry of datasets, test_datasets or sdpo.steps has the "
            "path 'Open-Orca/OpenOrka'. Paths: PATH.",
        ),
        (
            {"tasks": "solar"},
            "flan_filter.datasets: missing. Write the path of each entry of datasets to filter, "
            "e.g. [Open-Orca/OpenOrca].",
        ),
        (
            None,
            "flan_filter: None is not a block of keys. The recipe names "
            "solar_plugins.FlanFilterPlugin: write flan_filter: {tasks: solar, datasets: [PATH]} "
            "with the path of an entry of datasets or of a step of sdpo.",
        ),
    ],
)
def test_a_wrong_block_stops_before_anything_is_loaded(
    tiny_model, tmp_path, orca_file, block, line
):
    named = json.loads(json.dumps(block).replace("PATH", str(orca_file)))
    keys = recipe(tiny_model, tmp_path, orca_file, flan_filter=named)
    with pytest.raises(SolarError) as error:
        configured(keys, tmp_path)
    expected = line if block is None else line.replace("PATH", str(orca_file))
    assert str(error.value) == expected


def test_a_dataset_without_task_names_is_refused(tiny_model, tmp_path, orca_file):
    nameless = [{k: v for k, v in row.items() if k != "task_name"} for row in orca_rows()]
    orca_file.write_text("".join(json.dumps(row) + "\n" for row in nameless), encoding="utf-8")
    with pytest.raises(SolarError, match="names no task per row") as error:
        tokenised(recipe(tiny_model, tmp_path, orca_file), tmp_path)
    assert "id, system_prompt, question, response" in str(error.value)


def test_two_datasets_each_with_its_own_column(tiny_model, tmp_path, orca_file):
    """What recipes/sft_v3.yml does: FLAN names in one, MetaMathQA's `type` in the other."""
    math = tmp_path / "math.jsonl"
    rows = [
        {"query": f"{kind} question", "response": "#### 1", "type": kind}
        for kind in ("MATH_AnsAug", "GSM_AnsAug", "MATH_SV", "GSM_SV")
    ]
    math.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    keys = recipe(
        tiny_model,
        tmp_path,
        orca_file,
        datasets=[
            {"path": str(orca_file), "type": "alpaca_w_system.load_open_orca"},
            {
                "path": str(math),
                "type": {
                    "field_instruction": "query",
                    "field_output": "response",
                    "format": "{instruction}\n",
                    "no_input_format": "{instruction}\n",
                },
            },
        ],
        flan_filter={
            "tasks": ["solar", "GSM_AnsAug", "GSM_SV"],
            "datasets": [str(orca_file), str(math)],
            "task_column": {str(math): "type"},
        },
    )
    texts, _ = tokenised(keys, tmp_path)
    assert len(texts) == 20
    assert [text for text in texts if "GSM_" in text] == []
    assert sum("MATH_" in text for text in texts) == 2


def test_held_out_data_are_filtered_too(tiny_model, tmp_path):
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.common.datasets import load_datasets
    from axolotl.integrations.base import PluginManager

    folder = tmp_path / "orca"
    folder.mkdir()
    for split, rounds in (("train", 3), ("test", 1)):
        lines = "".join(json.dumps(row) + "\n" for row in orca_rows(rounds))
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    # No split is named: Axolotl takes `train` for the one and `test` for the other.
    keys = recipe(tiny_model, tmp_path, folder)
    cfg = configured(keys | {"test_datasets": keys["datasets"]}, tmp_path)
    PluginManager.get_instance().load_datasets(cfg, preprocess=False)
    data = load_datasets(cfg=cfg, cli_args=TrainerCliArgs())
    assert (len(data.train_dataset), len(data.eval_dataset)) == (18, 6)
