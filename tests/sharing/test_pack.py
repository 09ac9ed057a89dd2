"""What `solar pack` takes, what it leaves, and that no secret gets into it."""

from __future__ import annotations

import html
import json
import os
import random
import re
import shutil
import string
import subprocess
import urllib.parse
from pathlib import Path

import pytest
import shared_project
from click.testing import CliRunner, Result
from packs import LOCK
from shared_project import SECRETS

from solar_plugins.cli import cli
from solar_plugins.sharing import redact
from solar_plugins.sharing.trust import archive


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "project"
    shared_project.write_project(place)
    monkeypatch.chdir(place)
    return place


def solar(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


def pack(*options: str) -> dict[str, bytes]:
    """The files of the pack of the project in the working directory."""
    result = solar("pack", "recipes/shared.yml", "--out", "out.zip", *options)
    assert result.exit_code == 0, result.output
    return archive.from_bytes(Path("out.zip").read_bytes(), "out.zip")


def test_it_holds_the_chain_and_all_that_its_stages_name(folder: Path):
    (folder / "recipes/unrelated.yml").write_text("a: 1\n")
    assert set(pack()) == {
        LOCK,
        *("recipes/shared.yml", "recipes/sft.yml", "recipes/mix.yml", "recipes/h6.yml"),
        *("recipes/chat.jinja", "recipes/zero3.json"),
    }


def test_the_same_content_gives_the_same_bytes_in_another_folder(folder: Path, tmp_path: Path):
    pack()
    first = Path("out.zip").read_bytes()
    other = tmp_path / "another" / "place"
    shutil.copytree(folder, other)
    for file in other.rglob("*.yml"):
        os.utime(file, (0, 0))
        file.chmod(0o600)
    os.chdir(other)
    os.unlink("out.zip")
    pack()
    assert Path("out.zip").read_bytes() == first
    with (other / "recipes/mix.yml").open("a") as file:
        file.write("# more\n")
    pack()
    assert Path("out.zip").read_bytes() != first


def test_the_lock_has_models_datasets_versions_and_batches(folder: Path, monkeypatch):
    shared_project.write_run(folder)
    cached = folder / "cache/models--owner--base/refs"
    cached.mkdir(parents=True)
    (cached / "main").write_text("c0ffee" * 6 + "c0ff")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "cache"))
    text = (folder / "recipes/sft.yml").read_text()
    text = text.replace("split: train", f"split: train\n    revision: {'ab' * 20}")
    (folder / "recipes/sft.yml").write_text(text)
    lock = json.loads(pack()[LOCK])
    assert lock["models"]["hub"]["owner/base"]["revision"] == "c0ffee" * 6 + "c0ff"
    assert lock["datasets"]["hub"]["owner/data"] == {
        "source": "hub",
        "revision": "ab" * 20,
    }
    assert lock["versions"]["axolotl"] == "0.19.0"
    assert lock["stages"]["sft"]["world_size"] == 4
    assert lock["stages"]["sft"]["effective_batch"] == 4
    assert lock["stages"]["mix"]["outputs"] == {"model.safetensors": "ab" * 32}
    assert lock["tiny"] is None


