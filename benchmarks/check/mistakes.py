"""How many planted mistakes `solar check` finds, beside Axolotl's and MergeKit's own validation.

The mistakes are those of tests/check/planted_mistakes.py: each is written into one file of a folder
that is good otherwise. Axolotl is asked with `validate_config` (as `axolotl train` does before it
loads anything), as on eight H100; MergeKit with `MergeConfiguration.model_validate`, as
`mergekit-yaml` does. A mistake counts as found by them when they refuse the file, and as hinted at
when they only log a warning that has the key in it.

    python benchmarks/check/mistakes.py [--out benchmarks/check/mistakes]
"""

from __future__ import annotations

import argparse
import copy
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1] / "tests" / "check")]

import planted_files  # noqa: E402
from environment import environment  # noqa: E402
from planted_mistakes import MISTAKES, Mistake, readers_of  # noqa: E402

from solar_plugins import atomic  # noqa: E402
from solar_plugins.check import axolotl_rules, check_files, kind_of  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default=str(HERE / "mistakes"), help="without its ending")
    out = Path(parser.parse_args().out).absolute()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        planted_files.write(Path(folder))
        for name, mistake in MISTAKES.items():
            rows.append({"name": name, "group": mistake.group, **_ask(mistake)})
            print(name, {k: v for k, v in rows[-1].items() if k in ("solar", "tool")})
        os.chdir("/")
    atomic.write_json(out.with_suffix(".json"), {"environment": environment(), "mistakes": rows})
    atomic.write_text(out.with_suffix(".md"), _table(rows))
    print(_table(rows))


def _ask(mistake: Mistake) -> dict[str, Any]:
    file = Path(mistake.file)
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace(mistake.old, mistake.new, 1), encoding="utf-8")
    try:
        reader = readers_of(mistake.file)[0]
        found = [f for f in check_files([reader]) if not f.is_note]
        solar = any(f.path == mistake.path for f in found)
        quick = [f for f in check_files([reader], with_axolotl=False) if not f.is_note]
        tool, says = _tool(Path(reader), mistake)
    finally:
        file.write_text(good, encoding="utf-8")
    return {
        "solar": solar,
        "solar_quick": any(f.path == mistake.path for f in quick),
        "tool": tool,
        "tool_says": says,
    }


def _tool(file: Path, mistake: Mistake) -> tuple[str, str]:
    """``found``, ``hinted`` or ``silent``, and what the tool said."""
    with _warnings() as logged:
        try:
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            if kind_of(content) == "merge" or file.name in ("slerp.yml", "ties.yml", "linear.yml"):
                from mergekit.config import MergeConfiguration

                MergeConfiguration.model_validate(content)
            else:
                _validate_with_axolotl(content)
        except Exception as error:  # whatever a tool raises, it has refused the file
            return "found", f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    key = mistake.path.split(".")[-1].split("[")[0]
    hints = [text for text in logged if key and key in text]
    return ("hinted", hints[0][:200]) if hints else ("silent", "")


def _validate_with_axolotl(content: dict[str, Any]) -> None:
    """As `axolotl.cli.config.load_cfg`: plugins are registered first, one that fails is dropped."""
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.config import prepare_plugins, validate_config
    from axolotl.utils.dict import DictDefault

    manager = PluginManager.get_instance()
    before = manager.plugins.copy()
    cfg = DictDefault(copy.deepcopy(content))
    try:
        prepare_plugins(cfg)
        validate_config(
            cfg,
            capabilities=axolotl_rules.CAPABILITIES,
            env_capabilities=axolotl_rules.ENV_CAPABILITIES,
        )
    finally:
        manager.plugins.clear()
        manager.plugins.update(before)


@contextmanager
def _warnings() -> Iterator[list[str]]:
    logged: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                logged.append(record.getMessage())

    handler = Keep()
    loggers = [logging.getLogger(name) for name in ("", "axolotl", "mergekit")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield logged
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| mistakes | planted | solar check | solar check --quick | Axolotl or MergeKit refuses "
        "| … or warns |",
        "|---|---|---|---|---|---|",
    ]
    groups = list(dict.fromkeys(row["group"] for row in rows))
    for group in [*groups, None]:
        own = [row for row in rows if group in (row["group"], None)]
        counts = [
            sum(row["solar"] for row in own),
            sum(row["solar_quick"] for row in own),
            sum(row["tool"] == "found" for row in own),
            sum(row["tool"] != "silent" for row in own),
        ]
        shown = [f"{n} ({n / len(own):.0%})" if group is None else str(n) for n in counts]
        lines.append(f"| {group or 'all'} | {len(own)} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
