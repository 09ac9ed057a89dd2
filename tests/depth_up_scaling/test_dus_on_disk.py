"""``solar dus BASE --out DIR``: the written checkpoint, and what is left when writing fails."""

import json
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml
from click.testing import CliRunner
from in_memory import load_up_scaled
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_recipe import write_base
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from solar_plugins.cli import cli
from solar_plugins.depth_up_scaling import adapter_base, on_disk
from solar_plugins.depth_up_scaling.args import parse

pytestmark = pytest.mark.slow

MAP = [0, 1, 2, 3, 4, 3, 4, 5, 6, 7]


def run(*arguments):
    return CliRunner().invoke(cli, ["dus", *map(str, arguments)])


def write(base, out, max_shard_bytes=on_disk.MAX_SHARD_BYTES, **block):
    prepared = on_disk.prepare(str(base), parse(block or {"remove_layers": 3}))
    on_disk.write(prepared, out, "the command", max_shard_bytes=max_shard_bytes)
    return prepared


def tensors(folder):
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def line(*arguments):
    """What `solar dus` says when it refuses: one line, and nothing left beside."""
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert result.output.startswith("Error: ")
    return result.output.removeprefix("Error: ").rstrip()


@pytest.fixture
def base(tmp_path):
    """A base with a tokenizer and what else may lie beside a model."""
    folder = tmp_path / "my-base"
    write_base(folder, layers=4)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    (folder / "LICENSE").write_text("a licence")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\nlanguage: [en]\n---\n# Base\n")
    for left_out in ("optimizer.pt", "trainer_state.json", "pytorch_model.bin", "modeling_x.py"):
        (folder / left_out).write_text("{}")
    (folder / "checkpoint-2").mkdir()
    return folder


@pytest.mark.parametrize(
    "family",
    [
        *("qwen3", "gemma2", "gemma3", "smollm3", "gpt_neo", "olmo3", "bloom", "mixtral"),
        *("gpt_oss", "qwen2_moe", "deepseek_v3", "mamba"),
    ],
)
def test_the_written_model_is_the_one_in_memory(family, tiny_base, tmp_path):
    """MergeKit right on the family or not: the same bits, config and logits."""
    base = tiny_base(family)
    up_scaling = write(base, tmp_path / "out", max_shard_bytes=60_000)
    disk, info = AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    memory = load_up_scaled(base, {"remove_layers": 3})
    a, b = disk.state_dict(), memory.state_dict()
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    ours, theirs = disk.config.to_dict(), memory.config.to_dict()
    apart = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    assert apart <= {"_name_or_path", "depth_up_scaling"}
    assert disk.config.get_text_config().num_hidden_layers == len(MAP)
    ids = torch.tensor([[1, 5, 9, 3]])
    assert torch.equal(disk.eval()(ids).logits, memory.eval()(ids).logits)
    stored = tensors(tmp_path / "out")
    assert up_scaling.parameters == sum(tensor.numel() for tensor in stored.values())


def test_what_lies_in_the_folder(base, tmp_path):
    out = tmp_path / "made" / "deeper"
    result = run(base, "--out", out, "--remove-layers", 1)
    assert result.exit_code == 0, result.output
    count = sum(tensor.numel() for tensor in tensors(out).values())
    assert result.output.splitlines()[-1] == (
        f"{out}: 4 -> 6 layers: 1 removed from each copy at the seam (SOLAR paper, section 2); "
        f"{count:,} parameters, 0.00 GB"
    )
    assert sorted(str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()) == [
        "LICENSE",
        "README.md",
        "additional_chat_templates/tool_use.jinja",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    for same in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "LICENSE"):
        assert (out / same).read_bytes() == (base / same).read_bytes()
    assert list(out.parent.iterdir()) == [out]
    assert AutoTokenizer.from_pretrained(out)("abc").input_ids

    raw, config = (json.loads((f / "config.json").read_text()) for f in (base, out))
    mark = config.pop("depth_up_scaling")
    assert mark["base_num_hidden_layers"] == 4
    assert mark["layer_map"] == [0, 1, 2, 1, 2, 3]
    assert config == {**raw, "num_hidden_layers": 6}  # nothing else is touched

    _, front, card = (out / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front) == {
        "base_model": "my-base",
        "library_name": "transformers",
        "license": "apache-2.0",
        "language": ["en"],
        "tags": ["depth-up-scaling", "solar-plugins"],
    }
    assert "solar dus my-base --remove-layers 1 --out deeper" in card
    assert "| 3 to 5 | 1 to 3 |" in card
    assert str(tmp_path) not in front + card