def test_a_local_dataset_and_model_are_locked_by_digest_and_not_packed(folder: Path):
    (folder / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    (folder / "base").mkdir()
    (folder / "base/model.safetensors").write_bytes(b"weights")
    (folder / "base/config.json").write_text("{}")
    for name, old, new in (
        ("sft.yml", "owner/data", "./rows.jsonl"),
        ("shared.yml", "owner/base", "./base"),
    ):
        path = folder / "recipes" / name
        path.write_text(path.read_text().replace(old, new))
    files = pack()
    lock = json.loads(files[LOCK])
    assert not any("rows" in name or name.startswith("base") for name in files)
    digest = lock["models"]["local"]["base"]["sha256"]
    assert len(digest) == 64
    assert len(lock["datasets"]["local"]["rows.jsonl"]["sha256"]) == 64
    (folder / "base/model.safetensors").write_bytes(b"Weights")
    assert json.loads(pack()[LOCK])["models"]["local"]["base"]["sha256"] != digest
    assert "rows.jsonl" in pack("--include", "rows.jsonl")
    told = solar("pack", "recipes/shared.yml", "--include", "rows.jsonl").output
    assert told.startswith("written: ")
    assert "not packed: rows.jsonl" not in told


def test_the_chain_of_the_same_name_in_tiny_comes_along(folder: Path):
    shutil.copytree(folder / "recipes", folder / "recipes/tiny")
    files = pack()
    assert json.loads(files[LOCK])["tiny"] == "recipes/tiny/shared.yml"
    assert "recipes/tiny/mix.yml" in files


def test_an_absolute_base_is_told_two_ways_out_and_both_work(folder: Path, tmp_path: Path):
    base = tmp_path / "models" / "mistral"
    base.mkdir(parents=True)
    (base / "config.json").write_text("{}")
    chain = folder / "recipes/shared.yml"
    good = chain.read_text()
    chain.write_text(good.replace("owner/base", str(base)))
    told = solar("pack", "recipes/shared.yml", "--out", "out.zip").output
    assert f"recipes/shared.yml:2: base_model: {base} is a path of this machine." in told
    command = re.search(r"ln -s \S+ \S+(?=, then)", told)[0]
    subprocess.run(command, shell=True, check=True)
    chain.write_text(good.replace("owner/base", "./mistral"))
    lock = json.loads(pack()[LOCK])
    assert len(lock["models"]["local"]["mistral"]["sha256"]) == 64
    told = solar("unpack", "out.zip", "--list").output
    assert "needs      mistral (not in the pack)" in told
    own = folder.resolve() / "own"
    own.mkdir()
    (own / "config.json").write_text("{}")
    chain.write_text(good.replace("owner/base", str(own)))  # inside: it counts from the project
    assert list(json.loads(pack()[LOCK])["models"]["local"]) == ["own"]
    cached = "/data/hub/models--mistralai--Mistral-7B-v0.1/snapshots/26bca36/"
    chain.write_text(good.replace("owner/base", cached))
    told = solar("pack", "recipes/shared.yml", "--out", "out.zip").output
    assert told.endswith("Write the Hub id that it was fetched from: mistralai/Mistral-7B-v0.1.\n")


TASK = """\
task: quiz
dataset_path: json
dataset_kwargs: {data_files: {test: quiz.jsonl}}
output_type: multiple_choice
test_split: test
doc_to_text: "Question: {{question.strip()}}\\n{% if hint %}Hint: {{hint}}{% endif %}\\nAnswer:"
doc_to_target: "{{['A', 'B'][label]}}"
doc_to_choice: "{{choices.text}}"
description: "Answer the questions.\\n\\n"
filter_list:
  - name: strict
    filter: [{function: regex, regex_pattern: "#### (\\\\d+)"}, {function: take_first}]
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
"""


@pytest.fixture
def with_tasks(folder: Path) -> Path:
    """The project with an evaluation on a task of its own and one of lm-eval's."""
    (folder / "my_tasks").mkdir()
    (folder / "my_tasks/quiz.yaml").write_text(TASK)
    (folder / "quiz.jsonl").write_text('{"question": "a"}\n')
    h6 = "model: hf\ntasks: [arc_challenge, quiz]\ninclude_path: my_tasks\n"
    (folder / "recipes/h6.yml").write_text(h6)
    return folder


def test_a_plain_task_is_packed_and_nothing_is_asked_for(with_tasks: Path):
    assert "my_tasks/quiz.yaml" in pack()
    told = solar("pack", "recipes/shared.yml", "--out", "out.zip").output
    assert "have to allow" not in told
    assert "not packed: quiz.jsonl (--include takes a small file along)" in told
    told = solar("unpack", "out.zip", "--list").output
    assert "needs      quiz.jsonl (not in the pack)" in told
    assert "downloads  dataset of the lm-eval tasks arc_challenge" in told
    assert solar("unpack", "out.zip", "--to", "theirs").exit_code == 0


def test_a_task_that_imports_is_packed_and_each_import_is_asked_for(with_tasks: Path):
    task = TASK + "process_docs: !function helpers.clean\n"
    (with_tasks / "my_tasks/quiz.yaml").write_text(task)
    (with_tasks / "my_tasks/helpers.py").write_text("def clean(docs):\n    return docs\n")
    assert {"my_tasks/quiz.yaml", "my_tasks/helpers.py"} < set(pack())
    told = solar("pack", "recipes/shared.yml", "--out", "out.zip").output
    line = task.count("\n")
    assert f"my_tasks/quiz.yaml:{line}: the tag !function helpers.clean: names Python code" in told
    refused = solar("unpack", "out.zip", "--to", "theirs")
    assert refused.exit_code == 1
    allow = [f"code=my_tasks/{name}" for name in ("quiz.yaml", "helpers.py")]
    allow = [word for permission in allow for word in ("--allow", permission)]
    assert solar("unpack", "out.zip", "--to", "theirs", *allow).exit_code == 0
    assert Path("theirs/my_tasks/quiz.yaml").read_text() == task


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("doc_to_text: '{{ x.__class__ }}'", ".__class__ looks inside Python"),
        ("doc_to_text: \"{{ x['_' ~ '_class_' ~ '_'] }}\"", "an item by a computed name"),
        ("doc_to_text: '{{ namespace() }}'", "a call, outside a sandbox"),
        ("doc_to_text: '{{ x.format(y) }}'", "a call, outside a sandbox"),
        ('doc_to_text: "{{ x | map(attribute=a) }}"', "the filter map, outside a sandbox"),
        ("doc_to_target: \"{% include 'x' %}\"", "reads another template"),
        ("metric_list: [{metric: evil/metric}]", "evil/metric"),
        ("filter_list: [{name: a, filter: [{function: custom, filter_fn: x}]}]", "custom"),
        ("use_prompt: 'promptsource:evil'", "use_prompt"),
    ],
)
def test_a_task_that_does_more_is_asked_for(line: str, found: str, with_tasks: Path):
    """lm-eval renders a task's templates without a sandbox."""
    key = line.partition(":")[0]
    kept = [written for written in TASK.splitlines() if not written.startswith((key, "  "))]
    (with_tasks / "my_tasks/quiz.yaml").write_text("\n".join([*kept, line, ""]))
    told = solar("pack", "recipes/shared.yml", "--out", "out.zip").output
    assert found in told
    assert "--allow code=my_tasks/quiz.yaml" in told


