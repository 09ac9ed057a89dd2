"""Chat templates: what a Jinja template of a stranger would do, found from its syntax alone.

transformers renders chat templates in Jinja's sandbox. Nothing is rendered here; what a template
that writes messages does not need is named.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 64 << 10
MAX_LOOP = 10_000

_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
"""transformers' own tag around what is trained on; plain Jinja does not know it."""


def fault(template: str) -> str | None:
    """What is wrong with a template in a few words, or None."""
    from jinja2 import TemplateError, nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    if len(template) > MAX_CHARACTERS:
        return f"more than {MAX_CHARACTERS >> 10} KiB of template"
    environment = ImmutableSandboxedEnvironment(
        extensions=["jinja2.ext.loopcontrols", "jinja2.ext.do"]
    )
    try:
        tree = environment.parse(_GENERATION.sub("", template))
    except (TemplateError, RecursionError) as error:
        return f"not a template ({' '.join(str(error).split())})"
    for loaded in tree.find_all((nodes.Import, nodes.FromImport, nodes.Include, nodes.Extends)):
        return f"line {loaded.lineno}: reads another template"
    for attribute in tree.find_all(nodes.Getattr):
        if attribute.attr.startswith("_") or attribute.attr in ("mro", "format_map"):
            return f"line {attribute.lineno}: .{attribute.attr} looks inside Python"
    for variable in tree.find_all(nodes.Name):
        if variable.name.startswith("__"):
            return f"line {variable.lineno}: {variable.name} looks inside Python"
    for used in tree.find_all(nodes.Filter):
        if used.name == "attr":
            return f"line {used.lineno}: the filter attr looks inside Python"
    for node in tree.find_all(nodes.Const):
        value = node.value
        if isinstance(value, str) and "__" in value and value.strip("_").isidentifier():
            return f"line {node.lineno}: {value!r} looks inside Python"
        if isinstance(value, int) and value > MAX_LOOP:
            return f"line {node.lineno}: the number {value}, a loop without end"
    return None
