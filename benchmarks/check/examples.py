"""What `solar check` says of Axolotl's own examples, and whether Axolotl itself agrees.

    git clone https://github.com/axolotl-ai-cloud/axolotl && cd axolotl
    python …/benchmarks/check/examples.py examples [--out …/benchmarks/check/examples]

Every unknown key is looked for in what `validate_config` makes of the file: a key that comes
through would be a false finding. Other findings are counted by kind; those that Axolotl itself
refuses are true by definition.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from axolotl.integrations.base import PluginManager
from axolotl.utils.config import prepare_plugins, validate_config
from axolotl.utils.dict import DictDefault

from solar_plugins import atomic
from solar_plugins.check import axolotl_rules, check_files
from solar_plugins.quiet import quiet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", help="Axolotl's examples; run in the folder above it")
    parser.add_argument("--out", default=str(Path(__file__).with_suffix("")))
    arguments = parser.parse_args()
    files = sorted(Path(arguments.folder).rglob("*.y*ml"))
    found = [finding for finding in check_files(files) if not finding.is_note]
    kinds = Counter(finding.kind for finding in found)
    unknown = [finding for finding in found if finding.kind == "unknown-key"]
    verdicts = Counter(_verdict(finding) for finding in unknown)
    result = {
        "files": len(files),
        "files_without_a_finding": len(files) - len({finding.file for finding in found}),
        "findings": dict(kinds.most_common()),
        "unknown_keys": dict(verdicts),
        "kept_by_axolotl": [f.text for f in unknown if _verdict(f) == "kept by Axolotl"],
    }
    atomic.write_json(f"{arguments.out}.json", result)
    print(result)


def _verdict(finding: Any) -> str:
    recipe = yaml.safe_load(Path(finding.file).read_text(encoding="utf-8"))
    cfg = DictDefault(copy.deepcopy(recipe))
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