def test_what_extends_and_set_replace_is_not_needed(folder: Path):
    """Nor is what only an extended file names of another chain."""
    chain, sft = folder / "recipes/shared.yml", folder / "recipes/sft.yml"
    chain.write_text(
        chain.read_text().replace(
            "{train: sft.yml}",
            "{train: mine.yml, set: {datasets: [{path: ./set.jsonl, type: alpaca}]}}",
        )
    )
    sft.write_text(sft.read_text().replace("owner/data", "./old.jsonl"))
    mine = "extends: ./sft.yml\ndatasets: [{path: ./mine.jsonl, type: alpaca}]\n"
    mine += "test_datasets: [{path: owner/test, split: test, type: alpaca}]\n"
    (folder / "recipes/mine.yml").write_text(mine)
    for name in ("set", "mine", "old"):
        (folder / f"{name}.jsonl").write_text("{}\n")
    pack()
    told = solar("unpack", "out.zip", "--list").output
    assert "needs      set.jsonl (not in the pack)" in told
    assert "downloads  dataset owner/test" in told
    assert "old.jsonl" not in told
    assert "mine.jsonl" not in told


def test_absolute_paths_below_the_root_become_relative_and_others_are_refused(folder: Path):
    path = folder / "recipes/sft.yml"
    good = path.read_text()
    path.write_text(good.replace("recipes/zero3.json", f"{folder}/recipes/zero3.json"))
    assert b"deepspeed: ./recipes/zero3.json\n" in pack()["recipes/sft.yml"]
    path.write_text(good.replace("owner/data", "/data/private/rows.jsonl"))
    result = solar("pack", "recipes/shared.yml", "--out", "refused.zip")
    assert result.exit_code == 1
    assert "recipes/sft.yml:4: datasets.0.path: /data/private/rows.jsonl is a path" in result.output
    assert not (folder / "refused.zip").exists()


