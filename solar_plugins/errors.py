"""Errors of the input, each one line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from types import TracebackType


class SolarError(ValueError):
    """An error of the input or of a stage, in one line.

    The line names where (file or YAML path), what was found, what is required and what to write.
    It is a ``ValueError`` so that pydantic validators may raise it.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that ``name`` was probably meant to be, as ``" Did you mean 'x'?"`` or ``""``.

    >>> nearest("remove_layer", ["remove_layers"])
    " Did you mean 'remove_layers'?"
    """
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {match[0]!r}?" if match else ""


def show_errors_in_one_line() -> None:
    """Let an uncaught `SolarError` end the process with its line instead of a traceback.

    The plugins call this when they are registered: `axolotl train` has no error handling of its
    own, and an error in a recipe should read like one.
    """
    previous = sys.excepthook
    if previous.__module__ == __name__:
        return  # done by another plugin

    def one_line(
        kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, SolarError):
            print(f"error: {error}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    sys.excepthook = one_line
