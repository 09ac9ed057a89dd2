"""`solar …`, and the same commands as `axolotl solar …`.

One file per command, imported only when its command is called; it imports nothing heavier than
click at import time, and nothing imports it.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from solar_plugins import __version__
from solar_plugins.errors import SolarError, nearest

# In the order in which a newcomer meets them, with what `solar --help` says.
COMMANDS = {
    "run": "Run a chain, and verify each output.",
    "check": "Find errors in recipes, merge configs and chains.",
    "plan": "Estimate memory, disk and hours of a chain.",
    "doctor": "Examine this machine: tools, versions, GPUs, Hub.",
    "export": "Write a chain as SLURM, SkyPilot or shell jobs.",
    "schema": "Print the JSON schemas for editors.",
    "report": "Write a run's tables and plots.",
    "new": "Create a folder with the recipes, ready to run.",
    "pack": "Write one file to share: recipes, lock, results.",
    "unpack": "Open a shared pack without trusting it.",
    "verify": "Verify a pack or folder against its lock file.",
    "card": "Write the model cards of a run.",
    "show": "Print a recipe with `extends:` resolved.",
    "diff": "Compare two recipes by effect, not by text.",
    "dus": "Up-scale a base: MergeKit config, checkpoint, plot.",
    "filter": "Remove rows of benchmark-derived FLAN tasks.",
    "flan-index": "Build the FLAN filter's index.",
    "difficulty": "Measure how hard preference data are for a model.",
    "evaluate": "Score a model on the six benchmarks of H6.",
    "contamination": "Test whether a model has seen the test items.",
    "synth-math": "Make the two math sets that are not public.",
}


class Rooms(click.Group):
    """The commands, each imported when called; a `SolarError` ends in one line, status 1."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        return getattr(import_module(f"solar_plugins.cli.{module}"), f"{module}_command")

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            context.fail(f"No such command {args[0]!r}.{nearest(args[0], COMMANDS)}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except SolarError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("solar_plugins"):
                raise
            from solar_plugins.installed import is_missing

            raise click.ClickException(
                f"{is_missing(error.name)}; "
                "`solar check --quick`, new, show, diff, pack and unpack work without it."
            ) from error
        except BrokenPipeError:
            raise  # the reader (`| head`) has enough: click ends without a word
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error
        except KeyboardInterrupt:
            raise click.ClickException("stopped; the same command goes on from here") from None


@click.group(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="solar")
def cli() -> None:
    """SOLAR 10.7B, runnable: depth up-scaling, FLAN filtering, stepwise DPO and merging.

    Start with `solar run recipes/tiny/solar.yml` (a laptop, minutes) and
    `solar plan recipes/solar.yml --gpus 8 --gpu-memory-gib 80` (what the real one takes).
    """


def main() -> None:
    sys.exit(cli())