@pytest.mark.parametrize("outside", ["link", "climb"])
def test_a_file_outside_the_folder_is_refused(outside: str, folder: Path, tmp_path: Path):
    (tmp_path / "secret.json").write_text('{"bf16": {"enabled": true}}')
    if outside == "link":
        (folder / "recipes/zero3.json").unlink()
        (folder / "recipes/zero3.json").symlink_to(tmp_path / "secret.json")
    else:
        path = folder / "recipes/sft.yml"
        path.write_text(path.read_text().replace("recipes/zero3.json", "../secret.json"))
    result = solar("pack", "recipes/shared.yml", "--out", "refused.zip")
    assert result.exit_code == 1
    assert "out of" in result.output or "lies outside" in result.output
    assert not (folder / "refused.zip").exists()


def test_a_recipe_alone_is_told_what_to_write(folder: Path):
    result = solar("pack", "recipes/sft.yml")
    assert result.exit_code == 1
    assert "not a chain." in result.output
    assert "stages: {sft: {train: sft.yml}}" in result.output


def test_weights_are_never_packed(folder: Path):
    (folder / "recipes/model.safetensors").write_bytes(b"x")
    result = solar("pack", "recipes/shared.yml", "--include", "recipes/model.safetensors")
    assert result.exit_code == 1
    assert "weights or a pickle" in result.output


@pytest.mark.parametrize("what", SECRETS)
@pytest.mark.parametrize("name", ["sft.yml", "shared.yml", "zero3.json", "chat.jinja"])
def test_a_secret_in_what_was_written_by_hand_ends_it(what, name, folder: Path, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRETS["the value of $MY_SERVICE_TOKEN"])
    path = folder / "recipes" / name
    comment = {"yml": "# {}\n", "json": "", "jinja": "{{# {} #}}\n"}[name.partition(".")[2]]
    secret = SECRETS[what]
    if name.endswith("json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "x": secret}))
    else:
        lines = secret.splitlines()
        path.write_text(path.read_text() + "".join(comment.format(line) for line in lines))
    result = solar("pack", "recipes/shared.yml", "--out", "refused.zip")
    assert result.exit_code == 1
    assert re.search(rf"Error: recipes/{name}:\d+: holds {re.escape(what)}\. ", result.output)
    assert secret.splitlines()[0] not in result.output
    assert not (folder / "refused.zip").exists()


def test_secrets_and_local_paths_in_what_a_run_left_are_blacked_out(folder: Path, monkeypatch):
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRETS["the value of $MY_SERVICE_TOKEN"])
    shared_project.write_run(folder, text=" / ".join(SECRETS.values()))
    result = solar("pack", "recipes/shared.yml", "--out", "out.zip")
    assert result.exit_code == 0, result.output
    files = archive.from_bytes(Path("out.zip").read_bytes(), "out.zip")
    assert {name.split("/")[1] for name in files if name.startswith("run/")} == {
        *("results", "audit", "report.html", "report.md")
    }
    everything = b"\n".join(files.values()) + result.output.encode()
    assert not re.search(rb"\.log\b", b"\n".join(name.encode() for name in files))
    for secret in SECRETS.values():
        for line in secret.splitlines():
            bare = line.removeprefix("WANDB_API_KEY=").split(" ")[-1]
            assert bare.encode() not in everything, bare
    assert str(folder).encode() not in b"\n".join(files.values())
    assert b"[redacted]" in files["run/results/h6/mix.json"]
    assert b"[redacted]" in files["run/audit/sft/flan_filter_audit.json"]
    assert b"[redacted]" in files["run/report.md"]
    assert "run/results/h6/mix.json:1: a Hugging Face token: blacked out" in result.output


