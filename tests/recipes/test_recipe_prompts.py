"""What the model is shown and what it is trained on, by the recipes' own dataset entries.

The twins have the public datasets' columns; only paths are changed, and what needs a GPU.
"""

from __future__ import annotations

import pytest
from recipe_files import ROOT, configured, recipe, tokenised_pairs
from recipe_twins import (
    alpaca_gpt4,
    fineweb_edu,
    math_alignment,
    metamath,
    openorca,
    orca_dpo_pairs,
    ultrafeedback_cleaned,
)

from solar_plugins import run_record
from solar_plugins.recipes.named_data import renamed

pytestmark = pytest.mark.slow


def sft_text(system: str, user: str, answer: str) -> tuple[str, str]:
    """The whole text and the part that is trained."""
    head = f"### System:\n{system}\n\n" if system else ""
    return f"<s>{head}### User:\n{user}\n\n### Assistant:\n{answer}</s>", f"{answer}</s>"


def test_sft_v3_shows_and_trains_what_it_should(tiny_base, twins, tmp_path):
    """sft_v3 has all the entries that sft_v1 to sft_v4 have (test_recipe_headers)."""
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.common.datasets import load_datasets
    from axolotl.integrations.base import PluginManager
    from axolotl.loaders import load_tokenizer

    keys = renamed(recipe("sft_v3"), twins) | {"base_model": str(tiny_base)}
    cfg = configured(keys | {"sample_packing": False}, tmp_path)
    PluginManager.get_instance().load_datasets(cfg, preprocess=False)
    rows = load_datasets(cfg=cfg, cli_args=TrainerCliArgs()).train_dataset
    tokenizer = load_tokenizer(cfg)
    seen = {}
    for row in rows:
        trained = [
            i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label >= 0
        ]
        assert [label for label in row["labels"] if label >= 0] == trained
        seen[tokenizer.decode(row["input_ids"])] = tokenizer.decode(trained)

    alpaca = dict(
        sft_text("", "\n\n".join(filter(None, [r["instruction"], r["input"]])), r["output"])
        for r in alpaca_gpt4()
    )
    orca = dict(sft_text(r["system_prompt"], r["question"], r["response"]) for r in openorca())
    math = dict(sft_text("", r["query"], r["response"]) for r in metamath())
    assert {text: seen.get(text) for text in alpaca} == alpaca
    rest = {text: trained for text, trained in seen.items() if text not in alpaca}
    assert rest.items() <= (orca | math).items()
    # Drawn: 2 of 82 rows of OpenOrca, and a third of MetaMathQA's 24 rows that are not GSM8K's.
    assert len(set(rest) & set(orca)) == 2
    drawn = set(rest) & set(math)
    assert len(drawn) == 8
    assert [text for text in drawn if "GSM_" in text] == []
    assert tokenizer.chat_template == (ROOT / recipe("sft_v3")["chat_template_jinja"]).read_text(
        encoding="utf-8"
    )


def test_the_filter_is_what_keeps_gsm8k_out(tiny_base, twins, tmp_path):
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.common.datasets import load_datasets
    from axolotl.integrations.base import PluginManager
    from axolotl.loaders import load_tokenizer

    texts = {}
    for name, filtered in (("off", False), ("on", True)):
        keys = renamed(recipe("sft_v4"), twins) | {"base_model": str(tiny_base)}
        keys["datasets"] = [{k: v for k, v in keys["datasets"][1].items() if "shard" not in k}]
        if not filtered:
            del keys["flan_filter"]
            keys["plugins"] = []
        folder = tmp_path / name
        folder.mkdir()
        cfg = configured(keys | {"sample_packing": False}, folder)
        if filtered:
            PluginManager.get_instance().load_datasets(cfg, preprocess=False)
        rows = load_datasets(cfg=cfg, cli_args=TrainerCliArgs()).train_dataset
        texts[name] = {load_tokenizer(cfg).decode(ids) for ids in rows["input_ids"]}
    assert len(texts["off"]) == 49
    assert {t for t in texts["off"] if "GSM_" not in t and "Anna paints" not in t} == texts["on"]
    assert len(texts["on"]) == 24