def test_a_second_writing_gives_the_same_bytes(base, tmp_path):
    for out in ("a/model", "b/model"):
        assert run(base, "--out", tmp_path / out).exit_code == 0
    for file in (tmp_path / "a" / "model").iterdir():
        if file.is_file():
            assert file.read_bytes() == (tmp_path / "b" / "model" / file.name).read_bytes()


def test_shards_and_their_index(tiny_base, tmp_path):
    base = tiny_base("llama", "40KB")
    assert (base / "model.safetensors.index.json").is_file()
    write(base, tmp_path / "out", max_shard_bytes=30_000)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 3
    assert [file.name for file in files] == [
        f"model-{i:05d}-of-{len(files):05d}.safetensors" for i in range(1, len(files) + 1)
    ]
    found = {}
    for file in files:
        with safe_open(file, framework="pt") as handle:
            assert handle.metadata() == {"format": "pt"}
            found |= dict.fromkeys(handle.keys(), file.name)
    assert index["weight_map"] == found
    assert index["metadata"]["total_size"] == sum(
        t.nbytes for t in tensors(tmp_path / "out").values()
    )
    sizes = [sum(t.nbytes for t in load_file(file).values()) for file in files]
    assert all(size <= 30_000 for size in sizes)
    for i, j in enumerate(MAP):
        ours, theirs = (
            tensors(folder)[f"model.layers.{layer}.mlp.up_proj.weight"]
            for folder, layer in ((tmp_path / "out", i), (base, j))
        )
        assert torch.equal(ours, theirs)


def test_tensors_of_many_dtypes_start_where_they_can_be_mapped(tiny_base, tmp_path):
    """An odd number of bf16 bytes before a float32 tensor would put it across a word."""
    base = tmp_path / "mixed"
    shutil.copytree(tiny_base("llama"), base)
    mixed = load_file(base / "model.safetensors")
    for name in mixed:
        if "q_proj" in name:
            mixed[name] = mixed[name].to(torch.bfloat16)
    mixed["model.layers.3.odd"] = torch.zeros(3, dtype=torch.uint8)
    mixed["model.layers.4.empty"] = torch.zeros(0, 4)
    save_file(mixed, base / "model.safetensors", metadata={"format": "pt"})
    write(base, tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    assert stored["model.layers.5.odd"].dtype == torch.uint8
    assert stored["model.layers.6.empty"].shape == (0, 4)
    assert stored["model.layers.5.self_attn.q_proj.weight"].dtype == torch.bfloat16
    data = (tmp_path / "out" / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__" and stored[name].numel():
            start = 8 + length + entry["data_offsets"][0]
            assert start % stored[name].element_size() == 0, name


@pytest.mark.parametrize("spelling", [float("inf"), {"__float__": "Infinity"}])
def test_a_config_with_an_infinity(spelling, tiny_base, tmp_path):
    """Older releases of transformers wrote it bare, which is not JSON; newer ones as an object."""
    base = tmp_path / "base"
    shutil.copytree(tiny_base("mamba2"), base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"time_step_limit": [0.0, spelling]}))
    write(base, tmp_path / "out")
    written = AutoConfig.from_pretrained(tmp_path / "out")
    assert list(written.time_step_limit) == [0.0, float("inf")]
    assert written.num_hidden_layers == len(MAP)


def test_three_copies_and_single_layers(tiny_base, tmp_path):
    base = tiny_base("qwen3")
    write(base, tmp_path / "out", layer_ranges=[[0, 6], [2, 6], [5, 6], [2, 8]])
    config = AutoConfig.from_pretrained(tmp_path / "out")
    layers = [*range(6), *range(2, 6), 5, *range(2, 8)]
    assert config.num_hidden_layers == len(layers) == 17
    assert len(config.layer_types) == 17
    ours, theirs = tensors(tmp_path / "out"), tensors(base)
    for i, j in enumerate(layers):
        name = "self_attn.k_norm.weight"
        assert torch.equal(ours[f"model.layers.{i}.{name}"], theirs[f"model.layers.{j}.{name}"])