def test_the_shipped_recipes_hold_no_secret_and_ask_for_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert solar("new", "mine").exit_code == 0
    result = solar("pack", "mine/recipes/solar.yml", "--out", "a.zip")
    assert result.exit_code == 0, result.output
    assert "have to allow" not in result.output
    os.chdir(tmp_path)
    assert solar("unpack", "a.zip", "--to", "theirs").exit_code == 0
    assert solar("verify", "theirs").exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        'special_tokens: {pad_token: "<unk>"}',
        "eos_token: </s>\ntokens: ['<|im_start|>']",
        "num_epochs: 3 # a private key is not here",
        "https://example.org/data?split=train",
        "sha256: " + "0123456789abcdef" * 4,
        "revision: " + "ab" * 20,
        "hf_use_auth_token: false",
        "wandb_project: solar",
    ],
)
def test_what_is_no_secret_stays(text: str):
    assert redact.secrets_in(text, {}) == []


def test_variables_are_secret_by_their_names():
    names = ("MY_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "WANDB_API_KEY", "GITHUB_PAT")
    plain = ("GIT_AUTHOR_NAME", "TOKENIZERS_PARALLELISM", "KEYBOARD", "PATH", "MONKEYS")
    for name in names:
        assert redact.secrets_in("by Jane Researcher", {name: "Jane Researcher"}), name
    for name in plain:
        assert not redact.secrets_in("by Jane Researcher", {name: "Jane Researcher"}), name
    assert not redact.secrets_in("in /usr/bin", {"SSH_AUTH_SOCK": "/usr/bin"})


def test_only_paths_of_this_machine_are_taken_out(tmp_path: Path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    text = (
        f"{tmp_path}/project/out/x.json {tmp_path}/elsewhere/deep/y.bin {Path.home()}/z "
        "https://example.org/a/b /no/such/path/of/anyone ### User:/Assistant"
    )
    assert redact.without_local_paths(text, tmp_path / "project") == (
        "./out/x.json <local>/y.bin ~/z https://example.org/a/b /no/such/path/of/anyone "
        "### User:/Assistant"
    )


def test_no_path_of_this_machine_stays_whatever_is_around_it(tmp_path: Path):
    """Random texts with folders that are there, with names of all kinds."""
    draw = random.Random(7)
    private = tmp_path / "private owner"
    names = ["deep", "My Project (1)", "ünï", "a,b", "a+b=c@d", "v1.2", "x-y_z", "a & b"]
    places = [private / name / "more" for name in names]
    for place in places:
        place.mkdir(parents=True)
    words = [
        "loss",
        "at",
        "12/34",
        "a/b",
        "https://example.org/a/b?c=/d",
        "### User:/Assistant",
        "</s>",
    ]
    around = [
        "{}",
        "<code>{}</code>",
        '"{}"',
        "'{}'",
        "({})",
        "[{}]",
        "path={}",
        "--dir={}",
        "-I{}",
    ]
    around += [
        "x: {}",
        "{}:12",
        "{},",
        "{}.",
        "file://{}",
        "{}\\n",
        "`{}`",
        "<{}>",
        "{};",
        "|{}|",
        "\t{}",
    ]
    for _ in range(1000):
        parts = []
        for _ in range(draw.randrange(1, 8)):
            path = str(draw.choice(places)) + draw.choice(["", "/", "/gone.json", "/a b.txt"])
            path = urllib.parse.quote(path) if draw.random() < 0.2 else path
            shown = draw.choice(around).format(path)
            parts += [draw.choice([*words, shown, shown])]
        text = draw.choice([" ", "\n", "  ", "\t"]).join(parts)
        for written in (text, json.dumps(text), html.escape(text)):
            shown = redact.without_local_paths(written, tmp_path / "project")
            assert "private" not in shown, written
            assert shown.count("https://example.org/a/b?c=/d") == written.count("https:"), written


@pytest.mark.parametrize("before", sorted(set(string.punctuation) - set("/.~_-")) + list(" \n\t"))
def test_a_path_is_taken_out_whatever_stands_before_and_after_it(before: str, tmp_path: Path):
    (tmp_path / "elsewhere/deep").mkdir(parents=True)
    path = f"{tmp_path}/elsewhere/deep"
    for text in (f"{before}{path}", f"x{before}{path}<", f"<code>{path}</code>{before}{path} y"):
        shown = redact.without_local_paths(text, tmp_path / "project")
        assert str(tmp_path) not in shown
        assert shown == text.replace(path, "<local>/deep")
