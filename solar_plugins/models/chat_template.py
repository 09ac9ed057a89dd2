"""What a chat template writes, without loading a tokenizer."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any


def render(template: str, messages: list[dict[str, Any]], **special: Any) -> str:
    """What a chat template writes, as transformers renders it.

    Raises:
        jinja2.TemplateError: and whatever else a template may raise.
    """
    return _compiled(template).render(messages=messages, **special)


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: ""}
    # {% generation %} is transformers' own tag for what the model has to say.
    plain = re.sub(r"{%-?\s*(?:end)?generation\s*-?%}", "", template)
    return environment.from_string(plain)
