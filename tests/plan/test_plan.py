"""`solar plan` against numbers worked out by hand."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from good_files import spoil

from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.models import model_config
from solar_plugins.plan import data_size, evaluation, gpu_specs, model_size, table
from solar_plugins.plan.data_size import DataReader
from solar_plugins.plan.stages import GIB, Machine, at_measured_rate, plan_chain

MISTRAL = model_config.KNOWN["mistralai/Mistral-7B-v0.1"]
# Mistral 7B by hand: q and o are 4096x4096, k and v 4096x1024, the MLP 3 times 4096x14336, two
# norms of 4096 in each layer; embedding and head 32000x4096 each, one last norm.
PER_LAYER = 2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336 + 2 * 4096
OUTSIDE = 2 * 32000 * 4096 + 4096
NODE = Machine(gpus=8, gpu_bytes=80 * GIB)


@pytest.fixture
def stages(good_chain):
    return {stage.stage: stage for stage in plan_chain("chain.yml", NODE).stages}


def test_parameters_are_exact():
    base = model_size.of(MISTRAL)
    assert base.parameters == 32 * PER_LAYER + OUTSIDE == 7_241_732_096
    assert base.largest_layer == 32000 * 4096
    assert (base.layers, base.hidden_size) == (32, 4096)
    grown = model_size.with_layers(MISTRAL, [*range(24), *range(8, 32)])
    assert model_size.of(grown).parameters == 48 * PER_LAYER + OUTSIDE == 10_731_524_096


def test_tied_embeddings_count_once():
    tied = model_size.of({**MISTRAL, "tie_word_embeddings": True})
    assert tied.parameters == 7_241_732_096 - 32000 * 4096


def test_layers_follow_the_chain(stages):
    depth = {name: stage.layers for name, stage in stages.items()}
    assert depth == {"dus": 48, "cpt": 48, "sft": 48, "dpo": 48, "mix": 48, "h6": None}
    assert stages["dus"].parameters == stages["mix"].parameters == 10_731_524_096


def test_steps_and_tokens(stages):
    # 100 steps of 1 x 16 x 8 sequences of 4096 tokens, which packing fills to 99 %.
    cpt = stages["cpt"]
    assert (cpt.global_batch, cpt.steps) == (128, 100)
    assert cpt.tokens == round(100 * 128 * 4096 * 0.99)
    # 52,002 rows of alpaca and 50 here, 32 a step.
    sft = stages["sft"]
    assert (sft.rows, sft.global_batch) == (52_052, 32)
    assert sft.steps == math.ceil(52_052 / 32) == 1627
    # Each step of sDPO fills its own batches.
    dpo = stages["dpo"]
    assert dpo.rows == 12_859 + 60_829
    assert dpo.steps == math.ceil(12_859 / 32) + math.ceil(60_829 / 32)
    assert dpo.tokens == 12_859 * 900 + 60_829 * 1000


def test_hours_are_flops_over_speed(stages):
    speed = 8 * 989e12 * 0.40 * 3600
    weights = 48 * (PER_LAYER - 2 * 4096) + 32000 * 4096

    def forward(tokens):
        """FLOPs per token in a document of `tokens`: two a weight, four a channel and pair."""
        return 2 * weights + 4 * 48 * 4096 * (tokens + 1) / 2

    cpt, dpo = stages["cpt"], stages["dpo"]
    # Packed documents do not see each other.
    document = data_size.DataSize(1, 1150, spread=3.8).document(4096)
    assert cpt.flops == pytest.approx(4 * cpt.tokens * forward(document))
    assert cpt.hours == pytest.approx(cpt.flops / speed)
    # DPO: four passes to train on and one for the reference, in sequences of half a row; not
    # packed, so at half the speed.
    passes = 5 * (12_859 * 900 * forward(450) + 60_829 * 1000 * forward(500))
    assert dpo.hours == pytest.approx(2 * passes / speed)


def test_disk_counts_checkpoints_with_their_optimizer(stages):
    weights = 10_731_524_096 * 2 / GIB
    assert stages["dus"].disk_gib == pytest.approx(weights)
    # bf16 weights and 12 bytes of Adam and float32 weights, twice (save_total_limit: 2).
    assert stages["cpt"].disk_gib == pytest.approx(weights)
    assert stages["cpt"].checkpoints_gib == pytest.approx(2 * weights * 14 / 2)
    # sDPO: the model of each of two steps and the last one at the root.
    assert stages["dpo"].disk_gib == pytest.approx(3 * weights)


def test_the_peak_of_disk_has_the_checkpoint_that_is_being_written(good_chain):
    """By hand, in weights of two bytes: a stage leaves its model, cpt two checkpoints beside."""
    weights, checkpoint = 10_731_524_096 * 2 / GIB, 10_731_524_096 * 14 / GIB
    spoil("cpt.yml", "save_steps: 50", "save_steps: 25")
    plan = plan_chain("chain.yml", NODE)
    alone = {stage.stage: stage for stage in plan.stages}
    assert alone["cpt"].writing_gib == pytest.approx(checkpoint)  # a third one, for a moment
    plan.stages = [alone["dus"], alone["cpt"]]
    assert plan.disk_gib == pytest.approx(2 * weights + 2 * checkpoint)
    assert plan.peak_disk_gib == pytest.approx(2 * weights + 3 * checkpoint)
    text = Path("chain.yml").read_text()
    Path("chain.yml").write_text(f"{text}remove_checkpoints: true\n")
    plan = plan_chain("chain.yml", NODE)
    plan.stages = plan.stages[: 1 + [stage.stage for stage in plan.stages].index("cpt")]
    kept = sum(stage.disk_gib for stage in plan.stages if stage.disk_gib)
    assert plan.disk_gib == pytest.approx(kept)
    assert plan.peak_disk_gib == pytest.approx(kept + 3 * checkpoint)


def test_hours_of_h6_and_energy(good_chain):
    Path("h6.yml").write_text("model: hf\ntasks: [solar_h6]\n")
    plan = plan_chain("chain.yml", replace(NODE, gpu_watts=700))
    h6 = plan.stages[-1]
    work = 0.0
    for model in (model_size.with_layers(MISTRAL, [*range(24), *range(8, 32)]), MISTRAL):
        read, written = evaluation.flops({"tasks": ["solar_h6"]}, model_size.of(model))
        work += read / 0.40 + written / 0.01
    assert h6.hours == pytest.approx(work / (8 * 989e12) / 3600)
    assert plan.energy_kwh == pytest.approx(0.7 * 8 * (plan.hours + h6.hours))
    Path("h6.yml").write_text("model: hf\ntasks: [solar_h6]\nnum_fewshot: 0\n")
    h6 = plan_chain("chain.yml", NODE).stages[-1]
    assert (h6.hours, h6.notes) == (None, ["2 models to evaluate; these hours are not planned"])


@pytest.mark.parametrize(
    ("split", "rows"),
    [
        ("train", 1000),
        ("train[:100]", 100),
        ("train[100:]", 900),
        ("train[10%:25%]", 150),
        ("train[-20:]", 20),
        ("train[:5000]", 1000),
    ],
)
def test_part_of_a_split(split, rows):
    assert data_size.part_of_split(1000, split) == rows


def test_local_rows_are_counted(tmp_path):
    file = tmp_path / "rows.jsonl"
    row = json.dumps({"text": "a" * 400, "id": "no text"})
    file.write_text(f"{row}\n\n{row}\n{row}\n", encoding="utf-8")
    entry = {"path": str(file), "type": "completion"}
    size = DataReader().size({"datasets": [entry]})
    assert (size.rows, size.tokens_per_row) == (3, pytest.approx(101, abs=1))
    half = DataReader().size({"datasets": [{**entry, "shards": 2}]})
    assert half.rows == 2
    unknown = DataReader().size({"datasets": [entry, {"path": "a/b"}]})
    assert (unknown.rows, unknown.tokens) == (None, None)
    assert unknown.notes[-1] == "a/b: neither local nor known, rows not counted"


def test_filtered_rows_are_left_out():
    entry = {"path": "meta-math/MetaMathQA", "shards": 3}
    whole = DataReader().size({"datasets": [entry]})
    block = {"datasets": ["meta-math/MetaMathQA"]}
    filtered = DataReader().size({"datasets": [entry], "flan_filter": block})
    assert (whole.rows, filtered.rows) == (math.ceil(395_000 / 3), math.ceil(155_000 / 3))


def test_a_base_that_is_not_here_is_one_line(good_chain):
    with pytest.raises(SolarError) as error:
        plan_chain("chain.yml", NODE, base_model="some/other-model")
    assert str(error.value) == (
        "base_model: some/other-model is neither a folder with a config.json nor in the Hub's "
        "cache, so its sizes are not known here. Download it once (hf download some/other-model "
        "config.json), or name a local folder."
    )


def test_another_base_from_a_folder(good_chain):
    """A base of 6 layers with another shape: m = 2 has to be written, 6 layers become 8."""
    spoil("cpt.yml", "remove_layers: 8", "remove_layers: 2")
    spoil("chain.yml", "  dus: {merge: dus.yml}\n", "")
    config = {
        "model_type": "llama",
        "num_hidden_layers": 6,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 256,
        "tie_word_embeddings": False,
    }
    Path("base").mkdir()
    Path("base/config.json").write_text(json.dumps(config), encoding="utf-8")
    plan = plan_chain("chain.yml", NODE, base_model="./base")
    per_layer = 4 * 64 * 64 + 3 * 64 * 128 + 2 * 64
    sft = next(stage for stage in plan.stages if stage.stage == "sft")
    assert (sft.layers, sft.parameters) == (8, 8 * per_layer + 2 * 256 * 64 + 64)


def test_the_command(good_chain):
    arguments = ["plan", "chain.yml", "--gpus", "8", "--gpu-memory-gib", "80"]
    shown = CliRunner().invoke(cli, arguments)
    assert shown.exit_code == 0, shown.output
    assert "10,731,524,096" in shown.stdout
    assert "An estimate" in shown.stdout
    machine = CliRunner().invoke(cli, [*arguments, "--json"])
    plan = json.loads(machine.stdout)
    assert [stage["parameters"] for stage in plan["stages"]] == [10_731_524_096] * 5 + [None]
    assert plan["fits"] is True
    small = CliRunner().invoke(cli, [*arguments[:-1], "20"])
    assert small.exit_code == 1
    assert CliRunner().invoke(cli, ["plan", "chain.yml"]).exit_code == 2


def test_a_gpu_by_its_name(good_chain):
    def planned(*arguments: str) -> dict:
        run = CliRunner().invoke(cli, ["plan", "chain.yml", "--json", *arguments])
        assert run.exit_code in (0, 1), run.output
        return json.loads(run.stdout)

    by_hand = planned("--gpus", "8", "--gpu-memory-gib", "80")
    assert planned("--gpus", "8", "--gpu", "h100") == by_hand
    small = planned("--gpus", "2", "--gpu", "rtx4090")
    assert (small["gpus"], small["gpu_memory_gib"], small["peak_tflops"]) == (2, 24, 165.2)
    assert small["fits"] is False
    own = planned("--gpus", "2", "--gpu", "a100", "--gpu-memory-gib", "40", "--peak-tflops", "300")
    assert (own["gpu_memory_gib"], own["peak_tflops"]) == (40, 300)


def test_a_machine_without_gpu(good_chain):
    run = CliRunner().invoke(cli, ["plan", "chain.yml", "--gpus", "0", "--gpu-memory-gib", "30"])
    assert run.exit_code == 1, run.output
    assert "of training on the CPU with 30 GiB." in " ".join(run.stdout.split())
    assert "GiB on this machine needed, 30 available." in " ".join(run.stdout.split())
    zero, cpu = (
        CliRunner().invoke(cli, ["plan", "chain.yml", *arguments, "--json"]).stdout
        for arguments in (["--gpus", "0"], ["--gpu", "cpu"])
    )
    assert zero == cpu
    plan = json.loads(cpu)
    assert (plan["gpus"], plan["is_cpu"]) == (1, True)
    assert plan["gpu_memory_gib"] > 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "8", "--gpu", "cpu"], "--gpus 8 and --gpu cpu are mutually exclusive."),
        (["--gpus", "0", "--gpu", "h100"], "--gpus 0 and --gpu h100 are mutually exclusive."),
        (
            [],
            "Name the machine: --gpus 8 (of 80 GiB), --gpu rtx4090 (one card) or --gpu cpu.",
        ),
        (
            ["--gpus", "8"],
            "Missing option '--gpu-memory-gib', or --gpu with one of h100, h200, a100, rtx4090, "
            "cpu.",
        ),
    ],
)
def test_machines_that_are_not_whole(good_chain, arguments, message):
    run = CliRunner().invoke(cli, ["plan", "chain.yml", *arguments])
    assert run.exit_code == 2
    assert message in run.output


def test_times_have_the_unit_that_fits():
    shown = [table.duration(hours) for hours in (0.0001, 0.001, 0.2, 5.04, 47.9, 100)]
    assert shown == ["under 1 s", "4 s", "12 min", "5.0 h", "47.9 h", "4.2 days"]


def test_the_numbers_shown_explain_the_verdict(good_chain):
    """A GPU that is 0.02 GiB too small: not "8 GiB needed, 8 available"."""
    cpt = next(s for s in plan_chain("chain.yml", NODE).stages if s.stage == "cpt")
    small = Machine(gpus=8, gpu_bytes=(cpt.gpu_gib - 0.02) * GIB)
    (warning,) = next(s for s in plan_chain("chain.yml", small).stages if s.stage == "cpt").warnings
    needed, available = re.match(
        r"([\d.]+) GiB per GPU needed, ([\d.]+) available\.", warning
    ).groups()
    assert float(needed) > float(available)
    assert table._decimal(0.0003) == "0.0003"


def test_the_memory_of_the_process_itself_counts(stages):
    cpt = stages["cpt"]
    assert cpt.process_gib == pytest.approx(1.3)
    assert cpt.gpu_gib == pytest.approx(cpt.states_gib + cpt.activations_gib + cpt.process_gib)


def test_one_card_overnight(monkeypatch):
    """recipes/one_gpu: 32 -> 48 layers of a real small model, within a night and 24 GiB."""
    monkeypatch.chdir(Path(__file__).parents[2])
    for gpu, most in (("rtx4090", 12), ("h100", 4)):
        spec = gpu_specs.preset(gpu)
        machine = Machine(1, spec.memory_gib * GIB, spec.flops)
        plan = plan_chain("recipes/one_gpu/solar.yml", machine)
        assert plan.fits
        assert plan.hours <= most
        assert all((stage.gpu_gib or 0) < 17 for stage in plan.stages)
        assert {stage.layers for stage in plan.stages if stage.layers} == {48}


def test_hours_at_the_rate_of_the_chains_own_run(good_chain):
    def records(seconds: float, **more: int) -> list[dict]:
        return [{"step": n, "time_s": 9 + n * seconds, **more} for n in (1, 2, 5)]

    estimated = plan_chain("chain.yml", NODE)
    cpt = next(stage for stage in estimated.stages if stage.stage == "cpt")
    step_s = cpt.hours * 3600 / cpt.steps
    plan = plan_chain("chain.yml", NODE)
    at_measured_rate(plan, {"cpt": records(3 * step_s), "dpo": records(99, sdpo_step=1)})
    assert plan.measured == pytest.approx(3)
    assert plan.hours == pytest.approx(3 * estimated.hours)
    for metrics in ({}, {"cpt": records(1)[:1]}, {"dpo": records(1, sdpo_step=1)}):
        with pytest.raises(SolarError, match="has logged two steps yet"):
            at_measured_rate(plan_chain("chain.yml", NODE), metrics)
