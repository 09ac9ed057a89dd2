"""Hostile and broken packs: refused in one line, nothing written, nothing run."""

from __future__ import annotations

import random
import re
import zipfile
from pathlib import Path

import hostile_archives
import hostile_recipes
import pytest
from click.testing import CliRunner, Result
from guard import Guard
from hostile_archives import entry
from hostile_recipes import CANARY
from packs import (
    CHAIN,
    H6,
    LOCK,
    MIX,
    SFT,
    Case,
    changed,
    good_files,
    lock_of,
    pack_of,
    recipe,
    zipped,
)

from solar_plugins import shipped
from solar_plugins.check.tool_schemas import known
from solar_plugins.cli import cli
from solar_plugins.sharing.trust import file_risks, harmless

CORPUS = [*hostile_archives.cases(), *hostile_recipes.cases()]


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


def unpack(pack: bytes, place: Path, guard: Guard, *options: str) -> Result:
    """`solar unpack` in the folder `place`, which must be all that it writes to."""
    file = place / "some.solar.zip"
    file.write_bytes(pack)
    with guard.watching():
        result = CliRunner().invoke(cli, ["unpack", str(file), "--to", str(place / "to"), *options])
    assert guard.started == []
    assert guard.outside(place) == []
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)
    return result


def reasons(result: Result) -> list[str]:
    return [line for line in result.output.splitlines() if line.startswith(("Error:", "refused:"))]


def test_the_corpus_is_large_and_every_case_another():
    assert len(CORPUS) >= 100
    assert len({name for name, _, _ in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: re.sub(r"[^\w ]", "_", case[0])[:40])
def test_refused_in_one_line_with_nothing_written(case: Case, tmp_path: Path, guard: Guard):
    _, pack, word = case
    result = unpack(pack, tmp_path, guard)
    assert result.exit_code == 1
    assert reasons(result)
    assert word in " ".join(reasons(result))
    assert "Traceback" not in result.output
    assert all(line.isprintable() for line in result.output.splitlines())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.solar.zip"]
    assert not Path(CANARY).exists()


def test_the_good_pack_passes(tmp_path: Path, guard: Guard):
    result = unpack(pack_of(good_files()), tmp_path, guard)
    assert result.exit_code == 0, result.output
    written = {
        str(path.relative_to(tmp_path / "to"))
        for path in (tmp_path / "to").rglob("*")
        if path.is_file()
    }
    assert written == {*good_files(), LOCK, ".solar-project"}
    assert "downloads  model owner/base" in result.output
    assert "uploads    nothing" in result.output


def test_what_is_read_is_told_wherever_it_stands(tmp_path: Path, guard: Guard):
    """Addresses, `set:`, data recipes and what a short recipe takes from a shipped one."""
    datasets = "[{path: json, data_files: ['s3://owner/a.jsonl', rows.jsonl], type: alpaca}]"
    stages = "stages:\n  math: {data: math.yml}\n"
    stages += f"  more: {{train: more.yml, set: {{datasets: {datasets}}}}}"
    files = {
        "recipes/shared.yml": CHAIN.replace("stages:", stages),
        "recipes/math.yml": "generator: synth_math\nmath: owner/math\n",
        "recipes/more.yml": "extends: sft_v4\noutput_dir: ./outputs/shared/more\n",
    }
    told = unpack(changed(files), tmp_path, guard, "--list").output
    for line in (
        "downloads  dataset owner/math",
        "downloads  dataset openai/gsm8k",
        "reaches    s3://owner/a.jsonl",
        "needs      rows.jsonl (not in the pack)",
        "runs       the shipped sft_v4, as far as recipes/more.yml does not change it",
    ):
        assert line in told.splitlines()
    assert "dataset json" not in told


def test_long_lineages_circles_and_deep_settings_are_read(tmp_path: Path, guard: Guard):
    deep = ".".join("a" * 400)
    chain = CHAIN.replace("{train: sft.yml}", f"{{train: sft.yml, set: {{{deep}: 1}}}}")
    files = {f"recipes/a{n}.yml": f"extends: ./a{(n + 1) % 900}.yml\n" for n in range(900)}
    files |= {"recipes/own.yml": "extends: ./own.yml\n", "recipes/shared.yml": chain}
    files |= {"recipes/none.yml": "extends: ../../../none.yml\n", "recipes/no.yml": "extends: no\n"}
    told = unpack(changed(files), tmp_path, guard, "--list")
    assert told.exit_code == 0, told.output[-500:]
    assert "downloads  model owner/base" in told.output


def test_a_good_pack_that_was_compressed_passes(tmp_path: Path, guard: Guard):
    files = good_files()
    entries = [(LOCK, lock_of(files)), (entry("recipes/", 0o40755), b""), *files.items()]
    assert unpack(zipped(entries, zipfile.ZIP_DEFLATED), tmp_path, guard).exit_code == 0


def test_one_permission_lets_one_thing_in_one_file_pass(tmp_path: Path, guard: Guard):
    lines = "trust_remote_code: true\nhub_model_id: me/mine\n"
    pack = changed(
        {"recipes/sft.yml": SFT + lines, "recipes/h6.yml": H6 + "trust_remote_code: true\n"}
    )
    allow = ["--allow", "trust_remote_code=recipes/sft.yml", "--allow", "upload=recipes/sft.yml"]
    refused = unpack(pack, tmp_path, guard, *allow)
    assert refused.exit_code == 1
    assert "recipes/h6.yml:4: trust_remote_code: True" in refused.output
    assert "uploads    upload: hub_model_id: me/mine (recipes/sft.yml)" in refused.output
    assert not (tmp_path / "to").exists()
    allow += ["--allow", "trust_remote_code=recipes/h6.yml"]
    passed = unpack(pack, tmp_path, guard, *allow)
    assert passed.exit_code == 0
    assert "runs       trust_remote_code: trust_remote_code: True" in passed.output


@pytest.mark.parametrize(
    ("permission", "line"),
    [
        ("trust_remote_cod=recipes/sft.yml", "Did you mean 'trust_remote_code'?"),
        ("trust_remote_code=recipes/sf.yml", "Did you mean 'recipes/sft.yml'?"),
        ("everything", "no such permission"),
    ],
)
def test_a_permission_must_name_something(permission: str, line: str, tmp_path, guard):
    result = unpack(pack_of(good_files()), tmp_path, guard, "--allow", permission)
    assert result.exit_code == 1
    assert line in result.output


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("a_key_of_tomorrow: true\n", "a_key_of_tomorrow: True"),
        ("a_switch_of_tomorrow: false\n", "a_switch_of_tomorrow: False"),
        ("a_block_of_tomorrow: {seed: 1}\n", "a_block_of_tomorrow: a block"),
        ("trl: {beta: 0.1, tomorrow: x}\n", "trl.tomorrow: x"),
        ("Learning_Rate: 1\n", "Learning_Rate: 1"),
        ("test_datasets: [{path: a/b, tomorrow: x}]\n", "test_datasets[0].tomorrow: x"),
        ("optimizer: tomorrow\n", "optimizer: tomorrow"),
        ("lr_scheduler: a<b\n", "lr_scheduler: a<b"),
        ("overrides_of_model_kwargs: {tomorrow: 1}\n", "overrides_of_model_kwargs.tomorrow: 1"),
        ("model_kwargs: 'dtype=float32,tomorrow=1'\n", "model_kwargs: tomorrow=1"),
    ],
)
def test_what_is_not_known_to_be_harmless_is_shown_and_asked_for(
    lines: str, found: str, tmp_path: Path, guard: Guard
):
    line = SFT.count("\n") + 1
    pack = recipe(lines)
    result = unpack(pack, tmp_path, guard)
    assert result.exit_code == 1
    assert set(reasons(result)) == {
        f"refused: recipes/sft.yml:{line}: {found}: a setting that is not known to be harmless. "
        f"If you have read it and trust it: --allow unknown_setting=recipes/sft.yml"
    }
    allow = ("--allow", "unknown_setting=recipes/sft.yml")
    assert unpack(pack, tmp_path, guard, *allow).exit_code == 0