@pytest.mark.parametrize(
    ("family", "init"),
    [("llama", "average"), ("mixtral", "average"), ("qwen2", "optimal_transport")],
)
def test_average_on_disk_is_average_in_memory(family, init, tiny_base, tmp_path):
    block = {"layout": "interleave", "every": 4, "init": init}
    base = tiny_base(family)
    write(base, tmp_path / "out", **block)
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    loaded = load_up_scaled(base, block).state_dict()
    assert written.keys() == loaded.keys()
    assert all(torch.equal(written[name], loaded[name]) for name in written)
    again = on_disk.prepare(str(base), parse(block))
    adapter_base._check_same(tmp_path / "out", again)


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_identity_starts_as_the_base(family, tiny_base, tmp_path):
    base = tiny_base(family)
    write(base, tmp_path / "out", remove_layers=3, init="identity")
    ids = torch.tensor([[1, 5, 9, 3]])
    deeper, shallower = (
        AutoModelForCausalLM.from_pretrained(folder).eval()(ids).logits
        for folder in (tmp_path / "out", base)
    )
    assert torch.equal(deeper, shallower)
    assert "computes what its base computes" in (tmp_path / "out" / "README.md").read_text()


def test_a_model_with_its_own_code_takes_it_along(base, tmp_path):
    code = (
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class OwnModel(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    (base / "modeling_own.py").write_text(code)
    config = json.loads((base / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForCausalLM": "modeling_own.OwnModel",
        },
    }
    (base / "config.json").write_text(json.dumps(config))
    assert "trust_remote_code" in line(base, "--out", tmp_path / "out")
    result = run(base, "--out", tmp_path / "out", "--trust-remote-code")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "modeling_own.py").read_text() == code
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert type(model).__name__ == "OwnModel"
    assert model.config.num_hidden_layers == 6


def test_from_the_cache_of_the_hub(base, tmp_path, monkeypatch):
    """Offline, by its id; the files of a snapshot are links."""
    commit = "0" * 40
    repo = tmp_path / "hub" / "models--org--my-base"
    shutil.copytree(base, repo / "blobs")
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    for file in (repo / "blobs").iterdir():
        (snapshot / file.name).symlink_to(file)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        "huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub")
    )
    result = run("org/my-base", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert not any(file.is_symlink() for file in (tmp_path / "out").iterdir())
    assert "base_model: org/my-base" in (tmp_path / "out" / "README.md").read_text()
    assert len(tensors(tmp_path / "out")) == 2 + 1 + 6 * 9


def test_json_for_machines(base, tmp_path):
    result = CliRunner().invoke(cli, ["dus", str(base), "--out", str(tmp_path / "o"), "--json"])
    facts = json.loads(result.stdout)
    assert facts["layer_map"] == [0, 1, 2, 1, 2, 3]
    assert facts["seams"] == [[2, 1]]
    assert facts["out"] == str(tmp_path / "o")
    assert facts["bytes"] == sum(t.nbytes for t in tensors(tmp_path / "o").values())


def test_what_is_refused(base, tmp_path):
    out = tmp_path / "out"
    assert line(base, "--out", base / "sub") == (
        f"--out: {base / 'sub'} lies in the base's own folder, which stays unchanged. "
        "Name a folder outside it."
    )
    assert "lies in the base's own folder" in line(base, "--out", base)
    assert "exists and is not empty" in line(base, "--out", tmp_path)
    (tmp_path / "file").write_text("x")
    assert "is a file" in line(base, "--out", tmp_path / "file")
    assert "remove_layers: 2 of 4 layers leaves 4" in line(base, "--out", out, "--remove-layers", 2)
    assert "target_layers" in line(base, "--out", out, "--target-layers", 4)
    assert "layer_ranges[1]" in line(base, "--out", out, "--layer-ranges", "0-4,3-9")
    assert "layer_ranges[0]" in line(base, "--out", out, "--layer-ranges", "4-0,0-4")
    assert line(base, "--out", out, "--layer-ranges", "0..4") == (
        "--layer-ranges: '0..4' is not a range of layers. Write start-end for each, e.g. 0-24,8-32."
    )
    assert "mutually exclusive" in line(base, "--remove-layers", 1, "--target-layers", 6)
    assert run(base, "--init", "identity").exit_code == 2
    assert "ends in .svg" in line(base, "--plot", tmp_path / "map.png")
    write(base, tmp_path / "grown", remove_layers=1)
    assert "is depth up-scaled already (4 -> 6 layers)" in line(tmp_path / "grown", "--out", out)
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_bases_that_are_not_whole(base, tmp_path):
    out = tmp_path / "out"
    weights = base / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-8])
    assert "its header promises" in line(base, "--out", out)
    weights.write_bytes(whole[:20])
    assert "shorter than its own header" in line(base, "--out", out)
    weights.write_bytes(whole)
    without = load_file(weights)
    del without["model.layers.1.mlp.up_proj.weight"]
    save_file(without, weights, metadata={"format": "pt"})
    missing = line(base, "--out", out)
    assert "model.layers.1.mlp.up_proj.weight" in missing or "is missing" in missing
    weights.rename(base / "model-00001-of-00002.safetensors")
    index = {
        "weight_map": {
            "a": "model-00001-of-00002.safetensors",
            "b": "model-00002-of-00002.safetensors",
        }
    }
    (base / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors, which is not there" in line(base, "--out", out)
    (base / "model.safetensors.index.json").unlink()
    assert "holds .bin weights only" in line(base, "--out", out)
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))


