"""The tiny chain through `solar run`, against the same stages as separate commands, in one run.

    .venv/bin/python benchmarks/chain_overhead.py [--steps 5] [--items 8] [--repeats 1]

What is compared is what a person would do by hand: `axolotl train`, `mergekit-yaml` and one
`lm_eval` per model, each on the very files that `solar run` resolved. Every training is cut to
`--steps` steps and every benchmark to `--items` items, so that the time is that of the tools and
not that of the training; `--steps 0` leaves the chain whole. The miniature world is generated
before, for both, and not counted. The two sides alternate. Prints the
median, the lowest and the highest in seconds, and of the ratio, as JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from environment import environment, spread

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[1]
CHAIN = ROOT / "recipes" / "tiny" / "solar.yml"
DATA_STAGE = "world"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5, help="steps per training; 0: all")
    parser.add_argument("--items", type=int, default=8, help="items per benchmark; 0: all")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()

    chain_s, separate_s, by_kind = [], [], []
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory(prefix="chain_overhead_") as folder:
            through_chain, by_hand = Path(folder) / "chain", Path(folder) / "separate"
            command = _solar_run(through_chain, arguments)
            _timed([*command, "--until", DATA_STAGE])
            shutil.copytree(through_chain / DATA_STAGE, by_hand / DATA_STAGE)
            _rebase_texts(by_hand, through_chain)
            chain_s.append(_timed(command))
            kinds = _separate_commands(through_chain, by_hand)
            separate_s.append(sum(kinds.values()))
            by_kind.append(kinds)

    result = {
        "solar_run_s": spread(chain_s, 1),
        "separate_commands_s": spread(separate_s, 1),
        "ratio": spread([c / s for c, s in zip(chain_s, separate_s, strict=True)]),
        "separate_by_kind_s": {k: round(v, 1) for k, v in by_kind[-1].items()},
        "steps_per_training": arguments.steps or "all",
        "items_per_benchmark": arguments.items or "all",
        "repeats": arguments.repeats,
        **environment(),
    }
    print(json.dumps(result, indent=2))


def _solar_run(output_dir: Path, arguments: argparse.Namespace) -> list[str]:
    command = [str(BIN / "solar"), "run", str(CHAIN), "--set", f"output_dir={output_dir}"]
    for name, stage in yaml.safe_load(CHAIN.read_text())["stages"].items():
        if "train" in stage and arguments.steps:
            command += ["--set", f"{name}.max_steps={arguments.steps}"]
        if "evaluate" in stage and arguments.items:
            command += ["--set", f"{name}.limit={arguments.items}"]
    return command


def _separate_commands(through_chain: Path, by_hand: Path) -> dict[str, float]:
    """Run every stage by its own tool's command; seconds by kind of stage."""
    seconds = {"train": 0.0, "merge": 0.0, "evaluate": 0.0}
    chain = yaml.safe_load((through_chain / ".solar" / "chain.yml").read_text())
    for name, stage in chain["stages"].items():
        if "data" in stage:
            continue
        recipe = by_hand / f"{name}.yml"
        text = (through_chain / ".solar" / "resolved" / f"{name}.yml").read_text()
        recipe.write_text(text.replace(str(through_chain), str(by_hand)))
        if "train" in stage:
            seconds["train"] += _timed([str(BIN / "axolotl"), "train", str(recipe)])
        elif "merge" in stage:
            merge = [str(BIN / "mergekit-yaml"), str(recipe), str(by_hand / name)]
            seconds["merge"] += _timed([*merge, "--clone-tensors"])
        else:
            for source in stage["from"]:
                model = chain["base_model"] if source == "base_model" else by_hand / source
                evaluate = [str(BIN / "lm_eval"), "run", "--config", str(recipe)]
                options = [f"pretrained={model}", "--output_path", str(by_hand / name / source)]
                seconds["evaluate"] += _timed([*evaluate, "--model_args", *options])
    return seconds


def _rebase_texts(folder: Path, old: Path) -> None:
    """Let the copied world name its own paths."""
    for path in folder.rglob("*.yaml"):
        path.write_text(path.read_text().replace(str(old), str(folder)))


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout[-2000:]}"
            f"{done.stderr[-4000:]}"
        )
    print(f"{time.perf_counter() - started:7.1f} s  {' '.join(command[:4])}", file=sys.stderr)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