def test_a_setting_of_a_stage_and_a_key_of_deepspeed_are_asked_for_too(
    tmp_path: Path, guard: Guard
):
    chain = CHAIN.replace("{train: sft.yml}", "{train: sft.yml, set: {trl.tomorrow: 1}}")
    deepspeed = '{"zero_optimization": {"stage": 3, "tomorrow": 1}}'
    pack = changed({"recipes/shared.yml": chain, "recipes/zero3.json": deepspeed})
    shown = unpack(pack, tmp_path, guard).output
    assert "--allow unknown_setting=recipes/shared.yml" in shown
    assert "zero_optimization.tomorrow: 1: a setting that is not known" in shown


def test_our_recipes_ask_for_nothing_although_they_were_edited():
    files = {
        str(path.relative_to(shipped.root())): path.read_bytes() + b"\n"
        for folder in shipped.FOLDERS
        for path in shipped.files_in(shipped.root() / folder)
        if "schema" not in path.parts
    }
    assert len(files) > 50
    assert file_risks.risks_of(files) == []


def test_a_risk_that_is_switched_off_is_not_asked_for(tmp_path: Path, guard: Guard):
    off = recipe("trust_remote_code: false\nuse_wandb: false\nhub_model_id: ''\n")
    assert unpack(off, tmp_path, guard).exit_code == 0


def test_the_harmless_keys_of_axolotl_are_keys_of_axolotl():
    """Each name was looked up; a misspelt one would be a hole for a key of tomorrow."""
    assert set(known("axolotl")["keys"]) >= harmless.AXOLOTL
    assert not {"trainer_cls", "trust_remote_code", "hub_model_id", "vllm"} & harmless.KEYS


