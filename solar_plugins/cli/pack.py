"""`solar pack`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import click


@click.command("pack")
@click.argument("chain_file", metavar="CHAIN", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: NAME.solar.zip."
)
@click.option(
    "--include",
    metavar="PATH",
    multiple=True,
    help="Take this text file along, such as small data.",
)
@click.option("--push", metavar="hf://OWNER/NAME", help="Upload it to a Hub repository as well.")
@click.option("--json", "as_json", is_flag=True, help="Print what was packed as JSON.")
def pack_command(
    chain_file: Path, out: Path | None, include: tuple[str, ...], push: str | None, as_json: bool
) -> None:
    """Write one file with everything that is needed to read, check and repeat CHAIN.

    The chain, its stages' files, merge configs, templates and DeepSpeed configs; a lock with the
    revision or digest of every model and dataset, versions, seeds and batch sizes; and, where the
    chain was run, results, the filter's audit and the report. Never weights, logs or data. Tokens
    and keys in recipes end it; those in results are blacked out. The same content gives the same
    bytes.

    \b
    solar pack recipes/solar.yml
    solar pack recipes/solar.yml --out shared.solar.zip --push hf://me/my-solar
    """
    from solar_plugins import project
    from solar_plugins.sharing import fetch, pack
    from solar_plugins.sharing.trust import archive

    out = out or Path(f"{chain_file.stem}{archive.SUFFIX}")
    place = out.absolute()  # before the project's folder is entered
    made = pack.make_pack(project.enter(chain_file), include)
    for line in made.blacked_out:
        click.echo(line, err=True)
    for name, what in made.left_out.items():
        click.echo(f"not packed: {name} ({what}); the lock has its digest", err=True)
    for risk in made.risks:
        click.echo(f"others have to allow: {risk.text} {risk.permission}", err=True)
    pack.write_pack(made, place)
    digest = hashlib.sha256(made.data).hexdigest()
    if as_json:
        facts = {"file": str(out), "sha256": digest, "bytes": len(made.data)}
        click.echo(json.dumps({**facts, "files": sorted(made.files)}, indent=2))
    else:
        click.echo(f"written: {out}, {len(made.files)} files, {len(made.data):,} bytes")
        click.echo(f"sha256:  {digest}")
    if push:
        click.echo(f"uploaded: {fetch.upload(made.data, out.name, push)}", err=as_json)
