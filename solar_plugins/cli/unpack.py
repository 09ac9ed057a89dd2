"""`solar unpack`."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from solar_plugins.sharing.unpack import Opened

ALLOW = click.option(
    "--allow",
    "permissions",
    metavar="WHAT=FILE",
    multiple=True,
    help="Let one thing in one file pass, for example trust_remote_code=recipes/sft_v1.yml. "
    "May be given several times.",
)


@click.command("unpack")
@click.argument("source", metavar="PACK")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="The new folder. Default: the pack's name.",
)
@click.option("--list", "list_only", is_flag=True, help="Only say what it holds, needs and does.")
@ALLOW
def unpack_command(
    source: str, target: Path | None, list_only: bool, permissions: tuple[str, ...]
) -> None:
    """Unpack a recipe that somebody shared, without trusting them.

    PACK is a file, an https address, or hf://OWNER/NAME. First it is said what the recipes will
    download, run and upload. Anything that would run code, send something away, or read and write
    outside the folder is refused until you allow it by name. Nothing of it is run, and nothing is
    written but the new folder, which appears whole or not at all.

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

    data = read_source(source)
    opened = unpack.open_pack(data, source)
    _show(opened, data)
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
    click.echo(f"next: solar check {target / opened.lock['chain']}")


def _show(opened: Opened, data: bytes) -> None:
    from solar_plugins.sharing.trust.names import printable

    digest = hashlib.sha256(data).hexdigest()
    click.echo(f"{printable(opened.lock['name'])}: {len(opened.files)} files, sha256 {digest}")
    for line in opened.declared.lines():
        click.echo(line)
