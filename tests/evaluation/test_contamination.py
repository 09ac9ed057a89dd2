"""`solar contamination`: the published test, and that it can tell."""

from __future__ import annotations

import json
import math
import random
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from seen_and_unseen import train_and_save, word_tokenizer, write_benchmarks

from solar_plugins.chain import data_stage
from solar_plugins.check import check_files
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.evaluation import contamination, neighbours
from solar_plugins.evaluation.benchmarks import BY_KEY
from solar_plugins.evaluation.contamination import (
    ContaminationSettings,
    benchmark,
    measure_contamination,
    prefix,
    read_texts,
)

pytestmark = pytest.mark.slow

SMALL = ContaminationSettings(items=6, neighbours=10, batch_size=4)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two miniature benchmarks and three models: two of them alike but for arc's test items."""
    folder = tmp_path_factory.mktemp("contamination")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # models this small lose more by sharing out than they win
    texts = write_benchmarks(folder)
    tokenizer = word_tokenizer([t for one in texts.values() for rows in one.values() for t in rows])
    unseen = [text for key in ("arc", "mmlu") for text in texts[key]["train"]]
    seen = unseen + texts["arc"]["test"]
    train_and_save(folder / "reference", tokenizer, unseen, steps=80, seed=1)
    train_and_save(folder / "clean", tokenizer, unseen, steps=100)
    train_and_save(folder / "contaminated", tokenizer, seen, steps=100)
    yield folder
    torch.set_num_threads(threads)


def places(world, *keys: str) -> dict[str, str]:
    return {key: str(world / key) for key in keys}


def published(model, tokenizer, text: str, others: list[str]) -> float:
    """The item's result as the public code computes it, said again with plain transformers."""
    tokenizer.pad_token = tokenizer.eos_token
    with torch.no_grad():
        ids = torch.tensor(tokenizer.encode(text)).unsqueeze(0)
        item = model(ids, labels=ids).loss.item()
        losses = []
        for start in range(0, len(others), 32):
            batch = tokenizer(
                others[start : start + 32],
                padding=True,
                truncation=True,
                max_length=150,
                return_tensors="pt",
            )
            labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
            logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            each = torch.nn.CrossEntropyLoss(reduction="none")(
                logits[:, :-1].transpose(1, 2), labels[:, 1:]
            )
            losses.append(each.sum(1) / (labels[:, 1:] != -100).sum(1))
        return torch.count_nonzero(torch.cat(losses) < item).item() / len(others)


def test_the_same_as_published_for_fixed_neighbours(world):
    target = neighbours.load(str(world / "clean"), "float32", "cpu")
    reference = neighbours.load(str(world / "reference"), "float32", "cpu")
    texts, _ = read_texts(BY_KEY["arc"], str(world / "arc"), 25)
    results = []
    for number, text in enumerate(texts):
        start, new_tokens = prefix(text)
        assert start.split() == text.split()[: math.ceil(len(text.split()) * 0.4)]
        assert new_tokens == len(text.split()) - len(start.split())
        others = neighbours.sample_neighbours(reference, start, new_tokens, 100, 50, seed=number)
        others = [other for other in others if other.split() != text.split()]
        others += [f"{text} {' '.join(others[:40])}"]  # more than 150 tokens: cut
        assert all(other.startswith(start.split()[0]) for other in others)
        ours = neighbours.share_below(target, text, others, batch_size=32)
        assert ours == published(target.model, target.tokenizer, text, others)
        results.append(ours)
    assert len(set(results)) > 5  # they are not all 0 or 1
    share = sum(one < 0.1 for one in results) / len(results)
    assert contamination.summary(results)["share_below_0_1"] == share


