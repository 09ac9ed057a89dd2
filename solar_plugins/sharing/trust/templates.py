"""What a Jinja template of a stranger would do, found from its syntax alone; nothing is rendered.

transformers renders chat templates in Jinja's sandbox, lm-eval those of its tasks without one.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 64 << 10
MAX_LOOP = 10_000

_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
"""transformers' own tag around what is trained on; plain Jinja does not know it."""

_FILTERS = "abs capitalize default e first float int join last length list lower max min replace"
_FILTERS += " reverse round string sum title trim upper"
_METHODS = "capitalize endswith find get index items join keys lower lstrip replace rstrip split"
_METHODS += " startswith strip title upper values"


def fault(template: str, sandboxed: bool = True) -> str | None:
    """What is wrong with a template in a few words, or None.

    Args:
        sandboxed: whether Jinja's sandbox will be around it. Without, it may only read its
            variables, with filters and methods that are known to be harmless.
    """
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
    for node in tree.find_all(nodes.Node):
        found = None
        match node:
            case nodes.Import() | nodes.FromImport() | nodes.Include() | nodes.Extends():
                found = "reads another template"
            case nodes.Getattr(attr=name) if name.startswith("_") or name in ("mro", "format_map"):
                found = f".{name} looks inside Python"
            case nodes.Name(name=name) if name.startswith("__"):
                found = f"{name} looks inside Python"
            case nodes.Filter(name="attr"):
                found = "the filter attr looks inside Python"
            case nodes.Const(value=str(value)) if "__" in value and value.strip("_").isidentifier():
                found = f"{value!r} looks inside Python"
            case nodes.Const(value=int(value)) if value > MAX_LOOP:
                found = f"the number {value}, a loop without end"
            case nodes.Filter(name=name) if not sandboxed and name not in _FILTERS.split():
                found = f"the filter {name}, outside a sandbox"
            case nodes.Call(node=nodes.Getattr(attr=name)) if name in _METHODS.split():
                pass
            case nodes.Call() if not sandboxed:
                found = "a call, outside a sandbox"
            case nodes.Getitem(node=nodes.List() | nodes.Tuple()):
                pass
            case nodes.Getitem(arg=nodes.Slice() | nodes.Const(value=int())):
                pass
            case nodes.Getitem(arg=nodes.Const(value=str(key))) if not key.startswith("_"):
                pass
            case nodes.Getitem() if not sandboxed:
                found = "an item by a computed name, outside a sandbox"
        if found:
            return f"line {node.lineno}: {found}"
    return None
