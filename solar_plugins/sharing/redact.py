"""Secrets and the paths of one's own machine: found in what is to be shared.

What a person wrote (recipes, chains, templates) is not changed behind their back: a secret there
ends `solar pack`. What a run wrote (results, audit, report) is shared with the secret blacked out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_PATTERNS = {
    "a Hugging Face token": r"\b(?:hf|api_org)_[A-Za-z0-9]{20,}\b",
    "an OpenAI or Anthropic key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a Weights & Biases key": r"\bwandb_v\d_[A-Za-z0-9_]{20,}|(?i:wandb[\w. \"':=-]{0,40}?)"
    r"(?<![0-9a-f])[0-9a-f]{40}(?![0-9a-f])|\blocal-[0-9a-f]{40}\b",
    "an AWS key": r"\b(?:AKIA|ASIA|AROA)[0-9A-Z]{16}\b"
    r"|(?i:aws_?secret_?access_?key[\"' ]*[:=][\"' ]*)[A-Za-z0-9/+=]{40}",
    "a GitHub or GitLab token": r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}"
    r"|\bglpat-[\w-]{20,}",
    "a Google or Slack key": r"\bAIza[\w-]{35}|\bxox[abeprs]-[\w-]{10,}|\bya29\.[\w-]{20,}",
    "a private key": r"-----BEGIN (?:[A-Z ]+ )?PRIVATE KEY-----"
    r"(?:[\s\S]*?-----END (?:[A-Z ]+ )?PRIVATE KEY-----)?",
    "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "an address with a password": r"\b[a-z][a-z0-9+.-]*://[^\s/@:'\"]+:[^\s/@'\"]+@",
    "a token in an address": r"(?i:[?&](?:token|access_token|api_?key|sig|signature|secret)=)"
    r"[^\s&'\"<>]{8,}",
    "an authorization header": r"(?i:\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{16,}=*",
    "a password": r"(?i:\b\w*(?:api_?key|secret|passw(?:or)?d|auth_?token|access_?token|hf_?token"
    r"|hub_?token|private_?key)[\"']?\s*[:=]\s*[\"']?)(?!(?:null|none|true|false|your|\$|<|\*)"
    r"[\w\"']*)[^\s\"',#}]{6,}",
}
_SECRET = {name: re.compile(pattern) for name, pattern in _PATTERNS.items()}
_SECRET_VARIABLE = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASS|PAT|CREDENTIALS?|KEY|AUTH)(?:_|$)|PASSW|API_?KEY", re.IGNORECASE
)
_SHORTEST_VALUE = 8
_LOCAL_PATH = re.compile(r"(?<![\w/.~-])(?:/[\w.+@=-]+){2,}/?")
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
    found = [
        Secret(what, 0, match.start(), match.end())
        for what, pattern in _SECRET.items()
        for match in pattern.finditer(text)
    ]
    for what, value in values:
        found += [Secret(what, 0, m.start(), m.end()) for m in re.finditer(re.escape(value), text)]
    kept: list[Secret] = []
    for secret in sorted(found, key=lambda secret: (secret.start, -secret.end)):
        if not kept or secret.start >= kept[-1].end:
            line = text.count("\n", 0, secret.start) + 1
            kept.append(Secret(secret.what, line, secret.start, secret.end))
    return kept


def without_secrets(text: str, secrets: list[Secret]) -> str:
    """`text` with every one of `secrets` replaced by `BLACKED`."""
    for secret in reversed(secrets):
        text = text[: secret.start] + BLACKED + text[secret.end :]
    return text


def without_local_paths(text: str, root: Path) -> str:
    """`text` of a run with this machine's paths taken out.

    Paths below `root` count from there, those below the home folder from ``~``; of any other that
    exists here only the last part stays.
    """
    for prefix, instead in ((str(root), "."), (str(Path.home()), "~")):
        if len(prefix) > 1:
            text = re.sub(rf"{re.escape(prefix)}(?=/|\b)", instead, text)

    def shortened(match: re.Match[str]) -> str:
        path = match[0].rstrip("/")
        exists = os.path.exists(path) or os.path.isdir(os.path.dirname(path))
        return f"<local>/{os.path.basename(path)}" if exists else match[0]

    return _LOCAL_PATH.sub(shortened, text)


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
