"""``solar dus``: the up-scaled base as a MergeKit config, as a checkpoint, as a picture."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from solar_plugins import atomic
from solar_plugins.depth_up_scaling import config_rules
from solar_plugins.depth_up_scaling.args import (
    BLOCK,
    CHOICES,
    DepthUpScalingBlock,
    command_line,
    parse,
)
from solar_plugins.depth_up_scaling.as_llama import changes
from solar_plugins.depth_up_scaling.layer_map import seams
from solar_plugins.depth_up_scaling.mergekit_config import headline, mergekit_config
from solar_plugins.depth_up_scaling.picture import how_far, layer_map_svg
from solar_plugins.depth_up_scaling.published import STACKS
from solar_plugins.errors import SolarError
from solar_plugins.models.base_files import check_out, read_config
from solar_plugins.models.model_config import required_depth

if TYPE_CHECKING:
    from solar_plugins.depth_up_scaling.measure import Measured


def _keys_of_the_block(command: Callable) -> Callable:
    """The options that are keys of the YAML block, in its words."""
    names = {"remove_layers": "M", "target_layers": "S", "every": "P", "times": "K"}
    for key in ("init", *reversed(names), "layout"):
        kind = click.Choice(CHOICES[key]) if key in CHOICES else int
        says = DepthUpScalingBlock.model_fields[key].description
        option = f"--{key.replace('_', '-')}"
        command = click.option(option, type=kind, metavar=names.get(key), help=says)(command)
    return command


@click.command("dus")
@click.argument("base")
@_keys_of_the_block
@click.option(
    "--layer-ranges",
    metavar="RANGES",
    help="Ranges of base layers to stack, as in MergeKit: 0-24,8-32 is the paper's (24 and 32 "
    "not included).",
)
@click.option(
    "--out",
    type=click.Path(),
    metavar="DIR",
    help="Write the up-scaled checkpoint there: safetensors, config, tokenizer, model card.",
)
@click.option(
    "--like",
    type=click.Choice(list(STACKS)),
    help="The stack of a published model, for this base: its block for a recipe, or with --out, "
    "--plot, --measure as if it had been written out.",
)
@click.option(
    "--measure",
    type=click.Path(),
    metavar="TEXT",
    help="Bits per byte on TEXT before training, of the named stack, or of many to choose from. "
    "Loads the base alone.",
)
@click.option("--as-llama", is_flag=True, help="With --out: write a Mistral as the same Llama.")
@click.option(
    "--plot",
    type=click.Path(),
    metavar="FILE.svg",
    help="Draw the layer map; with --measure, what was measured.",
)
@click.option(
    "--trust-remote-code",
    is_flag=True,
    help="With --out: run the Python files that a base may contain.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the layer map as JSON.")
def dus_command(
    base: str,
    out: str | None,
    plot: str | None,
    trust_remote_code: bool,
    as_json: bool,
    layer_ranges: str | None,
    like: str | None,
    measure: str | None,
    as_llama: bool,
    **keys: Any,
) -> None:
    """Up-scale BASE, a folder or a Hub id: print the MergeKit config, write it, or draw it.

    \b
    solar dus mistralai/Mistral-7B-v0.1 --out ./outputs/dus          # the checkpoint
    solar dus mistralai/Mistral-7B-v0.1 --plot dus.svg               # the picture
    solar dus mistralai/Mistral-7B-v0.1 > dus.yml                    # for MergeKit:
    mergekit-yaml dus.yml ./outputs/dus --clone-tensors
    solar dus BASE --measure text.txt                                # what each choice costs
    solar dus BASE --like llama-pro                                  # a published stack

    MergeKit writes a correct model for some families only; --out is correct for every family that
    it does not refuse. The folder appears when it is complete.

    Training needs no written model: with `solar_plugins.DepthUpScalingPlugin` in the recipe, the
    base is up-scaled while it is loaded.
    """
    keys["layer_ranges"] = None if layer_ranges is None else _pairs(layer_ranges)
    named = {key: value for key, value in keys.items() if value not in (None, "copy")}
    if like is not None:
        named = _published(like, named, required_depth(read_config(base), base))
    block = parse(named)
    if plot is not None and not plot.lower().endswith(".svg"):
        raise SolarError(f"--plot: {plot} is drawn as SVG. Name a file that ends in .svg.")
    if measure is not None:
        facts = _measure(base, measure, [named] if named else None, trust_remote_code, as_json)
        if plot is not None:
            from solar_plugins.report.stacks import stacks_svg

            atomic.write_text(plot, stacks_svg(facts))
        return
    if as_llama:
        named["as_llama"] = block.as_llama = True
    if like is not None and not (out or plot or as_json):
        click.echo(_recipe_block(like, named), nl=False)
        return
    if out is None and plot is None and not as_json and (as_llama or block.init != "copy"):
        option = f"--init {block.init}" if block.init != "copy" else "--as-llama"
        raise click.UsageError(f"{option} needs --out: MergeKit copies layers as they are.")
    config = read_config(base)
    facts = _facts(base, config, block)
    if plot is not None:
        _plot(base, facts, plot)
    if out is not None:
        facts |= _write(base, block, out, trust_remote_code, as_json)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    elif out is None and plot is None:
        click.echo(mergekit_config(base, config, block), nl=False)


def _published(like: str, named: dict[str, Any], depth: int) -> dict[str, Any]:
    """The block of a published stack for a base of this depth."""
    stack = STACKS[like]
    if named:
        key = f"--{next(iter(named)).replace('_', '-')}"
        raise click.UsageError(f"--like {like} and {key} both name the stack. Keep one.")
    if depth % stack.divides:
        raise SolarError(
            f"--like: {like} is for bases whose layers are a multiple of {stack.divides}, and this "
            f"one has {depth}. {stack.what} ({stack.source})."
        )
    return stack.block(depth)


def _recipe_block(like: str, block: dict[str, Any]) -> str:
    """The block as a recipe holds it, with its source."""
    stack = STACKS[like]
    body = yaml.safe_dump({BLOCK: block}, sort_keys=False, default_flow_style=None)
    return f"# {stack.what}\n# ({stack.source})\n{body}"


def _measure(
    base: str,
    text: str,
    blocks: Sequence[dict[str, Any]] | None,
    trust_remote_code: bool,
    as_json: bool,
) -> dict[str, Any]:
    """Print the loss of each stack before training, a line as each is measured."""
    from solar_plugins.quiet import quiet

    with quiet():  # libraries warn of what this machine lacks
        from solar_plugins.depth_up_scaling import measure

        found = measure.Measurement(base, text, trust_remote_code)
    wanted = [parse(block) for block in blocks or measure.usual_blocks(found.depth)]
    width = max(len(measure.in_short(block)) for block in wanted)
    own, alike = found.of_base()
    rows = [own]
    if not as_json:
        click.echo(f"{'stack':{width}}  layers  parameters  bits per byte  compute")
        _print_measured(own, own, width)
    for block in wanted:
        rows.append(found.of(block))
        if not as_json:
            _print_measured(rows[-1], own, width)
    stacks = [asdict(row) for row in rows]
    facts = {"text": text, "bytes": found.nbytes, "stacks": stacks, "layer_similarity": alike}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return facts
    least = sorted(range(len(alike)), key=alike.__getitem__, reverse=True)[:3]
    click.echo(
        f"{found.nbytes:,} bytes of {text}; compute: of a training step, beside the base's. Layers "
        "that change their input least (cosine of input and output): "
        + ", ".join(f"{i} ({alike[i]:.3f})" for i in least)
    )
    return facts


def _print_measured(row: Measured, own: Measured, width: int) -> None:
    if row.bits_per_byte is None:
        click.echo(f"{row.name:{width}}  {row.why_not}")
        return
    click.echo(
        f"{row.name:{width}}  {row.num_hidden_layers:6}  {row.parameters / 1e6:9,.1f}M"
        f"  {row.bits_per_byte:13.4f}  {row.parameters / own.parameters:6.2f}x"
    )


def _pairs(text: str) -> list[list[int]]:
    """``0-24,8-32`` as ``[[0, 24], [8, 32]]``."""
    pairs = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)\s*[-:]\s*(\d+)\s*", part)
        if not found:
            raise SolarError(
                f"--layer-ranges: {part.strip()!r} is not a range of layers. Write start-end for "
                "each, e.g. 0-24,8-32."
            )
        pairs.append([int(found[1]), int(found[2])])
    return pairs


def _facts(base: str, config: dict[str, Any], block: DepthUpScalingBlock) -> dict[str, Any]:
    """The up-scaling as far as config.json determines it.

    Raises:
        SolarError: the base cannot be up-scaled like this.
    """
    config_rules.refuse_grown(config, base)
    if config.get("is_encoder_decoder"):
        raise SolarError(
            f"base_model: {base} is an encoder-decoder model ({config.get('model_type')}). "
            "Depth up-scaling is for decoder-only language models; choose one."
        )
    depth = required_depth(config, base)
    layers = block.layer_map(depth)
    return {
        "base": base,
        "num_hidden_layers": len(layers),
        **config_rules.mark(depth, layers, block.init),
        "seams": [[layers[i - 1], layers[i]] for i in seams(layers)],
        "as_llama": block.as_llama and bool(changes(config, base)),
    }


def _plot(base: str, facts: dict[str, Any], file: str) -> None:
    name = Path(base).resolve().name if Path(base).is_dir() else base
    depth = facts["base_num_hidden_layers"]
    svg = layer_map_svg(facts["layer_map"], depth, facts["init"], name)
    atomic.write_text(file, svg)
    met = "; ".join(f"{a} -> {b} ({how_far(a, b)})" for a, b in facts["seams"])
    click.echo(f"{file}: layer map, {met}", err=True)


def _write(
    base: str, block: DepthUpScalingBlock, out: str, trust_remote_code: bool, as_json: bool
) -> dict[str, Any]:
    """Write the checkpoint with a progress bar, after all checks."""
    from solar_plugins.quiet import quiet

    check_out(out, base)
    with quiet():  # libraries warn of what this machine lacks
        from solar_plugins.depth_up_scaling import on_disk

    up_scaling = on_disk.prepare(base, block, trust_remote_code)
    with click.progressbar(
        length=up_scaling.nbytes,
        label=f"{out} ({up_scaling.nbytes / 1e9:.2f} GB)",
        file=sys.stderr,
        hidden=as_json or not sys.stderr.isatty(),
    ) as bar:
        command = command_line(base, block, out)
        warnings = on_disk.write(up_scaling, out, command, progress=bar.update)
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)
    if not as_json:
        click.echo(
            f"{out}: {headline(up_scaling.growth.depth, up_scaling.growth.layer_map)}; "
            f"{up_scaling.parameters:,} parameters, {up_scaling.nbytes / 1e9:.2f} GB"
        )
    return {
        "out": str(out),
        "parameters": up_scaling.parameters,
        "bytes": up_scaling.nbytes,
        "warnings": warnings,
    }
