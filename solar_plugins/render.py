"""Pages, pictures, texts and scripts from the Jinja templates of a room."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup


@cache
def _environment(folder: Path, escapes: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=escapes,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(room: str, template: str, **context: object) -> str:
    """What ``templates/<template>.j2`` of a room makes of `context`.

    Values are escaped in HTML and SVG.

    Args:
        room: The module that asks, as its ``__file__``.
    """
    escapes = template.endswith((".html", ".svg"))
    environment = _environment(Path(room).parent / "templates", escapes)
    text = environment.get_template(f"{template}.j2").render(context)
    return Markup(text) if escapes else text
