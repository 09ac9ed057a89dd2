"""What is wrong, in one line."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable


class SolarError(ValueError):
    """A fault of the input or of a stage, in one line.

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
    own, and a fault in a recipe should read like one.
    """
    previous = sys.excepthook
    if getattr(previous, "one_line", False):
        return

    def hook(kind, error, traceback):
        if isinstance(error, SolarError):
            print(f"error: {error}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    hook.one_line = True
    sys.excepthook = hook
