"""A hook of mkdocs: the pages are the READMEs where they lie, and the help of each command.

A link to any other file of the repository leads to that file as it is.
"""

from __future__ import annotations

import logging
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files, InclusionLevel

from solar_plugins.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^)#\s:]+)")

# The package takes the names of its plugins from the registry, which griffe cannot read.
logging.getLogger("mkdocs.plugins.griffe").addFilter(lambda record: "__all__" not in record.msg)


def on_files(files: Files, config: Any) -> Files:
    """The pages of the navigation, and the files that they link to."""
    for file in files.documentation_pages():
        files.remove(file)
    names = [name for entry in config.nav for name in entry.values()]
    wanted = [ROOT / name for name in names if name != "commands.md"]
    linked = [page.parent / link for page in wanted for link in LINK.findall(page.read_text())]
    for path in dict.fromkeys(found.resolve() for found in [*wanted, *linked]):
        if path.is_file():
            uri = path.relative_to(ROOT).as_posix()
            files.append(
                File.generated(
                    config, uri, abs_src_path=str(path), inclusion=InclusionLevel.INCLUDED
                )
            )
    files.append(File.generated(config, "commands.md", content="\n".join(_commands())))
    return files


def _commands() -> list[str]:
    lines = ["# Commands\n", "`axolotl solar …` is the same. Exit status: 0 fine, 1 a finding or a"]
    lines.append("failed stage, 2 wrong usage.\n")
    for name in COMMANDS:
        module = name.replace("-", "_")
        command = getattr(import_module(f"solar_plugins.cli.{module}"), f"{module}_command")
        text = command.get_help(click.Context(command, info_name=f"solar {name}"))
        lines += [f"## solar {name}\n", f"```\n{text}\n```\n"]
    return lines
