"""The recipes against Axolotl's own schema, as on a node of 8 x H100."""

from __future__ import annotations

import copy
import logging

import pytest
from recipe_files import H100_NODE, ROOT, SFT, TRAINED, lost, recipe

from solar_plugins.errors import SolarError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", TRAINED)
def test_axolotl_accepts_every_key_and_value(name, tiny_base, monkeypatch, caplog):
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.config import prepare_plugins, validate_config
    from axolotl.utils.dict import DictDefault

    monkeypatch.chdir(ROOT)
    written = recipe(name)
    if name == "cpt":
        written["base_model"] = str(tiny_base)  # its plugin reads the base's layers
    # It refuses the missing stage before, which is asserted below; its keys go with it.
    for entry in written.get("pretraining_dataset", ()):
        del entry["revision"]
    written["plugins"].remove("solar_plugins.StagePlugin")
    assert written.pop("global_batch_size") % (8 * written["micro_batch_size"]) == 0
    PluginManager.get_instance().plugins.clear()
    cfg = DictDefault(copy.deepcopy(written))
    with caplog.at_level(logging.WARNING):
        prepare_plugins(cfg)
        kept = validate_config(
            cfg, capabilities=H100_NODE, env_capabilities={"torch_version": "2.13.0"}
        )
    # Axolotl drops what it does not know without a word.
    assert list(lost(written, kept)) == []
    assert [r.getMessage() for r in caplog.records if "deprecat" in r.getMessage().lower()] == []


def test_no_key_is_one_that_axolotl_deprecates():
    from axolotl.utils.schemas.config import AxolotlInputConfig

    fields = AxolotlInputConfig.model_fields
    for name in TRAINED:
        assert [key for key in recipe(name) if key in fields and fields[key].deprecated] == []


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "cpt"])
def test_a_missing_stage_names_the_command_that_makes_it(name, monkeypatch):
    from axolotl.cli.config import load_cfg
    from axolotl.integrations.base import PluginManager

    monkeypatch.chdir(ROOT)
    PluginManager.get_instance().plugins.clear()
    base = recipe(name)["base_model"].removeprefix("./")
    made_by = (
        "mergekit-yaml mergekit_configs/sft_v3_v4.yml"
        if base.endswith("sft_v3_v4")
        else f"axolotl train recipes/{base.rsplit('/', 1)[1]}.yml"
    )
    with pytest.raises(SolarError) as error:
        load_cfg(f"recipes/{name}.yml")
    assert str(error.value).startswith(f"base_model: ./{base} is not there. Make it first: ")
    assert made_by in str(error.value)


def test_the_schema_test_would_notice_a_typo():
    """`lost` is what finds unknown keys; a filter that finds nothing proves nothing."""
    keys = recipe(SFT[0])
    assert list(lost(keys | {"learning_rat": 1}, keys)) == ["learning_rat"]
    entry = copy.deepcopy(keys)
    entry["datasets"][0]["splitt"] = "x"
    assert list(lost(entry, keys)) == ["datasets[0].splitt"]
