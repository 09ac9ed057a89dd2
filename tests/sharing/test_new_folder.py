"""`solar new`: a folder that checks clean and can be called from anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from solar_plugins import project, shipped
from solar_plugins.check import check_files
from solar_plugins.cli import cli
from solar_plugins.errors import SolarError
from solar_plugins.sharing import new


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli, ["new", "mine"])
    assert result.exit_code == 0, result.output
    return tmp_path / "mine"


def test_every_chain_in_it_is_clean(made: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(made)
    chains = [str(path) for path in Path("recipes").glob("**/solar.yml")]
    assert len(chains) == 4
    wrong = [found.text for found in check_files(chains, with_axolotl=False) if not found.is_note]
    assert wrong == []
    assert not any("solar_plugins/" in file.read_text() for file in Path("recipes").glob("h6.yml"))


def test_it_has_everything_that_was_shipped(made: Path):
    root = shipped.root()
    for name in shipped.FOLDERS:
        for file in shipped.files_in(root / name):
            assert (made / file.relative_to(root)).is_file()
    for room in ("miniature", "evaluation"):
        theirs = shipped.files_in(shipped.PACKAGE / room / "lm_eval_tasks")
        assert {file.name for file in theirs} == {
            file.name for file in (made / "lm_eval_tasks" / room).iterdir()
        }


def test_commands_find_its_root_from_outside(made: Path, tmp_path: Path):
    result = CliRunner().invoke(cli, ["run", "mine/recipes/tiny/solar.yml", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "world          data      run" in result.output
    assert Path.cwd() == made


def test_it_can_be_moved(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moved = tmp_path / "deep" / "down" / "theirs"
    shutil.copytree(made, moved)
    shutil.rmtree(made)
    result = CliRunner().invoke(cli, ["run", str(moved / "recipes/solar.yml"), "--dry-run"])
    assert "world" not in result.output
    assert Path.cwd() == moved


def test_a_filled_folder_is_left_alone(made: Path):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    result = CliRunner().invoke(cli, ["new", str(made)])
    assert result.exit_code == 1
    assert result.output == f"Error: {made}: is not empty. Choose another folder.\n"
    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}


def test_an_installed_wheel_finds_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "site-packages" / "solar_plugins"
    for name in shipped.FOLDERS:
        shutil.copytree(shipped.root() / name, package / "shipped" / name)
    monkeypatch.setattr(shipped, "PACKAGE", package)
    assert shipped.root() == package / "shipped"
    assert "recipes/solar.yml" in new.write_project(tmp_path / "mine")


def test_an_installation_without_recipes_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "solar_plugins")
    with pytest.raises(SolarError, match="installed without its recipes"):
        new.write_project(tmp_path / "mine")


def test_the_wheel_is_told_to_carry_them():
    text = (shipped.PACKAGE.parent / "pyproject.toml").read_text()
    for name in shipped.FOLDERS:
        assert f'{name} = "solar_plugins/shipped/{name}"' in text


def test_files_of_one_project_are_entered_together(made: Path, tmp_path: Path):
    files = ["mine/recipes/cpt.yml", "mine/recipes/solar.yml"]
    (tmp_path / "other.yml").write_text("a: 1\n")
    assert project.enter_all([*files, "other.yml"]) == [*files, "other.yml"]
    assert Path.cwd() == tmp_path
    assert project.enter_all(files) == [Path("recipes/cpt.yml"), Path("recipes/solar.yml")]
    assert Path.cwd() == made
