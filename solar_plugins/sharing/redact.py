"""Secrets and the paths of one's own machine: found in what is to be shared.

What a person wrote (recipes, chains, templates) is not changed behind their back: a secret there
ends `solar pack`. What a run wrote (results, audit, report) is shared with the secret blacked out.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import yaml

_PATTERNS: dict[str, list[str]] = yaml.safe_load(
    Path(__file__).with_name("secrets.yml").read_text(encoding="utf-8")
)
_SECRET = {name: re.compile("|".join(patterns)) for name, patterns in _PATTERNS.items()}
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASS|PAT|CREDENTIALS?|KEY|AUTH)(?:_|$)|PASSW|API_?KEY", re.IGNORECASE
)
_SHORTEST_VALUE = 8
_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")  # by JSON
_FORCED_END = re.compile(r"[\n\r\t\"'`<>|*?\0]|\\(?!u[0-9a-f]{4})")
"""What ends a path in a text, whatever its folder holds."""
_END = re.compile(r"[\s,;:()\[\]{}&#=!]|\.?$")
"""Where a path in a text may end, or go on with a name that has such a character."""
_BEFORE = (r"(?<![\w/.~-])", r"(?<=file://)", r"(?<=[^\w/.-]-\w)", r"(?<=^-\w)", r"(?<=\\[nrt])")
_START = re.compile(rf"({'|'.join(_BEFORE)}|(?<=\\[nrt]-\w))/(?=[^\s/])", re.MULTILINE)
BLACKED = "[redacted]"


@dataclass(frozen=True)
class Secret:
    """A secret in a text: what it is and where; never the secret itself."""

    what: str
    line: int
    start: int
    end: int


def secrets_in(text: str, environment: Mapping[str, str] | None = None) -> list[Secret]:
    """Every secret in `text`, in order, none overlapping another.

    Args:
        environment: Variables; those with a name such as ``…_TOKEN`` have secret values. By default
            the process's own, with the token that ``hf auth login`` has stored.
    """
    values = _own_values() if environment is None else _values_of(environment)
    patterns = [*_SECRET.items(), *((what, re.compile(re.escape(value))) for what, value in values)]
    found = [
        (m.start(), -m.end(), what) for what, pattern in patterns for m in pattern.finditer(text)
    ]
    kept: list[Secret] = []
    for start, end, what in sorted(found):
        if not kept or start >= kept[-1].end:
            kept.append(Secret(what, text.count("\n", 0, start) + 1, start, -end))
    return kept


def shareable(text: str, root: Path) -> tuple[str, list[Secret]]:
    """What a run wrote, without its secrets and this machine's paths; and the secrets."""
    secrets = secrets_in(text)
    for secret in reversed(secrets):
        text = text[: secret.start] + BLACKED + text[secret.end :]
    return without_local_paths(text, root), secrets


def without_local_paths(text: str, root: Path) -> str:
    """`text` of a run with this machine's paths taken out.

    Paths below `root` count from there, those below the home folder from ``~``; of any other that
    exists here only the last part stays.
    """
    for prefix, instead in ((str(root), "."), (str(Path.home()), "~")):
        if len(prefix) > 1:
            text = re.sub(rf"{re.escape(prefix)}(?![\w-])", instead, text)
    kept, done = [], 0
    for match in _START.finditer(text):
        start = match.start()
        if start >= done and (end := _end_of_local_path(text, start)):
            kept += [text[done:start], f"<local>/{os.path.basename(text[start:end].rstrip('/'))}"]
            done = end
    return "".join([*kept, text[done:]])


def _end_of_local_path(text: str, start: int) -> int | None:
    """Where the path that begins at `start` ends, if it or its folder exists here.

    A folder's name may hold blanks and the like: the longest that exists is meant.
    """
    forced = _FORCED_END.search(text, start)
    line = text[start : min(forced.start() if forced else len(text), start + 4096)]
    ends = [match.start() for match in _END.finditer(line)]
    for exists in (os.path.lexists, lambda path: os.path.isdir(os.path.dirname(path))):
        for end in reversed(ends):
            path = line[:end].rstrip("/")
            if path.count("/") > 1 and os.path.dirname(path) != "/" and exists(_written(path)):
                return start + end
    return None


def _written(path: str) -> str:
    """A path as it is on disk, from how a page, an address or JSON writes it."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), html.unescape(unquote(path)))


def _own_values() -> list[tuple[str, str]]:
    from huggingface_hub import get_token

    stored = get_token()
    values = list(_values_of(os.environ))
    return [*values, ("the stored Hugging Face token", stored)] if stored else values


def _values_of(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in environment.items():
        secret = _SECRET_VARIABLE.search(name) and len(value) >= _SHORTEST_VALUE
        if secret and not os.path.exists(value):  # SSH_AUTH_SOCK names a socket
            yield f"the value of ${name}", value
