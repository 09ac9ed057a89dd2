"""`solar unpack`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import click

ALLOW = click.option(
    "--allow",
    "permissions",
    metavar="KIND=FILE",
    multiple=True,
    help="Allow one kind of setting in one file, for example "
    "trust_remote_code=recipes/sft_v1.yml. May be repeated.",
)


@click.command("unpack")
@click.argument("source", metavar="PACK")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="The folder to create. Default: the pack's name.",
)
@click.option("--list", "list_only", is_flag=True, help="Only list what the pack holds and does.")
@ALLOW
def unpack_command(
    source: str, target: Path | None, list_only: bool, permissions: tuple[str, ...]
) -> None:
    """Unpack a shared recipe without trusting its author.

    PACK is a file, an https address, or hf://OWNER/NAME. The command first lists what the recipes
    download, run and upload. Settings that are known to be harmless pass. All others (code,
    uploads, paths outside the folder, unknown settings) are refused until you allow each with
    --allow KIND=FILE. Nothing in the pack is run. Only the new folder is written, completely or
    not at all.

    \b
    solar unpack their.solar.zip --list
    solar unpack their.solar.zip --to theirs --allow trust_remote_code=recipes/sft_v1.yml
    """
    unpack_pack(source, target, permissions, list_only)


def unpack_pack(
    source: str, target: Path | None, permissions: tuple[str, ...], list_only: bool
) -> None:
    from solar_plugins.sharing import unpack
    from solar_plugins.sharing.fetch import read_source
    from solar_plugins.sharing.trust import archive
    from solar_plugins.sharing.trust.names import printable

    data = read_source(source)
    opened = unpack.open_pack(data, source)
    digest = hashlib.sha256(data).hexdigest()
    click.echo(f"{printable(opened.lock.name)}: {len(opened.files)} files, sha256 {digest}")
    for line in opened.declared.lines():
        click.echo(line)
    refused = opened.refused(permissions)
    for risk in refused:
        click.echo(
            f"refused: {risk.text} If you have read it and trust it: {risk.permission}", err=True
        )
    if list_only:
        return
    if refused:
        click.echo(f"{source}: nothing was unpacked", err=True)
        sys.exit(1)
    if target is None:
        target = Path(Path(source.rstrip("/")).name.removesuffix(archive.SUFFIX).partition("@")[0])
    unpack.write_folder(opened, target, permissions)
    click.echo(f"written: {target}, {len(opened.files)} files")
    click.echo(f"next: solar check {target / opened.lock.chain}")
