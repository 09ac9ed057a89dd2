"""The report of a run folder: all parts, partial runs, failures. No torch."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner
from rich.console import Console
from small_run import MODELS, result, write_run

from solar_plugins.cli.report import report_command
from solar_plugins.errors import SolarError
from solar_plugins.evaluation.paper import row_of_stage
from solar_plugins.report import results, tables
from solar_plugins.report.run import read_run
from solar_plugins.report.tables import Grid, duration, print_results
from solar_plugins.report.write import to_markdown, write_report
from solar_plugins.terminal import print_whole


@pytest.fixture
def run_folder(tmp_path):
    return write_run(tmp_path / "run")


class Page(HTMLParser):
    """Rows of the tables by section id; ids of links to elsewhere; whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.sections: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self.addresses: list[str] = []
        self.section, self.open, self.cell = "", [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.addresses += [values[key] for key in ("src", "href") if key in values]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)
        if tag == "section":
            self.section = values["id"]
        if tag == "tr":
            self.sections.setdefault(self.section, []).append([])
        if tag in ("td", "th"):
            self.cell = []

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.sections[self.section][-1].append(" ".join("".join(self.cell).split()))
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(f"{data} ")
        self.texts[self.section] = self.texts.get(self.section, "") + data


def page_of(folder, paper: bool = True) -> Page:
    html, _ = write_report(folder, paper=paper)
    page = Page(html.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def terminal(folder) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    print_results(read_run(folder), console)
    return console.export_text()


def test_the_page_has_every_part(run_folder):
    page = page_of(run_folder)
    assert list(page.texts)[1:] == [
        "results",
        "comparison",
        "paper",
        "up-scaling",
        "training",
        "preferences",
        "lineage",
        "filter",
        "repeat",
    ]
    assert page.addresses == []  # one file, nothing from elsewhere
    scores = {row[0].split()[0]: row for row in page.sections["results"][1:]}
    assert list(scores) == ["chance", *MODELS]
    measured = result("cand_1")
    cells = scores["cand_1"]
    for cell, task in zip(cells[1:7], measured["tasks"].values(), strict=True):
        assert cell.split()[0] == f"{100 * task['value']:.2f}"
    assert cells[7].split()[0] == f"{100 * measured['h6']:.2f}"
    assert cells[8] == f"{measured['losses']['mini_loss']['value']:.4f}"
    # beside them, the paper's row
    row = row_of_stage("cand_1")
    assert [cell.split()[1] for cell in cells[1:7]] == [f"{score:.2f}" for score in row.scores]
    assert cells[7].split()[1] == "73.73"
    assert "values do not compare" in " ".join(page.texts["results"].split())
    assert "8 layers of base become 12 in cpt" in " ".join(page.texts["up-scaling"].split())
    assert [row[-1] for row in page.sections["up-scaling"]] == ["1.2100", "2.8700", "1.0200"]
    assert [row[:3] for row in page.sections["preferences"][1:]] == [
        ["cand_1", "1", "400"],
        ["cand_1", "2", "300"],
        ["cand_2", "1", "400"],
        ["cand_2", "2", "300"],
    ]
    stages = {row[0].split()[0]: row for row in page.sections["lineage"][1:]}
    assert stages["cpt"][1:] == ["done", "12", "1,000,012", "38 of 40", "33.5 s", "1.55"]
    assert "sft_v3_v4 merge from sft_v3, sft_v4" in stages["sft_v3_v4"][0]
    assert ["orca_like.jsonl", "hellaswag:1.1.0", "40", "hellaswag110"] in page.sections["filter"]
    assert "100 of 600 rows removed" in page.texts["filter"]
    assert "By name only. Rows without a task name are kept" in page.texts["filter"]
    assert "axolotl 0.19.0" in page.texts["repeat"]
    assert "lm_eval 0.4.11" in page.texts["repeat"]


def test_loss_curves_of_every_training(run_folder):
    html = write_report(run_folder)[0].read_text(encoding="utf-8")
    charts = re.findall(r'<svg class="chart"[^>]*aria-label="([^"]*)"', html)
    assert charts == [
        *[f"{stage}: loss" for stage in ("base", "cpt", "sft_v3", "sft_v4")],
        *[
            f"{stage}: {what}"
            for stage in ("cand_1", "cand_2")
            for what in ("loss", "reward accuracy", "rewards")
        ],
    ]


def test_rewards_are_of_their_own_step(run_folder):
    first, second = results.rewards(read_run(run_folder))[:2]
    logs = [
        json.loads(line)
        for line in (run_folder / ".solar" / "metrics" / "cand_1.jsonl").read_text().splitlines()
    ]
    accuracies = [log["rewards/accuracies"] for log in logs if log["sdpo_step"] == 2]
    assert (first.step, second.step) == (1, 2)
    assert second.logs == 20
    assert second.first == pytest.approx(sum(accuracies[:4]) / 4)
    assert second.last == pytest.approx(sum(accuracies[-4:]) / 4)


def test_markdown_has_the_same_numbers(run_folder):
    _, markdown = write_report(run_folder, paper=True)
    text = markdown.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("| instruct |")]
    measured = result("instruct")
    assert f"| {100 * measured['h6']:.2f} |" in lines[0]
    assert "| Merge v1 | paper | 71.16 | 88.01 | 66.14 | 71.71 | 82.08 | 64.90 | 74.00 |" in text
    assert "8 -> 12 layers: the base's [0, 6) then [2, 8)" in text
    assert "  m_sft_v3 --> m_sft_v3_v4" in text
    assert "compare the rows, not the values" in text


