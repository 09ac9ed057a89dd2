"""`solar …`, and the same commands as `axolotl solar …`.

Each room keeps its commands in its own ``commands.py``, which imports nothing heavier than click
and is itself imported only when its command is asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module

import click

from solar_plugins import __version__
from solar_plugins.errors import SolarError

# In the order in which a newcomer meets them.
COMMANDS = {
    "run": "solar_plugins.chain.run.commands",
    "check": "solar_plugins.chain.check.commands",
    "plan": "solar_plugins.chain.plan.commands",
    "export": "solar_plugins.chain.export.commands",
    "schema": "solar_plugins.chain.schema.commands",
    "report": "solar_plugins.report.commands",
    "new": "solar_plugins.sharing.commands",
    "pack": "solar_plugins.sharing.commands",
    "unpack": "solar_plugins.sharing.commands",
    "verify": "solar_plugins.sharing.commands",
    "card": "solar_plugins.sharing.commands",
    "show": "solar_plugins.sharing.commands",
    "diff": "solar_plugins.sharing.commands",
    "dus": "solar_plugins.depth_up_scaling.commands",
    "filter": "solar_plugins.flan_filter.commands",
    "flan-index": "solar_plugins.flan_filter.commands",
    "difficulty": "solar_plugins.sdpo.commands",
    "evaluate": "solar_plugins.evaluation.commands",
    "contamination": "solar_plugins.evaluation.commands",
    "synth-math": "solar_plugins.synth_math.commands",
}


class Rooms(click.Group):
    """The commands of all rooms; a fault that has one line is shown as that line, exit status 1."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return getattr(import_module(COMMANDS[name]), f"{name.replace('-', '_')}_command")

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except SolarError as error:
            raise click.ClickException(str(error)) from error
        except ModuleNotFoundError as error:
            if not error.name or error.name.startswith("solar_plugins"):
                raise
            raise click.ClickException(
                f"{error.name} is not installed here. Write pip install 'solar-plugins[train]'; "
                "`solar check --quick`, new, show, diff, pack and unpack do without."
            ) from error
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


if __name__ == "__main__":
    main()
