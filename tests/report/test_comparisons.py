"""Models side by side. No torch."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
from small_run import result, stack, write, write_run

from solar_plugins.errors import SolarError
from solar_plugins.report import results
from solar_plugins.report.charts import Dot, dot_chart
from solar_plugins.report.comparisons import BEFORE, comparisons
from solar_plugins.report.run import read_run
from solar_plugins.report.write import to_html, to_markdown


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "run")


@pytest.fixture
def sweep(run_folder):
    """The same run with one more training of cpt.yml, at another depth, and its untrained start."""
    add_training(run_folder, "cpt_m3", "{depth_up_scaling.remove_layers: 3}")
    add_start(run_folder, "dus_m3", stack(run_folder / "base", [0, 5], [3, 8]))
    layers = [*range(5), *range(3, 8)]
    write_up_scaling(run_folder, "cpt_m3", layers, remove_layers=3)
    write_result(run_folder, "dus_m3", loss=1.9)
    write_result(run_folder, "cpt_m3", loss=1.05)
    return run_folder


def add_training(folder, name, changes, source="base"):
    add_stage(folder, name, f"{{train: cpt.yml, from: {source}, set: {changes}}}")
    record = json.loads((folder / ".solar" / "stages" / "cpt.json").read_text())
    write(folder / ".solar" / "stages" / f"{name}.json", {**record, "stage": name})


def add_start(folder, name, config):
    add_stage(folder, name, "{merge: dus.yml, from: base}")
    (folder / ".solar" / "resolved" / f"{name}.yml").write_text(config)


def add_stage(folder, name, stage):
    chain = folder / ".solar" / "chain.yml"
    text = chain.read_text().replace("  h6:\n", f"  {name}: {stage}\n  h6:\n")
    chain.write_text(text.replace("[base, ", f"[base, {name}, "))


def write_up_scaling(folder, name, layers, **facts):
    base = json.loads((folder / "cpt" / "solar" / "depth_up_scaling.json").read_text())
    proof = {**base, "layer_map": layers, "num_hidden_layers": len(layers), **facts}
    write(folder / name / "solar" / "depth_up_scaling.json", proof)
    record = folder / ".solar" / "stages" / f"{name}.json"
    content = json.loads(record.read_text())
    write(record, {**content, "facts": {"num_hidden_layers": len(layers)}})


def write_result(folder, name, loss):
    measured = result("cpt")
    measured["losses"]["mini_loss"]["value"] = loss
    write(folder / "h6" / f"{name}.json", measured)


def pictures(folder):
    """`{caption: SVG}` by the comparison's title."""
    return {
        one.title: {
            figure.caption: ElementTree.fromstring(figure.picture) for figure in one.figures
        }
        for one in comparisons(read_run(folder))
    }


def texts(picture):
    return [node.text for node in picture.iter() if node.tag == "text"]


def hollow(picture):
    return [c.find("title").text for c in picture.iter("circle") if c.get("class") == "hollow"]


def test_h6_of_every_model_with_its_number(run_folder):
    found = texts(pictures(run_folder)["All models"]["H6 with one standard error"])
    for model in ("base", "sft_v3", "instruct"):
        assert model in found
        assert f"{100 * result(model)['h6']:.2f}" in found


def test_a_merge_stands_beside_its_parents(run_folder):
    picture = pictures(run_folder)["All models"]["H6 of each merge, its parents hollow"]
    named = [text for text in texts(picture) if not text.replace(".", "").isdigit()]
    assert named == ["sft_v3_v4", "instruct"]  # dus stacks one model, and merges nothing
    assert hollow(picture) == [
        f"{parent}: {100 * result(parent)['h6']:.2f}"
        for parent in ("sft_v3", "sft_v4", "cand_1", "cand_2")
    ]


def test_one_model_is_no_comparison(run_folder):
    for file in (run_folder / "h6").glob("*.json"):
        if file.stem != "base":
            file.unlink()
    assert comparisons(read_run(run_folder)) == []


def test_trainings_that_differ_in_nothing_are_no_family(run_folder):
    assert list(pictures(run_folder)) == ["All models"]


