"""`solar pack`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click


@click.command("pack")
@click.argument("chain_file", metavar="CHAIN", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Default: CHAIN.solar.zip.",
)
@click.option(
    "--include",
    metavar="PATH",
    multiple=True,
    help="Also pack this text file or folder, such as small data.",
)
@click.option("--push", metavar="hf://OWNER/NAME", help="Also upload the pack to a Hub repository.")
@click.option("--json", "as_json", is_flag=True, help="Print the list of packed files as JSON.")
def pack_command(
    chain_file: Path, out: Path | None, include: tuple[str, ...], push: str | None, as_json: bool
) -> None:
    """Write one file with everything needed to read, check and reproduce CHAIN.

    A pack contains the chain, its stages' recipes, merge configs, templates and DeepSpeed configs;
    a lock file with the revision or digest of every model and dataset, tool versions, seeds and
    batch sizes; and, after a run, its results, filter audit and report. It never contains weights,
    logs or data. A token or key in a recipe stops the command; in results it is redacted. The same
    content gives the same bytes.

    \b
    solar pack recipes/solar.yml
    solar pack recipes/solar.yml --out shared.solar.zip --push hf://me/my-solar
    """
    from solar_plugins import atomic, project
    from solar_plugins.sharing import fetch, pack
    from solar_plugins.sharing.trust import archive

    out = out or Path(f"{chain_file.stem}{archive.SUFFIX}")
    place = out.absolute()  # before the project's folder is entered
    made, lines = pack.make_pack(project.enter(chain_file), include)
    for risk in made.risks:
        lines.append(f"others have to allow: {risk.text} {risk.permission}")
    for line in lines:
        click.echo(line, err=True)
    data = made.data
    atomic.write_bytes(place, data)
    digest = hashlib.sha256(data).hexdigest()
    if as_json:
        facts = {"file": str(out), "sha256": digest, "bytes": len(data)}
        click.echo(json.dumps({**facts, "files": sorted(made.files)}, indent=2))
    else:
        click.echo(f"written: {out}, {len(made.files)} files, {len(data):,} bytes")
        click.echo(f"sha256:  {digest}")
    if push:
        click.echo(f"uploaded: {fetch.upload(data, out.name, push)}", err=as_json)