def test_the_items_are_the_published_ones(tmp_path):
    """Columns as on the Hub; the order is that of `random.seed(0)` and `random.shuffle`."""
    targets = {"choices": ["no", "yes"], "labels": [0, 1]}
    rows = {
        "arc": lambda i: {
            "question": f"q {i}",
            "choices": {"text": ["w", "x", "y", "z"], "label": ["A", "B", "C", "D"]},
            "answerKey": "ABCD1E"[i % 6],  # the last two are left out
        },
        "mmlu": lambda i: {"question": f"q {i}", "choices": ["w", "x", "y", "z"], "answer": i % 4},
        "truthfulqa": lambda i: {"question": f"q {i}", "mc1_targets": targets},
        "gsm8k": lambda i: {"question": f"q {i}", "answer": f"so\n#### {i}"},
    }
    expected = {
        "arc": [f"q {i} {'wxyz'[i % 6]}" for i in range(300) if i % 6 < 4],
        "mmlu": [f"q {i} {'wxyz'[i % 4]}" for i in range(300)],
        "truthfulqa": [f"q {i} yes" for i in range(300)],
        "gsm8k": [f"q {i} so\n#### {i}" for i in range(300)],
    }
    for key, make in rows.items():
        file = tmp_path / f"{key}.jsonl"
        file.write_text("".join(json.dumps(make(i)) + "\n" for i in range(300)))
        random.seed(0)
        random.shuffle(expected[key])
        texts, facts = read_texts(BY_KEY[key], str(file), 100)
        assert texts == expected[key][:100]
        assert (facts["rows"], facts["name"]) == (300, str(file))


def test_it_can_tell(world):
    """The same training but for arc's test items; mmlu's neither has seen."""
    settings = ContaminationSettings(items=30, neighbours=30, batch_size=30)
    shares = {}
    for name in ("clean", "contaminated"):
        out = world / "out" / f"{name}.json"
        result = measure_contamination(
            world / name,
            world / "reference",
            out,
            ["arc", "mmlu"],
            places(world, "arc", "mmlu"),
            settings,
        )
        assert json.loads(out.read_text()) == result
        shares[name] = {
            key: entry["share_below_0_1"] for key, entry in result["benchmarks"].items()
        }
        found = contamination.contaminated(result)
        assert found == (["arc"] if name == "contaminated" else [])
    assert shares["contaminated"]["arc"] >= 0.9
    assert shares["clean"]["arc"] < 0.3
    assert shares["clean"]["mmlu"] < 0.3
    assert shares["contaminated"]["mmlu"] < 0.3


def measured(world, folder, name="clean", settings=SMALL):
    folder.mkdir(exist_ok=True)
    out = folder / f"{name}.json"
    keys = ["arc", "gsm8k"]
    given = places(world, *keys)
    return measure_contamination(world / name, world / "reference", out, keys, given, settings)


def test_the_seed_decides(world, tmp_path):
    first = measured(world, tmp_path / "a")
    assert measured(world, tmp_path / "b") == first
    names = [tmp_path / name / "clean.neighbours.jsonl" for name in "ab"]
    assert names[0].read_bytes() == names[1].read_bytes()
    other = measured(
        world, tmp_path / "c", settings=ContaminationSettings(**{**vars(SMALL), "seed": 1})
    )
    lines = [
        file.read_text().splitlines()[1:] for file in (names[0], tmp_path / "c" / names[0].name)
    ]
    assert all(one != two for one, two in zip(*lines, strict=True))
    assert other["settings"] == first["settings"] | {"seed": 1}


@pytest.mark.parametrize("phase", ["sample_neighbours", "share_below"])
def test_a_killed_test_goes_on_with_the_item_it_was_in(world, tmp_path, monkeypatch, phase):
    expected = measured(world, tmp_path / "whole")
    calls = {"sample_neighbours": 0, "share_below": 0}

    def counting(name, real):
        def call(*arguments, **more):
            calls[name] += 1
            if name == phase and calls[name] == 9:
                raise KeyboardInterrupt
            return real(*arguments, **more)

        return call

    for name in calls:
        monkeypatch.setattr(neighbours, name, counting(name, getattr(neighbours, name)))
    with pytest.raises(KeyboardInterrupt):
        measured(world, tmp_path / "killed")
    log = "neighbours" if phase == "sample_neighbours" else "partial"
    with open(tmp_path / "killed" / f"clean.{log}.jsonl", "a") as file:
        file.write('{"item": "gsm8k/5", "val')  # what a kill in the middle of a line leaves
    assert measured(world, tmp_path / "killed") == expected
    # Twelve items; the ninth was begun twice, none was done twice.
    assert calls == {"sample_neighbours": 12, "share_below": 12} | {phase: 13}
    assert sorted(file.name for file in (tmp_path / "killed").iterdir()) == [
        "clean.json",
        "clean.neighbours.jsonl",
    ]


