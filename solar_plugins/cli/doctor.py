"""`solar doctor`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import click


@click.command("doctor")
@click.option("--quick", is_flag=True, help="Import no tool: versions, disk, memory and Hub only.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor_command(quick: bool, as_json: bool) -> None:
    """Examine this machine: tools and versions, GPUs, memory, disk, access to the Hub.

    Also tests whether the places where the plugins reach into Axolotl, TRL, transformers, torch
    and lm-eval fit the installed versions. Nothing is changed or downloaded.

    \b
    solar doctor                     # everything; importing the tools takes a while
    solar doctor --quick             # versions, disk, memory and Hub: seconds

    Exit status: 0 everything that a chain needs is here, 1 something is missing or does not fit.
    """
    from solar_plugins.check.doctor import WRONG, examine
    from solar_plugins.quiet import quiet

    found = []
    facts = examine(quick)
    while True:
        with quiet():  # importing the tools prints warnings of their own
            fact = next(facts, None)
        if fact is None:
            break
        found.append(fact)
        if not as_json:
            mark = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}[fact.state]
            advice = f"  {fact.advice}" if fact.advice else ""
            click.echo(f"{mark}  {fact.subject:<18}  {fact.found}{advice}")
    if as_json:
        click.echo(json.dumps([asdict(fact) for fact in found], indent=2))
    sys.exit(1 if any(fact.state == WRONG for fact in found) else 0)