def test_the_terminal_table_fits_80_columns(run_folder):
    text = terminal(run_folder)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    row = next(line.split() for line in text.splitlines() if line.strip().startswith("instruct"))
    measured = result("instruct")
    marked = [cell.endswith("*") for cell in row[1:7]]
    above = [
        task["chance"] is not None and task["value"] > task["chance"] + 2 * task["stderr"]
        for task in measured["tasks"].values()
    ]
    assert marked == above
    assert any(above)
    assert not all(above)
    assert row[7] == f"{100 * measured['h6']:.2f}"


def test_a_run_that_has_only_begun(tmp_path):
    states = dict.fromkeys(["cpt", "dus", "sft_v3", "sft_v4", "sft_v3_v4", "cand_1", "cand_2"])
    folder = write_run(
        tmp_path / "run", {**states, "base": "running", "instruct": None, "h6": None}
    )
    page = page_of(folder)
    assert "up-scaling" not in page.sections
    assert "preferences" not in page.sections
    cells = [cell for row in page.sections["results"][2:] for cell in row[1:8]]
    assert len(cells) == 7 * len(MODELS)
    assert all(re.fullmatch(r"not run( \d\d\.\d\d)?", cell) for cell in cells)  # the paper's
    assert "No model is scored yet" in page.texts["results"]
    states = {row[0].split()[0]: row[1] for row in page.sections["lineage"][1:]}
    assert states["world"] == "done"
    assert states["base"] == "running"
    assert states["instruct"] == "not run"
    assert "not run" in terminal(folder)


def test_a_failed_stage_is_shown_with_its_cause_and_nothing_is_html(tmp_path):
    error = "<script>alert(1)</script> & no space left"
    states = {"cand_2": "failed", "instruct": None, "h6": None}
    folder = write_run(tmp_path / "run", states, errors={"cand_2": error})
    html, markdown = write_report(folder)
    text = html.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; no space left" in text
    page = Page(text)
    states = {row[0].split()[0]: row[1] for row in page.sections["lineage"][1:]}
    assert (states["cand_2"], states["cand_1"], states["instruct"]) == ("failed", "done", "not run")
    assert 'class="node failed"' in text
    assert "alert(1)" in terminal(folder)
    assert "<script" not in markdown.read_text(encoding="utf-8")


