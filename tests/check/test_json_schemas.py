"""The JSON schemas for editors: fresh, true of every shipped file, and false of mistakes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import jsonschema
import made_schemas
import planted_files
import pytest
import yaml
from click.testing import CliRunner
from planted_mistakes import MISTAKES, OLD, TYPE, TYPO

from solar_plugins import __all__ as EXPORTED
from solar_plugins.chain import chain_file
from solar_plugins.check import kind_of, read_tools, tool_schemas
from solar_plugins.cli import cli
from solar_plugins.recipes import registry
from solar_plugins.sdpo.args import STEP_SETTINGS

pytestmark = pytest.mark.slow

PLUGINS = [name for name in EXPORTED if name.endswith("Plugin")]
ROOT = Path(__file__).parents[2]
SCHEMA_OF = {"train": "recipe"}  # the others are called as their kind
RECIPES = sorted(
    path.relative_to(ROOT)
    for folder in ("recipes", "mergekit_configs")
    for path in (ROOT / folder).rglob("*.y*ml")
)


def _name(content: dict) -> str:
    kind = kind_of(content)
    return SCHEMA_OF.get(kind, kind)


@cache
def _validator(name: str) -> jsonschema.protocols.Validator:
    schema = json.loads(tool_schemas.read_schema(name))
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    return validator(schema)


def _faults(name: str, text: str) -> list[str]:
    return [error.message for error in _validator(name).iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("name", made_schemas.MADE)
def test_the_shipped_schemas_are_those_of_the_installed_tools(name):
    assert json.loads(tool_schemas.read_schema(name)) == json.loads(
        json.dumps(made_schemas.build(name))
    )


def test_the_schema_of_chains_has_the_keys_that_are_read():
    schema = json.loads(tool_schemas.read_schema("chain"))
    stages = schema["properties"]["stages"]
    assert set(schema["properties"]) == {*chain_file.CHAIN_KEYS, "extends"}
    assert set(stages["additionalProperties"]["properties"]) == set(chain_file.STAGE_KEYS)
    assert schema["then"]["required"] == list(chain_file.REQUIRED_KEYS)
    kinds = schema["then"]["properties"]["stages"]["additionalProperties"]["oneOf"]
    assert [one["required"] for one in kinds] == [[kind] for kind in registry.STAGE_KINDS]
    assert stages["propertyNames"]["pattern"] == f"^{chain_file.STAGE_NAME.pattern}$"


@pytest.mark.parametrize("path", RECIPES, ids=str)
def test_a_shipped_recipe_names_its_schema_and_follows_it(path):
    text = (ROOT / path).read_text(encoding="utf-8")
    name = _name(yaml.safe_load(text))
    assert text.splitlines()[0] == tool_schemas.line_for(ROOT / path, name)
    assert _faults(name, text) == []


@pytest.mark.parametrize("file", [name for name in planted_files.FILES if name.endswith(".yml")])
def test_the_good_files_follow_it(file):
    text = planted_files.FILES[file]
    assert _faults(_name(yaml.safe_load(text)), text) == []


# What only Axolotl knows and its schema does not say: names that it looks up late, and values
# that it takes as any text.
NOT_IN_AXOLOTLS_SCHEMA = {
    "optimizer", "scheduler", "dataset type", "preference type", "chat template", "data file",
    "deepspeed file", "model folder", "plugin of ours", "plugin's package", "pathh",
    "field_message", "field_outputs", "decimal comma", "number that is a text",
    "the same key twice", "attention", "adapter", "target module",
    "evaluation strategy", "class of the model", "PyTorch's optimizer",
    "special token's key",
}  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, mistake in MISTAKES.items()
        if mistake.group in (TYPO, TYPE, OLD) and name not in NOT_IN_AXOLOTLS_SCHEMA
    ],
)
def test_an_editor_would_underline_it(name):
    mistake = MISTAKES[name]
    good = planted_files.FILES[mistake.file]
    schema = _name(yaml.safe_load(good))
    spoiled = good.replace(mistake.old, mistake.new, 1)
    if mistake.group == OLD:  # struck through rather than underlined
        properties = json.loads(tool_schemas.read_schema(schema))["properties"]
        assert mistake.path.startswith("fsdp_config") or properties[mistake.path]["deprecated"]
    else:
        assert _faults(schema, spoiled) != []


def test_a_strangers_plugin_may_bring_keys():
    text = planted_files.FILES["sft.yml"]
    assert _faults("recipe", text + "strange_key: 3\n") != []
    assert _faults("recipe", text + "strange_key: 3\nplugins: [strange.Plugin]\n") == []


def test_an_editor_offers_our_plugins_and_the_keys_of_a_step():
    schema = json.loads(tool_schemas.read_schema("recipe"))
    (plugins, _) = schema["properties"]["plugins"]["anyOf"]
    assert {f"solar_plugins.{name}" for name in PLUGINS} < set(plugins["items"]["anyOf"][0]["enum"])
    steps = schema["$defs"]["StepwiseDPOConfig"]["properties"]["steps"]["items"]
    assert set(steps["properties"]) == {"datasets", "reference", "policy", *STEP_SETTINGS}
    own = {key for key, value in steps["properties"].items() if "/$defs/" not in value["$ref"]}
    assert own <= set(schema["properties"])


def test_the_command(monkeypatch):
    monkeypatch.chdir(ROOT)
    printed = CliRunner().invoke(cli, ["schema", "chain"])
    assert json.loads(printed.stdout) == json.loads(tool_schemas.read_schema("chain"))
    line = CliRunner().invoke(cli, ["schema", "merge", "--line-for", "mergekit_configs/dus.yml"])
    first = (ROOT / "mergekit_configs" / "dus.yml").read_text(encoding="utf-8").splitlines()[0]
    assert line.stdout == f"{first}\n"


def test_another_version_is_read_once(tmp_path, monkeypatch):
    facts = tool_schemas.FACTS / "transformers.json"
    (tmp_path / facts.name).write_text(json.dumps({"version": "0"}))
    monkeypatch.setattr(tool_schemas, "FACTS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # Without `functools.cache`, as in a new process.
    first = tool_schemas.known.__wrapped__("transformers")
    assert first == json.loads(facts.read_text(encoding="utf-8"))
    (kept,) = tmp_path.glob("cache/solar_plugins/transformers-*.json")
    monkeypatch.setattr(read_tools, "READERS", {})
    assert tool_schemas.known.__wrapped__("transformers") == first
    kept.write_text("{")
    with pytest.raises(KeyError):  # cut short: it would be read anew
        tool_schemas.known.__wrapped__("transformers")
