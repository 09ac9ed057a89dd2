"""What Axolotl's own validators say, in one line per place; and that the shipped facts are true."""

from __future__ import annotations

import json

import pytest
from good_files import FILES, spoil

from solar_plugins.check import check_files, read_tools
from solar_plugins.check.tool_schemas import known

pytestmark = pytest.mark.slow

RECIPES = ("cpt.yml", "sft.yml", "dpo.yml")

REFUSED = {
    "text for a number": (
        "sft.yml", "micro_batch_size: 1", "micro_batch_size: one",
        "sft.yml:14:1: micro_batch_size: 'one' found, input should be a valid integer.",
    ),
    "list for a number": (
        "sft.yml", "num_epochs: 1", "num_epochs: [1]",
        "sft.yml:16:1: num_epochs: [1] found, input should be a valid number.",
    ),
    "text for true": (
        "cpt.yml", "sample_packing: true", "sample_packing: sure",
        "cpt.yml:11:1: sample_packing: 'sure' found, input should be a valid boolean.",
    ),
    "chat template that is not there": (
        "sft.yml", "saves_per_epoch: 1", "chat_template: alpacaa",
        "sft.yml:25:1: chat_template: Axolotl has no chat template 'alpacaa'. Did you mean "
        "'alpaca'?",
    ),
    "quantised without an adapter": (
        "sft.yml", "saves_per_epoch: 1", "load_in_4bit: true",
        "sft.yml: refused by Axolotl: load_in_8bit and load_in_4bit are not supported without "
        "setting an adapter for training.If you want to full finetune, please turn off "
        "load_in_8bit and load_in_4bit.",
    ),
    "fault in a block of ours, said once": (
        "cpt.yml", "  remove_layers: 8", "  layout: ovrlap\n  remove_layers: 8",
        "cpt.yml:5:3: depth_up_scaling.layout: 'ovrlap' is unknown. Write one of: overlap, "
        "interleave, repeat. Did you mean 'overlap'?",
    ),
    "plugin whose import fails": (
        "sft.yml", "plugins:\n", "plugins:\n  - broken.Plugin\n",
        "sft.yml:3:5: plugins[0]: broken.Plugin does not import (No module named "
        "'surely_not_installed'); Axolotl would train on without it.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", REFUSED)
def test_what_axolotl_refuses(good_chain, monkeypatch, mistake):
    (good_chain / "broken.py").write_text("import surely_not_installed\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(good_chain))
    file, old, new, text = REFUSED[mistake]
    spoil(file, old, new)
    assert [f.text for f in check_files([file])] == [text]


def test_good_recipes_pass(good_chain):
    names = [name for name in FILES if name.endswith(".yml")]
    assert [f.text for f in check_files(names)] == []


def test_a_number_written_as_a_text_is_fine_where_axolotl_turns_it_into_one(good_chain):
    spoil("sft.yml", "learning_rate: 2.0e-5", "learning_rate: 2e-5")
    assert list(check_files(["sft.yml"])) == []


def test_keys_of_a_strangers_plugin_are_known(good_chain, monkeypatch):
    (good_chain / "strange_plugin.py").write_text(
        "from axolotl.integrations.base import BasePlugin\n"
        "from pydantic import BaseModel\n"
        "class StrangeArgs(BaseModel):\n"
        "    strange_key: int | None = None\n"
        "class Plugin(BasePlugin):\n"
        "    def get_input_args(self):\n"
        "        return 'strange_plugin.StrangeArgs'\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(good_chain))
    spoil("sft.yml", "plugins:\n", "plugins:\n  - strange_plugin.Plugin\n")
    spoil("sft.yml", "saves_per_epoch: 1", "strange_key: 3\nstrange_kez: 3")
    (finding,) = check_files(["sft.yml"])
    assert finding.path == "strange_kez"
    assert "Did you mean 'strange_key'?" in finding.message


def test_recipes_checked_together_do_not_lend_each_other_plugins(good_chain):
    """Axolotl's plugin manager is one per process; `depth_up_scaling` must not leak to sft.yml."""
    spoil("sft.yml", "num_epochs: 1", "num_epochs: 1\ndepth_up_scaling: {remove_layers: 8}")
    found = [f.path for f in check_files(["cpt.yml", "sft.yml"])]
    assert found == ["depth_up_scaling"]


@pytest.mark.parametrize("tool", ["axolotl", "mergekit", "lm_eval"])
def test_the_shipped_facts_are_those_of_the_installed_tool(tool):
    live = json.loads(json.dumps(read_tools.READERS[tool]()))
    assert known(tool) == live