def test_a_row_whose_run_failed_says_so(run_folder):
    """Its own row in every table, and no number; the models after it were not run."""
    states = {"cand_2": "failed", "instruct": "not run"}
    record = run_folder / ".solar" / "stages" / "cand_2.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "state": "failed"}))
    (run_folder / ".solar" / "stages" / "instruct.json").unlink()
    for model in states:
        (run_folder / "h6" / f"{model}.json").unlink()
    page = page_of(run_folder)
    for section in ("results", "paper"):
        for model, state in states.items():
            rows = [row for row in page.sections[section] if f" {' '.join(row)}".count(f" {model}")]
            assert rows
            for row in rows:
                cells = [cell for cell in row if cell.startswith(state)]
                assert len(cells) == (8 if section == "results" else 7)  # with the loss, without
    lines = [line.split() for line in terminal(run_folder).splitlines()]
    assert ["cand_2", *["failed"] * 8] in lines
    _, markdown = write_report(run_folder, paper=True)
    assert "| | cand_2 |" + " failed |" * 7 in markdown.read_text(encoding="utf-8").replace(
        "|  |", "| |"
    )
    found = {row.model: row for row in results.model_rows(read_run(run_folder))}
    assert (found["cand_2"].h6, found["cand_2"].missing) == (None, "failed")


def test_a_missing_benchmark_is_no_zero(run_folder):
    file = run_folder / "h6" / "instruct.json"
    measured = result("instruct")
    del measured["tasks"]["mini_mmlu"]
    measured["h6"] = None
    file.write_text(json.dumps(measured))
    page = page_of(run_folder)
    row = next(row for row in page.sections["results"] if row[0].startswith("instruct"))
    assert row[3].startswith("not run")
    assert row[7].startswith("not run")
    assert not row[4].startswith("not run")


def test_a_trial_says_so(run_folder):
    for model in MODELS:
        file = run_folder / "h6" / f"{model}.json"
        file.write_text(json.dumps({**result(model), "limit": 5}))
    said = "A small sample, a trial and not a score: mini_arc 200 items,"
    assert said in page_of(run_folder).texts["results"]
    assert said in to_markdown(read_run(run_folder))


def test_public_and_invented_items_are_told_apart(run_folder):
    chain = run_folder / ".solar/chain.yml"
    chain.write_text(chain.read_text() + "  public: {evaluate: h6.yml, from: [cpt]}\n")
    arc = {**result("cpt")["tasks"]["mini_arc"], "value": 0.25, "n": 50}
    (run_folder / "public").mkdir()
    (run_folder / "public/cpt.json").write_text(
        json.dumps({"tasks": {"arc_challenge": arc}, "losses": {}, "limit": None})
    )
    run = read_run(run_folder)
    scores, others = tables.scores_grid(run), tables.others_grid(run)
    assert scores.columns[1:3] == ["ARC", "HellaSwag (invented)"]
    (row,) = (row for row in scores.rows if row[0] == "cpt")
    assert row[1] == "25.00"
    assert ["cpt", "mini_arc"] in [row[:2] for row in others.rows]
    assert scores.notes[-1].endswith("a score: arc_challenge 50 of 1,172.")


