"""A chain of every kind of stage for exporting, and one that runs in seconds."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from solar_plugins.cli import cli

CHAIN = """\
name: all kinds
base_model: org/base
output_dir: ./run
stages:
  world: {data: world.yml}
  cpt: {train: cpt.yml, after: world}
  sft_a: {train: cpt.yml, from: cpt}
  sft_b: {train: cpt.yml, from: cpt}
  mix: {merge: mix.yml, from: [sft_a, sft_b]}
  h6: {evaluate: h6.yml, from: mix}
  table_9: {data: table_9.yml, after: [cpt, mix]}
"""

WORLD = """\
generator: miniature_world
seed: 1
pretrain_pages: 20
continued_pages: 20
held_out_pages: 5
alpaca_rows: 20
orca_rows: 20
math_rows: 20
easy_pairs: 10
hard_pairs: 10
math_pairs: 10
hidden_size: 32
intermediate_size: 64
num_hidden_layers: 2
num_attention_heads: 2
"""

NEEDS = {
    "world": [],
    "cpt": ["world"],
    "sft_a": ["cpt"],
    "sft_b": ["cpt"],
    "mix": ["sft_a", "sft_b"],
    "h6": ["mix"],
    "table_9": ["cpt", "mix"],
}


def write(folder: Path) -> None:
    """`CHAIN` as ``all.yml`` with files for its stages, and ``two.yml``, two worlds in a row."""
    (folder / "all.yml").write_text(CHAIN, encoding="utf-8")
    (folder / "world.yml").write_text(WORLD, encoding="utf-8")
    test = "generator: contamination_test\nmodel: ./run/mix\nreference: ./run/cpt\n"
    (folder / "table_9.yml").write_text(test, encoding="utf-8")
    for name in ("cpt", "mix", "h6"):
        (folder / f"{name}.yml").write_text(f"name: {name}\n", encoding="utf-8")
    (folder / "two.yml").write_text(
        "name: two\nbase_model: ./run/first/base\noutput_dir: ./run\nstages:\n"
        "  first: {data: world.yml}\n  second: {data: world.yml, after: first}\n",
        encoding="utf-8",
    )


def export(*arguments: str) -> list[Path]:
    """``solar export`` with `arguments`; the files that it names."""
    result = CliRunner().invoke(cli, ["export", *arguments])
    assert result.exit_code == 0, result.output
    return [Path(line) for line in result.stdout.splitlines()]
