"""Pages, pictures and Markdown from Jinja templates."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


@cache
def _environment(folder: Path, escapes: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=escapes,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: Path, **context: object) -> str:
    """What the file `template` makes of `context`; in HTML and SVG, values are escaped."""
    escapes = not template.name.endswith(".md.j2")
    text = _environment(template.parent, escapes).get_template(template.name).render(context)
    return Markup(text) if escapes else text