def preference_text(system: str, user: str) -> str:
    head = f"### System:\n{system}\n\n" if system else ""
    return f"<s>{head}### User:\n{user}\n\n### Assistant:\n"


PAIRS = {
    0: [
        (preference_text(r["system"], r["question"]), r["chosen"], r["rejected"])
        for r in orca_dpo_pairs()
    ],
    1: [
        (preference_text("", r["prompt"]), r["chosen"][1]["content"], r["rejected"][1]["content"])
        for r in ultrafeedback_cleaned()
    ],
    2: [(preference_text("", r["prompt"]), r["chosen"], r["rejected"]) for r in math_alignment()],
}


@pytest.mark.parametrize("step", PAIRS)
def test_each_step_of_cand_1_compares_what_it_should(step, tiny_base, twins, tmp_path):
    """cand_1 has all the steps that the other alignment recipes have (test_recipe_headers)."""
    from axolotl.integrations.base import PluginManager
    from axolotl.loaders import load_tokenizer

    from solar_plugins.sdpo import args
    from solar_plugins.sdpo.in_axolotl import step_data

    keys = renamed(recipe("cand_1"), twins) | {"base_model": str(tiny_base), "plugins": []}
    planned = args.parse(keys.pop("sdpo")).steps[step]
    if (path := planned.datasets[0]["path"]) in keys["flan_filter"]["datasets"]:
        keys["plugins"] = ["solar_plugins.FlanFilterPlugin"]
        keys["flan_filter"]["datasets"] = [path]
    cfg = configured(keys | {"datasets": planned.datasets}, tmp_path)
    PluginManager.get_instance().load_datasets(cfg, preprocess=False)
    tokenizer = load_tokenizer(cfg)
    rows = tokenised_pairs(step_data.load(cfg, planned).train_dataset, tokenizer)
    seen = [
        tuple(tokenizer.decode(row[f"{part}_ids"]) for part in ("prompt", "chosen", "rejected"))
        for row in rows
    ]
    # Whole texts are compared: no answer stands in a prompt, no system message is lost, and both
    # answers end with the end of the sequence, once.
    assert sorted(seen) == sorted((p, f"{c}</s>", f"{r}</s>") for p, c, r in PAIRS[step])


def cpt_recipe(tiny_base, twins) -> dict:
    return renamed(recipe("cpt"), twins) | {
        "base_model": str(tiny_base),
        "max_steps": 1,
        "global_batch_size": 1,
        "micro_batch_size": 1,
        "sequence_len": 1024,
    }


def test_cpt_trains_web_documents_with_their_ends(tiny_base, twins, tmp_path):
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.common.datasets import load_datasets
    from axolotl.loaders import load_tokenizer

    cfg = configured(cpt_recipe(tiny_base, twins), tmp_path)
    tokenizer = load_tokenizer(cfg)
    rows = load_datasets(cfg=cfg, cli_args=TrainerCliArgs()).train_dataset
    trained = [
        tokenizer.decode([int(label) for label in row["labels"].flatten() if label >= 0])
        for row in rows
    ]
    documents = {f"<s>{row['text']}</s>" for row in fineweb_edu()}
    assert 0 < len(trained) < len(documents)  # several in one sequence
    # Each document is trained from its beginning to the end of the sequence.
    assert {f"{part}</s>" for row in trained for part in row.split("</s>")[:-1]} == documents


def test_cpt_up_scales_the_base(tiny_base, twins, tmp_path):
    from axolotl.cli.args import TrainerCliArgs
    from axolotl.cli.train import do_train
    from transformers import AutoConfig

    keys = cpt_recipe(tiny_base, twins) | {"save_strategy": "no", "warmup_steps": 0}
    # Packing needs FlashAttention.
    keys |= {"sample_packing": False, "pretrain_multipack_attn": None}
    del keys["save_steps"]
    do_train(configured(keys, tmp_path), TrainerCliArgs())
    assert AutoConfig.from_pretrained(tmp_path / "out").num_hidden_layers == 48
    assert run_record.read(tmp_path / "out", "depth_up_scaling") is not None