def test_a_link_to_an_empty_folder(base, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    write(base, tmp_path / "out", remove_layers=1)
    assert (tmp_path / "out").is_symlink()
    assert AutoConfig.from_pretrained(tmp_path / "disk").num_hidden_layers == 6
    assert not list(tmp_path.glob(".*"))


def test_a_base_of_config_and_weights_alone(base, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        (base / name).unlink()
    result = run(base, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "holds no tokenizer" in result.output
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").config.num_hidden_layers == 6


def test_a_full_disk_leaves_nothing(base, tmp_path):
    """No file may grow beyond a limit: the kernel then refuses as it does when a disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        refused = line(base, "--out", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert refused.endswith("model.safetensors: File too large")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_more_bytes_than_the_disk_has(base, tmp_path, monkeypatch):
    free = SimpleNamespace(free=1000)
    monkeypatch.setattr("solar_plugins.depth_up_scaling.on_disk.shutil.disk_usage", lambda _: free)
    assert "0.0 GB are free" in line(base, "--out", tmp_path / "out")


WRITER = """
import sys, time
from pathlib import Path
from solar_plugins import atomic
with atomic.new_directory(sys.argv[1]) as folder:
    (folder / "config.json").write_text("{}")
    print("writing", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def start_writer(out, seconds):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(out), str(seconds)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    return process


def test_a_killed_writer_leaves_no_model_and_the_next_one_starts_over(base, tmp_path):
    process = start_writer(tmp_path / "out", 60)
    assert "another process is writing there" in line(base, "--out", tmp_path / "out")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    left = tmp_path / ".out.unfinished"
    assert left.is_dir()
    (left / "stale").mkdir()
    assert run(base, "--out", tmp_path / "out").exit_code == 0
    assert not left.exists()
    assert not (tmp_path / "out" / "stale").exists()
    assert AutoConfig.from_pretrained(tmp_path / "out").num_hidden_layers == 6


def test_who_waits_finds_the_folder_that_the_other_one_wrote(base, tmp_path):
    process = start_writer(tmp_path / "out", 1.0)
    started = time.monotonic()
    prepared = on_disk.prepare(str(base), parse({}))
    with pytest.raises(FileExistsError):
        on_disk.write(prepared, tmp_path / "out", "", wait=True)
    assert not list(tmp_path.glob(".*"))
    assert time.monotonic() - started > 0.5
    assert process.wait() == 0
    assert (tmp_path / "out" / "config.json").read_text() == "{}"  # not overwritten
