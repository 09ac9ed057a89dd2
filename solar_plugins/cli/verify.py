"""`solar verify`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from solar_plugins.cli.unpack import ALLOW


@click.command("verify")
@click.argument("source", metavar="PACK|DIR")
@click.option("--rerun", is_flag=True, help="Run the tiny chain and compare its weights.")
@click.option("--json", "as_json", is_flag=True, help="Print the differences as JSON.")
@ALLOW
def verify_command(source: str, rerun: bool, as_json: bool, permissions: tuple[str, ...]) -> None:
    """Verify a PACK or the folder of an unpacked pack against its lock file.

    Compares files, the digests of local models and datasets, and the weights of a run if there is
    one; those of the Hub are read at the lock's commits. Missing local inputs and other tool
    versions are reported as notes.

    \b
    solar verify their.solar.zip
    solar verify theirs --rerun

    Exit status: 0 matches the lock file, 1 something differs.
    """
    import tempfile

    from solar_plugins.sharing import unpack, verify
    from solar_plugins.sharing.fetch import read_source
    from solar_plugins.sharing.trust.names import printable

    folder = Path(source) if Path(source).is_dir() else None
    opened = unpack.open_folder(folder) if folder else unpack.open_pack(read_source(source), source)
    found = list(verify.against_lock(opened, folder))
    refused = opened.refused(permissions)
    found += [verify.LockDifference(f"{risk.text} {risk.permission}") for risk in refused]
    if rerun and not refused:
        with tempfile.TemporaryDirectory() as place:
            if folder is None:
                folder = Path(place) / "pack"
                unpack.write_folder(opened, folder, permissions)
            found += verify.rerun(opened, folder)
    wrong = [difference for difference in found if difference.matters]
    if as_json:
        lines = [{"what": d.what, "matters": d.matters} for d in found]
        click.echo(json.dumps(lines, indent=2))
    else:
        for difference in found:
            what = printable(difference.what, 400)
            click.echo(what if difference.matters else f"note: {what}")
        verdict = f"{len(wrong)} differences" if wrong else "as its lock says"
        click.echo(f"{source}: {len(opened.files)} files, {verdict}", err=True)
    sys.exit(1 if wrong else 0)