def test_what_belongs_to_another_model_is_not_taken_over(world, tmp_path, monkeypatch):
    calls = []
    real = neighbours.sample_neighbours
    monkeypatch.setattr(
        neighbours, "sample_neighbours", lambda *a, **k: calls.append(1) or real(*a, **k)
    )
    first = measured(world, tmp_path)
    assert measured(world, tmp_path) == first
    assert len(calls) == 12  # the neighbours were there
    more = measured(world, tmp_path, settings=replace(SMALL, items=7))
    assert len(calls) == 14  # one more item of two benchmarks
    assert more["benchmarks"]["arc"]["items"][:6] == first["benchmarks"]["arc"]["items"]
    shutil.copytree(world / "reference", world / "other_reference")
    keys = ["arc", "gsm8k"]
    out = tmp_path / "clean.json"
    measure_contamination(
        world / "clean", world / "other_reference", out, keys, places(world, *keys), SMALL
    )
    assert len(calls) == 26


def test_a_neighbour_that_repeats_the_item_does_not_count(world):
    target = neighbours.load(str(world / "clean"), "float32", "cpu")
    text = "which thing can the plum do? ripen"
    spelled = "which  thing can the plum do ? ripen"  # the same tokens
    assert neighbours.share_below(target, text, [text, spelled] * 20, batch_size=7) == 0


def test_a_tokenizer_without_end_and_pad(world, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(world / "clean", model)
    config = json.loads((model / "tokenizer_config.json").read_text())
    for name in ("eos_token", "pad_token"):
        config.pop(name, None)
    (model / "tokenizer_config.json").write_text(json.dumps(config))
    (model / "special_tokens_map.json").unlink(missing_ok=True)
    loaded = neighbours.load(str(model), "float32", "cpu")
    assert loaded.tokenizer.eos_token_id is loaded.tokenizer.pad_token_id is None
    result = measure_contamination(
        model, model, tmp_path / "out.json", ["mmlu"], places(world, "mmlu"), SMALL
    )
    whole = neighbours.load(str(world / "clean"), "float32", "cpu")
    same = measure_contamination(
        world / "clean", model, tmp_path / "2.json", ["mmlu"], places(world, "mmlu"), SMALL
    )
    assert whole.tokenizer.eos_token_id == 2
    assert result["benchmarks"] == same["benchmarks"]


def solar(*arguments: object):
    return CliRunner().invoke(cli, ["contamination", *map(str, arguments)])


def test_the_command(world, tmp_path):
    options = ["--reference", world / "reference", "--items", 10, "--neighbours", 20]
    options += ["--data", f"arc={world / 'arc'}"]
    out = tmp_path / "seen.json"
    run = solar(world / "contaminated", *options, "--out", out)
    assert run.exit_code == 1, run.output  # a finding
    result = json.loads(out.read_text())
    (arc,) = (line for line in run.output.splitlines() if line.startswith("│ ARC"))
    share = result["benchmarks"]["arc"]["share_below_0_1"]
    assert [cell.strip() for cell in arc.strip("│").split("│")] == [
        "ARC",
        f"{share:.2f}",
        f"{math.sqrt(share * (1 - share) / 10):.2f}",
        "10",
        "0.06",
        "contaminated",
    ]
    assert "MMLU" not in run.output  # nobody asked for it
    options += ["--data", f"truthfulqa={world / 'truthfulqa'}"]
    run = solar(world / "clean", *options, "--json", "--out", tmp_path / "clean.json")
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout) == json.loads((tmp_path / "clean.json").read_text())
    assert list(json.loads(run.stdout)["benchmarks"]) == ["arc", "truthfulqa"]

    more = ["--data", f"mmlu={tmp_path / 'nowhere.jsonl'}", "--out", out]
    run = solar(world / "clean", *options, *more)
    assert "mmlu is not run:" in " ".join(run.output.split())
    (mmlu,) = (line for line in run.output.splitlines() if line.startswith("│ MMLU"))
    assert [cell.strip() for cell in mmlu.strip("│").split("│")][1] == "not run"
    run = solar(world / "clean", *options, *more, "--json")
    assert run.exit_code == 1  # not all of it could be measured
    result = json.loads(run.stdout)
    assert result["not_run"] == {"mmlu": f"{tmp_path / 'nowhere.jsonl'}: no such file or folder"}
    assert list(result["benchmarks"]) == ["arc", "truthfulqa"]


