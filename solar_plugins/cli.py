"""`solar …`, and the same commands as `axolotl solar …`.

Each room keeps its commands in its own ``commands.py``, which imports nothing heavier than click.
"""

from __future__ import annotations

import sys

import click

from solar_plugins import __version__
from solar_plugins.errors import SolarError


class OneLineErrors(click.Group):
    """A group whose commands report a `SolarError` or an OS error as one line, exit status 1."""

    def invoke(self, context: click.Context):
        try:
            return super().invoke(context)
        except SolarError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="solar")
def cli() -> None:
    """Depth up-scaling, FLAN filtering, stepwise DPO and merging: SOLAR 10.7B, runnable.

    Start with `solar run recipes/tiny/solar.yml` (a laptop, minutes) and
    `solar plan recipes/solar.yml --gpus 8 --gpu-memory-gib 80` (what the real one takes).
    """


def main() -> None:
    sys.exit(cli())


if __name__ == "__main__":
    main()
