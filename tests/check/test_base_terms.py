"""What `solar check --base-model` says of licence and access, before anything is fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hub_server import hub
from huggingface_hub import constants

from solar_plugins.check import check_files
from solar_plugins.models import licence

pytestmark = pytest.mark.slow

CHAIN = """\
name: small
base_model: some/base
output_dir: ./outputs/small
stages:
  cpt: {train: cpt.yml}
"""
CPT = """\
base_model: some/base
datasets: [{path: some/data, type: completion}]
output_dir: ./outputs/small/cpt
"""


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    Path("chain.yml").write_text(CHAIN)
    Path("cpt.yml").write_text(CPT)
    return tmp_path


@pytest.fixture
def online(files, monkeypatch):
    with hub() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield address


def told(base, file="chain.yml"):
    found = check_files([file], with_axolotl=False, base_model=base)
    return [f for f in found if f.path == "base_model"]


def local(front_matter):
    Path("base").mkdir(exist_ok=True)
    Path("base/tokenizer.json").write_text("{}")
    Path("base/config.json").write_text(json.dumps({"model_type": "llama", "num_hidden_layers": 8}))
    if front_matter is not None:
        Path("base/README.md").write_text(f"---\n{front_matter}\n---\n# Base\n")
    return "./base"


@pytest.mark.parametrize(
    ("front_matter", "said"),
    [
        ("license: apache-2.0", []),
        (None, ["./base has no card (README.md), so its licence is not known."]),
        ("tags: [a]", ["Its card names no licence: ask its authors"]),
        ("license: cc-by-nc-4.0", ["Its licence, cc-by-nc-4.0, does not allow commercial use"]),
        ("license: [mit, cc-by-nc-sa-4.0]", ["does not allow commercial use"]),
        (
            "license: cc-by-nc-nd-4.0",
            ["does not allow commercial use", "does not allow to pass on"],
        ),
        ("license: llama2", []),
        ("license: llama3.1", ["to begin with 'Llama'; 'small' does not."]),
        ("license: llama3", ["to begin with 'Llama 3'; 'small' does not."]),
        (
            "license: other\nlicense_name: qwen-research\nlicense_link: https://a.b/LICENSE",
            [
                "Its licence is other (qwen-research): read it at https://a.b/LICENSE.",
                "other (qwen-research), does not allow commercial use",
            ],
        ),
        ("license: [", ["Its card names no licence"]),
        ("- license", ["Its card names no licence"]),
    ],
)
def test_the_licence_of_a_folder(files, front_matter, said):
    found = told(local(front_matter))
    assert all(finding.is_note for finding in found)
    assert len(found) == len(said), [finding.message for finding in found]
    for finding, text in zip(found, sorted(said), strict=True):
        assert text in finding.message


def test_a_name_that_the_licence_wants_is_fine(files):
    base = local("license: llama3.1")
    Path("chain.yml").write_text(CHAIN.replace("name: small", "name: Llama-3.1-small"))
    assert told(base) == []
    (found,) = told(base, "cpt.yml")  # a recipe alone has no name
    assert found.message.endswith("to begin with 'Llama'.")


def test_the_base_that_a_chain_names_needs_no_card_but_its_card_is_read(files):
    Path("chain.yml").write_text(CHAIN.replace("some/base", "./base"))
    local(None)
    assert told(None) == []
    local("license: cc-by-nc-4.0")
    (found,) = told(None)
    assert found.is_note
    assert found.line == 2


def test_offline_it_says_what_is_not_known(files, says):
    (found,) = told("Owner/Model-7B")
    assert found.is_note
    says(found.message)
    in_cache(files, "Owner/Model-7B", "config.json", '{"model_type": "llama"}')
    (found,) = told("Owner/Model-7B")
    assert found.message.startswith("The card of Owner/Model-7B is not on this machine, and https")
    in_cache(files, "Owner/Model-7B", "README.md", "---\nlicense: mit\n---\n")
    assert told("Owner/Model-7B") == []


def in_cache(files, model, name, text):
    folder = files / "cache" / f"models--{model.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True, exist_ok=True)
    (snapshot / name).write_text(text)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / "main").write_text("0" * 40)


@pytest.mark.parametrize(
    ("base", "is_note", "said"),
    [
        ("open/model", [True], ["not on this machine. Not known: depth"]),
        ("open/no-licence", [True, True], ["not on this machine", "Its card names no licence"]),
        ("gated/mine", [True, True], ["not on this machine", "to begin with 'Llama'"]),
        (
            "gated/model",
            [False, True],
            ["gated/model is gated", "at https://huggingface.co/gated/model/blob/main/LICENSE"],
        ),
        (
            "no/model",
            [False],
            ["is not there, or is private. Correct the name, or `hf auth login`"],
        ),
        ("open/model@v9", [False], ["has no revision 'v9'."]),
        ("broken/model", [True], ["did not answer (HfHubHTTPError). Not known: depth"]),
        ("not a name", [False], ["valid Hub id (owner/name)"]),
    ],
)
def test_the_hub_is_asked_where_it_can_be(online, base, is_note, said):
    found = told(base)
    assert len(found) == len(said), [finding.message for finding in found]
    for finding, text, note in zip(found, said, is_note, strict=True):
        assert text in finding.message
        assert finding.is_note is note
        assert "\n" not in finding.message
    assert {finding.path for finding in told(base, "cpt.yml")} == {"base_model"}


def test_a_base_that_is_whole_here_is_not_asked_for(online, files, monkeypatch):
    in_cache(files, "no/model", "config.json", '{"model_type": "llama"}')
    in_cache(files, "no/model", "README.md", "---\nlicense: mit\n---\n")
    assert told("no/model") == []


def test_links_of_a_card_on_the_hub_are_made_whole():
    card = {"license": "other", "license_link": "LICENSE", "tags": ["a"]}
    assert licence.of_card(card, "a/b") == {
        "license": "other",
        "license_link": "https://huggingface.co/a/b/blob/main/LICENSE",
    }
    assert licence.of_card(card)["license_link"] == "LICENSE"