def test_a_sweep_is_drawn_against_what_varies(sweep):
    title = "cpt.yml with another remove_layers"
    figures = pictures(sweep)[title]
    picture = figures["Held-out loss, bits per byte"]
    below = [text.text for text in picture.iter("text") if text.get("text-anchor") == "middle"]
    assert below == ["2", "3 back", "3", "1 back"]  # 2 is the default, which the chain leaves out
    told = [node.text for node in picture.iter("title")]
    assert f"{BEFORE}: 2.87" in told
    assert f"{BEFORE}: 1.9" in told
    (other,) = [one for one in comparisons(read_run(sweep)) if one.title == title]
    assert other.grid.rows[0][:4] == ["cpt", "2", "12", "3 back"]
    assert other.grid.rows[1][:4] == ["cpt_m3", "3", "10", "1 back"]
    assert [row[-1] for row in other.grid.rows] == ["2.8700 -> 1.0200", "1.9000 -> 1.0500"]
    assert "| cpt_m3 | 3 | 10 | 1 back |" in to_markdown(read_run(sweep))
    assert "3 back" in to_html(read_run(sweep))


def test_a_training_that_was_not_scored_has_no_number(sweep):
    (sweep / "h6" / "cpt_m3.json").unlink()
    (family,) = [one for one in comparisons(read_run(sweep)) if one.grid]
    assert family.grid.rows[1][-1] == "1.9000 -> not run"
    for figure in family.figures:
        assert "cpt_m3" not in texts(ElementTree.fromstring(figure.picture))


def test_silent_layers_have_a_start_of_their_own(run_folder):
    add_training(run_folder, "cpt_identity", "{depth_up_scaling.init: identity}")
    whole = json.loads((run_folder / "cpt" / "solar" / "depth_up_scaling.json").read_text())
    write_up_scaling(run_folder, "cpt_identity", whole["layer_map"], init="identity")
    write_result(run_folder, "cpt_identity", loss=1.0)

    def started():
        return {found.stage: found.up_scaled for found in results.up_scalings(read_run(run_folder))}

    assert started() == {"cpt": ("dus", 2.87), "cpt_identity": None}  # not that of the copies
    add_start(run_folder, "dus_identity", stack(run_folder / "base", [0, 6], [2, 8], scale="0.0"))
    write_result(run_folder, "dus_identity", loss=1.21)
    assert started()["cpt_identity"] == ("dus_identity", 1.21)
    figures = pictures(run_folder)["cpt.yml with another init"]
    picture = figures["Held-out loss, bits per byte, before the training hollow"]
    assert hollow(picture) == [
        "base: 1.2100",
        "dus: 2.8700",
        "base: 1.2100",
        "dus_identity: 1.2100",
    ]


def test_the_same_training_of_other_models(run_folder):
    """Preference trainings are drawn by accuracy and distance; what varies is the start."""
    add_stage(run_folder, "cand_1_v4", "{train: cand_1.yml, from: sft_v4}")
    write_result(run_folder, "cand_1_v4", loss=1.0)
    metrics = run_folder / ".solar" / "metrics"
    (metrics / "cand_1_v4.jsonl").write_text((metrics / "cand_1.jsonl").read_text())
    figures = pictures(run_folder)["cand_1.yml with another start"]
    assert hollow(figures["H6 with one standard error, before the training hollow"]) == [
        f"{source}: {100 * result(source)['h6']:.2f}" for source in ("sft_v3", "sft_v4")
    ]
    lines = figures["Training: reward accuracy"].findall("polyline")
    colors = [line.get("class") for line in lines]  # two sDPO steps each
    assert colors == [*["line series-0"] * 2, *["line series-1"] * 2]
    assert "Training: loss" not in figures


def test_equal_values_and_no_errors_can_be_drawn():
    picture = ElementTree.fromstring(dot_chart("same", [Dot("a<b", 3.0), Dot("c", 3.0, 0.0)]))
    assert "a<b" in texts(picture)


def test_what_was_measured_of_the_base_is_drawn(run_folder):
    """`solar dus BASE --measure TEXT --json > RUN/measured_stacks.json`."""
    stacks = [
        {"name": "base", "num_hidden_layers": 8, "bits_per_byte": 1.0},
        {"name": "overlap m 2", "num_hidden_layers": 12, "bits_per_byte": 1.25},
        {"name": "interleave every 3", "num_hidden_layers": 0, "bits_per_byte": None},
    ]
    file = run_folder / "measured_stacks.json"
    write(file, {"stacks": stacks, "layer_similarity": [0.5, 0.75]})
    html = to_html(read_run(run_folder))
    assert "Ways to grow the base, before training" in html
    assert "overlap m 2 (12 layers)" in html
    assert "interleave every 3" not in html
    for text in ("not json", "[]", "{}", '{"stacks": [], "layer_similarity": []}'):
        file.write_text(text)
        with pytest.raises(SolarError, match="not what `solar dus BASE --measure TEXT --json`"):
            read_run(run_folder)