def test_list_writes_nothing(tmp_path: Path, guard: Guard):
    assert unpack(pack_of(good_files()), tmp_path, guard, "--list").exit_code == 0
    assert not (tmp_path / "to").exists()


def test_a_filled_place_a_file_and_a_link_are_left_alone(tmp_path: Path, guard: Guard):
    target = tmp_path / "to"
    target.write_text("mine")
    assert "there already" in unpack(pack_of(good_files()), tmp_path, guard).output
    assert target.read_text() == "mine"
    target.unlink()
    (tmp_path / "elsewhere").mkdir()
    target.symlink_to(tmp_path / "elsewhere")
    assert "there already" in unpack(pack_of(good_files()), tmp_path, guard).output
    assert list((tmp_path / "elsewhere").iterdir()) == []
    target.unlink()
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    assert "not empty" in unpack(pack_of(good_files()), tmp_path, guard).output
    assert [path.name for path in target.iterdir()] == ["mine.txt"]


_FRAGMENTS = (
    "!!python/object/apply:os.system ['touch canary']",
    *(
        "&a [*a]",
        "[" * 40,
        "{" * 40,
        "*a",
        "&a x",
        "<<: *a",
        "<<: 3",
        "- - -",
        "? ",
        ": ",
        "'",
        '"',
    ),
    *("../../../x", "/etc/passwd", "${HOME}", "`touch canary`", "{{ ''.__class__ }}", "---", "..."),
    *(
        "0b_",
        "2001-13-45",
        ".inf",
        "1e999",
        "!!int x",
        "%TAG ! x",
        "|9",
        ">-",
        "plugins: [os.system]",
    ),
    *("\x00", "\t", "\u2028", "\ufeff", "\ud83d", "trust_remote_code: true"),
)


def _mutated_yaml(draw: random.Random) -> bytes:
    name, text = draw.choice(
        [
            ("recipes/shared.yml", CHAIN),
            ("recipes/sft.yml", SFT),
            ("recipes/mix.yml", MIX),
            ("recipes/h6.yml", H6),
        ]
    )
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(text) + 1)
        kind = draw.random()
        if kind < 0.5:
            text = text[:at] + draw.choice(_FRAGMENTS) + text[at:]
        elif kind < 0.7:
            text = text[:at] + text[at + draw.randint(1, 20) :]
        elif kind < 0.85:
            lines = text.splitlines(keepends=True)
            draw.shuffle(lines)
            text = "".join(lines)
        else:
            text = text[:at] + chr(draw.randrange(1, 0x3000)) + text[at:]
    files = good_files()
    files[name] = text.encode("utf-8", errors="surrogatepass")
    return pack_of(files)


def _mutated_archive(draw: random.Random) -> bytes:
    data = bytearray(pack_of(good_files()))
    for _ in range(draw.randint(1, 8)):
        at = draw.randrange(len(data))
        # Half of the blows go to the directory, where the structure is.
        if draw.random() < 0.5:
            at = draw.randrange(data.find(b"PK\x01\x02") % len(data), len(data))
        kind = draw.random()
        if kind < 0.6:
            data[at] = draw.randrange(256)
        elif kind < 0.8:
            del data[at : at + draw.randint(1, 30)]
        else:
            data[at:at] = draw.randbytes(draw.randint(1, 30))
        if len(data) < 10:
            break
    return bytes(data)


def _mutated_names(draw: random.Random) -> bytes:
    parts = (
        "..",
        ".",
        "",
        "recipes",
        "RECIPES",
        "sft.yml",
        "/",
        "\\",
        "a",
        "\u0130",
        "con",
        "~",
        " ",
    )
    files = dict(good_files())
    for _ in range(draw.randint(1, 3)):
        name = "/".join(draw.choice(parts) for _ in range(draw.randint(1, 4)))
        files.setdefault(name or "x", b"a: 1")
    entries = [(LOCK, lock_of(files))]
    kinds = (0o100644, 0o100644, 0o120777, 0o040755, 0o020644, 0o010644, 0)
    entries += [(entry(name, draw.choice(kinds)), data) for name, data in files.items()]
    return zipped(entries)


@pytest.mark.parametrize("mutate", [_mutated_yaml, _mutated_archive, _mutated_names])
def test_fuzzed_packs_are_unpacked_whole_or_refused_in_one_line(mutate, tmp_path, guard):
    outcomes = {0: 0, 1: 0}
    for seed in range(150):
        place = tmp_path / str(seed)
        place.mkdir()
        result = unpack(mutate(random.Random(seed)), place, guard)
        assert result.exit_code in outcomes, (seed, result.output)
        outcomes[result.exit_code] += 1
        left = {path.name for path in place.iterdir()}
        if result.exit_code == 1:
            assert reasons(result), (seed, result.output)
            assert left == {"some.solar.zip"}, seed
        else:
            assert left == {"some.solar.zip", "to"}, seed
            assert not any(path.is_symlink() for path in place.rglob("*")), seed
    assert outcomes[1] >= 75  # else the blows hit nothing
    assert not Path(CANARY).exists()
