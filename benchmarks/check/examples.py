"""What `solar check` says of recipes and merge configs that others have published.

    git clone https://github.com/axolotl-ai-cloud/axolotl && cd axolotl
    python …/benchmarks/check/examples.py examples [--out …/benchmarks/check/examples]

Prints every finding and note, by kind, so that false ones are seen. Every unknown key of a recipe
is looked for in what `validate_config` makes of the file: a key that comes through would be a false
finding. Other findings are counted; those that Axolotl itself refuses are true by definition.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from axolotl.integrations.base import PluginManager
from axolotl.utils.config import prepare_plugins, validate_config
from axolotl.utils.dict import DictDefault

from solar_plugins import atomic
from solar_plugins.check import axolotl_rules, check_files, kind_of
from solar_plugins.quiet import quiet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="of YAML files; run where their paths count from")
    parser.add_argument("--out", default=str(Path(__file__).with_suffix("")))
    arguments = parser.parse_args()
    files = sorted(Path(arguments.folder).rglob("*.y*ml"))
    every = sorted(check_files(files), key=lambda finding: (finding.is_note, finding.kind))
    for finding in every:
        print(f"{'note, ' if finding.is_note else ''}{finding.kind}: {finding.text}")
    found = [finding for finding in every if not finding.is_note]
    kinds = Counter(finding.kind for finding in found)
    is_recipe = {file: kind_of(_read(file)) == "train" for file in {f.file for f in found}}
    unknown = [f for f in found if f.kind == "unknown-key" and is_recipe[f.file]]
    verdicts = Counter(_verdict(finding) for finding in unknown)
    result = {
        "files": len(files),
        "files_without_a_finding": len(files) - len({finding.file for finding in found}),
        "findings": dict(kinds.most_common()),
        "notes": len(every) - len(found),
        "unknown_keys": dict(verdicts),
        "kept_by_axolotl": [f.text for f in unknown if _verdict(f) == "kept by Axolotl"],
    }
    atomic.write_json(f"{arguments.out}.json", result)
    print(result)


def _read(file: str) -> Any:
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def _verdict(finding: Any) -> str:
    cfg = DictDefault(_read(finding.file))
    manager = PluginManager.get_instance()
    manager.plugins.clear()
    try:
        with quiet():
            prepare_plugins(cfg)
            made = validate_config(
                cfg,
                capabilities=axolotl_rules.CAPABILITIES,
                env_capabilities=axolotl_rules.ENV_CAPABILITIES,
            )
    except Exception:  # whatever it raises, Axolotl does not run this file
        return "file refused by Axolotl"
    for part in re.findall(r"[^.\[\]]+", finding.path):
        made = made[int(part)] if isinstance(made, list) else (made or {}).get(part)
    return "dropped by Axolotl" if made is None else "kept by Axolotl"


if __name__ == "__main__":
    main()