def test_the_command(run_folder, tmp_path):
    out = tmp_path / "elsewhere"
    run = CliRunner().invoke(report_command, [str(run_folder), "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.md"]
    assert not (run_folder / "report.html").exists()
    assert "Scores in percent" in run.output
    run = CliRunner().invoke(report_command, [str(run_folder), "--json", "--paper"])
    found = json.loads(run.output)
    assert [row["model"] for row in found["models"]] == MODELS
    assert found["models"][-1]["h6"] == result("instruct")["h6"]
    assert found["models"][-1]["paper"]["h6"] == 74.0
    assert found["stages"]["cpt"] == "done"
    assert found["up_scaling"][0]["up_scaled"] == ["dus", 2.87]
    with pytest.raises(SolarError) as error:
        write_report(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no run here (.solar/chain.yml is missing). "
        "Give the output_dir of a chain that has been run"
    )


def test_durations():
    assert [duration(seconds) for seconds in (4.21, 75, 7260)] == [
        "4.2 s",
        "1 min 15 s",
        "2 h 1 min",
    ]


def test_a_chain_without_evaluation(run_folder):
    chain = run_folder / ".solar" / "chain.yml"
    text = chain.read_text()
    chain.write_text(text[: text.index("  h6:")])
    assert "no scores" in page_of(run_folder).texts["results"]
    text = terminal(run_folder)
    assert "Scores in percent" not in text
    assert "Reward accuracy" in text


@pytest.fixture
def own_benchmark(run_folder):
    """The run with an evaluation that asks for ARC and a task of the author's, and nothing else."""
    (run_folder / ".solar/resolved/h6.yml").write_text("tasks: [arc_challenge, my_quiz]\n")
    for model in MODELS:
        kept = result(model)
        kept["tasks"] = {"arc_challenge": kept["tasks"]["mini_arc"]}
        quiz = {"values": {"acc,none": 0.4321, "acc_stderr,none": 0.01}, "n": 30}
        kept |= {"h6": None, "losses": {}, "other": {"my_quiz": quiz}}
        kept["not_run"] = {"my_other": "no such data"} if model == "cpt" else {}
        (run_folder / "h6" / f"{model}.json").write_text(json.dumps(kept))
    return run_folder


def test_what_was_measured_is_shown_and_what_nobody_asked_for_is_not(own_benchmark):
    page = page_of(own_benchmark, paper=False)
    rows = page.sections["results"]
    assert rows[0] == ["model", "ARC"]
    assert ["instruct", "my_quiz", "acc", "0.4321", "0.0100"] in rows
    text = terminal(own_benchmark)
    markdown = write_report(own_benchmark)[1].read_text(encoding="utf-8")
    for shown in (page.texts["results"], text, markdown):
        assert "my_quiz" in shown
        assert shown.count("not run") == 1  # that of cpt
        assert "MMLU" not in shown
        assert "H6" not in shown
    (own_benchmark / "h6/base.json").unlink()
    assert page_of(own_benchmark, paper=False).sections["results"][2][:2] == ["base", "not run"]


def test_the_papers_tables_have_only_what_was_asked_for(own_benchmark):
    rows = page_of(own_benchmark).sections["paper"]
    assert rows[0] == ["model", "", "ARC"]
    assert ["Cand. 1", "paper", "70.48"] in rows


def test_own_tasks_alone_have_a_table_of_their_own(own_benchmark):
    (own_benchmark / ".solar/resolved/h6.yml").write_text("tasks: my_quiz\n")
    for file in (own_benchmark / "h6").glob("*.json"):
        file.write_text(json.dumps({**json.loads(file.read_text()), "tasks": {}}))
    assert page_of(own_benchmark, paper=False).sections["results"][0] == [
        "model",
        "task",
        "metric",
        "value",
        "±",
    ]
    assert "Scores in percent" not in terminal(own_benchmark)


def test_no_word_of_a_table_is_cut():
    """In a narrow terminal cells break between words; in a pipe each row is one line."""
    name, said = "one_name_that_is_longer_than_a_terminal_of_40", "several words that go on and on"
    grid = Grid("T", ["stage", "what was said of it"], [[name, said]], left=2)
    for width, is_terminal in ((40, True), (70, True), (40, False)):
        file = io.StringIO()
        console = Console(
            width=width,
            file=file,
            force_terminal=is_terminal,
            color_system=None,
            legacy_windows=False,
        )
        print_whole(console, grid.to_rich())
        lines = file.getvalue().splitlines()
        assert any(name in line for line in lines)
        assert set(said.split()) <= set(file.getvalue().split())
        assert any(said in line for line in lines) is not is_terminal
        assert max(map(len, lines)) <= (70 if is_terminal else 90)
        assert console.width == width


def test_two_evaluations_of_a_model_are_joined_and_their_losses_not_mixed(run_folder):
    before = {row.model: row.loss for row in results.model_rows(read_run(run_folder))}
    chain = run_folder / ".solar/chain.yml"
    chain.write_text(chain.read_text() + "  answers: {evaluate: h6.yml, from: [cpt]}\n")
    answers = {"held_out_answers": {"metric": "bits_per_byte", "value": 0.7, "n": 40}}
    (run_folder / "answers").mkdir()
    (run_folder / "answers/cpt.json").write_text(json.dumps({"tasks": {}, "losses": answers}))
    run = read_run(run_folder)
    assert run.results["cpt"]["losses"].keys() == {"mini_loss", "held_out_answers"}
    assert run.results["cpt"]["h6"] is not None
    assert {row.model: row.loss for row in results.model_rows(run)} == before
    row = ["cpt", "held_out_answers", "bits_per_byte", "0.7000", ""]
    assert row in tables.others_grid(run).rows