def test_faults(world, tmp_path):
    def line(*arguments: object) -> str:
        run = solar(*arguments, "--out", tmp_path / "out.json")
        assert run.exit_code == 1, run.output
        return run.output.strip().splitlines()[-1].removeprefix("Error: ")

    clean, reference = world / "clean", ["--reference", world / "reference"]
    assert line(tmp_path, *reference) == (
        f"{tmp_path}: no model here (config.json is missing). Give a model's folder"
    )
    assert line(clean, "--reference", "./nowhere") == (
        "./nowhere: no model here (config.json is missing). Give a model's folder"
    )
    assert line(clean, *reference, "--data", "arc") == (
        "--data: 'arc' found. Write BENCHMARK=PLACE, as arc=arc.jsonl"
    )
    assert line(clean, *reference, "--data", f"acr={world / 'arc'}") == (
        "acr: the contamination test knows arc, mmlu, truthfulqa, gsm8k. Did you mean 'arc'?"
    )
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"question": "q"}\n')
    assert line(clean, *reference, "--data", f"mmlu={wrong}") == (
        f"{wrong}: row 1 is not an item of MMLU (KeyError: 'choices'). Its columns are question"
    )
    given = ["--data", f"arc={world / 'arc'}", "--items", 1]
    assert line(clean, "--reference", "nobody/nothing", *given).startswith(
        "nobody/nothing: could not load the model ("
    )
    with pytest.raises(SolarError, match="knows arc"):  # HellaSwag is not in the published test
        benchmark("hellaswag")


def test_a_stage_measures_the_same_and_resumes(world, tmp_path):
    models = {"model": str(world / "contaminated"), "reference": str(world / "reference")}
    recipe = {"generator": "contamination_test", **models, "items": 3, "neighbours": 10}
    arc, gone = places(world, "arc"), {"mmlu": str(tmp_path / "gone.jsonl")}
    parts, out = tmp_path / "parts", tmp_path / "out"
    out.mkdir()
    with pytest.raises(SolarError, match=r"gone\.jsonl"):
        data_stage.generate({**recipe, "benchmarks": {**arc, **gone}}, out, parts)
    assert not any(out.iterdir())  # but the items that were read are kept
    written = (parts / "contamination.neighbours.jsonl").read_bytes()
    facts = data_stage.generate({**recipe, "benchmarks": arc}, out, parts)
    assert not parts.exists()
    assert written
    settings = ContaminationSettings(items=3, neighbours=10)
    direct = measure_contamination(
        *models.values(), tmp_path / "direct.json", ["arc"], arc, settings
    )
    assert facts == {"arc": direct["benchmarks"]["arc"]["share_below_0_1"]}
    assert (
        json.loads((out / "contamination.json").read_text())["benchmarks"] == direct["benchmarks"]
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"benchmarks": {"ark": "x"}}, "ark: the contamination test knows arc, mmlu, truthfulqa"),
        ({"benchmarks": {"arc": 1}}, "1 is not a text. Write benchmarks: {arc: allenai/"),
        ({"reference": None}, "None is not a text. Write reference: ./outputs/solar-10.7b/cpt"),
    ],
)  # fmt: skip
def test_check_reads_its_recipe(tmp_path, change, text):
    recipe = {"generator": "contamination_test", "model": "a/b", "reference": "a/c"}
    file = tmp_path / "table_9.yml"
    file.write_text(json.dumps({**recipe, "benchmarks": {"arc": "allenai/ai2_arc"}, **change}))
    (found,) = check_files([str(file)], with_axolotl=False)
    assert text in found.message
