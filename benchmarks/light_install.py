"""What works of a wheel that is installed without [train]: every command, with a small input.

    python benchmarks/light_install.py dist/solar_plugins-*.whl [--python python3.13]
        [--with "huggingface_hub<2"]

The wheel goes into a fresh environment in a temporary folder; the commands run there, and find no
Hub. Each must work or end with one line, without a traceback: otherwise the exit status is 1.
Prints JSON: seconds of the install, MB that it added, and of each command the exit status and the
last line. Needs the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMANDS = (
    "new project",
    "check --quick recipes/solar.yml mine.yml",
    "check --quick --fix typo.yml",
    "check mine.yml",
    "check --quick recipes/solar.yml --base-model Qwen/Qwen3-0.6B-Base",
    "plan recipes/tiny/solar.yml --gpu h100",
    "doctor",
    "doctor --quick",
    "export recipes/tiny/solar.yml --to slurm",
    "schema recipe",
    "show short.yml",
    "diff recipes/sft_v3.yml recipes/sft_v4.yml",
    "pack recipes/tiny/solar.yml --out tiny.solar.zip",
    "unpack tiny.solar.zip --list",
    "unpack tiny.solar.zip --to theirs",
    "unpack hf://owner/name",
    "unpack https://localhost:9/their.solar.zip",
    "verify tiny.solar.zip",
    "verify theirs --rerun",
    "new other --from tiny.solar.zip",
    "new third --from hf://owner/name",
    "run recipes/tiny/solar.yml --dry-run",
    "run recipes/tiny/solar.yml",
    "run index.yml",
    "report outputs/tiny",
    "card outputs/tiny",
    "dus base",
    "dus base --plot dus.svg",
    "dus base --out deeper",
    "dus owner/name",
    "filter rows.jsonl kept.jsonl",
    "flan-index --from benchmarks --out flan.index",
    "difficulty recipes/tiny/cand_1.yml",
    "evaluate base",
    "contamination base --reference base",
    "synth-math from-metamathqa",
    "synth-math generate --server http://localhost:9/v1 --model m --math math.jsonl "
    "--math-test math.jsonl --gsm8k math.jsonl --out math",
)
FILES = {
    "mine.yml": "base_model: base\ndatasets:\n  - {path: rows.parquet, type: alpaca}\n"
    "  - {path: rows.jsonl, type: completion, field: prompt}\nmicro_batch_size: 1\n"
    "learning_rate: 1.0e-5\nnum_epochs: 1\nsequence_len: 64\noutput_dir: ./out\n",
    "typo.yml": "base_model: base\nlearning_rat: 1.0e-5\n",
    "short.yml": "extends: sft_v4\nlearning_rate: 1.0e-5\n",
    "index.yml": "name: index\nbase_model: base\noutput_dir: ./outputs/index\n"
    "stages: {index: {data: recipes/flan_index.yml}}\n",
    "rows.jsonl": '{"prompt": "What is 2 + 2?", "task_name": "cot_gsm8k", "question": "a"}\n' * 3,
    "math.jsonl": '{"question": "What is 2 + 2?", "answer": "4\\n#### 4"}\n',
    "rows.parquet": "PAR1",
    "base/config.json": '{"architectures": ["LlamaForCausalLM"], "model_type": "llama", '
    '"num_hidden_layers": 4, "hidden_size": 8, "vocab_size": 32}',
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--with", dest="more", nargs="+", default=[], metavar="SPEC")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        packages = [str(arguments.wheel.resolve()), *arguments.more]
        result = measured(packages, arguments.python, Path(place))
    print(json.dumps(result, indent=1, ensure_ascii=False))
    sys.exit(1 if result["tracebacks"] or result["not_tried"] else 0)


def measured(packages: list[str], python: str, place: Path) -> dict:
    venv = place / "venv"
    subprocess.run([python, "-m", "venv", venv], check=True)
    before, started = size(venv), time.perf_counter()
    subprocess.run([venv / "bin/python", "-m", "pip", "install", "--quiet", *packages], check=True)
    seconds, added = time.perf_counter() - started, size(venv) - before
    # No Hub, no cache of it, and none of the caller's settings.
    kept = {name: os.environ[name] for name in ("LANG", "SSL_CERT_FILE") if name in os.environ}
    env = {**kept, "PATH": f"{venv}/bin:/usr/bin:/bin", "HOME": str(place)}
    env |= {"HF_ENDPOINT": "http://localhost:9", "HF_HUB_ETAG_TIMEOUT": "1"}
    solar, project = str(venv / "bin/solar"), place / "project"
    hub = "from huggingface_hub import __version__; print(__version__)"
    listed = "from solar_plugins.cli import COMMANDS; print(*COMMANDS)"
    names = run([str(venv / "bin/python"), "-c", listed], place, env).stdout.split()
    found = {}
    for command in [*(f"{name} --help" for name in names), *COMMANDS]:
        there = project if project.is_dir() else place
        started = time.perf_counter()
        ended = run([solar, *command.split()], there, env)
        last = (ended.stderr.strip() or ended.stdout.strip()).splitlines()[-1:]
        found[command] = {
            "exit": ended.returncode,
            "traceback": "Traceback" in ended.stdout + ended.stderr,
            "seconds": round(time.perf_counter() - started, 2),
            "last_line": "".join(last).replace(str(place), "…"),
        }
        if command == "new project":
            for name, text in FILES.items():
                (project / name).parent.mkdir(exist_ok=True)
                (project / name).write_text(text, encoding="utf-8")
    return {
        "python": run([str(venv / "bin/python"), "--version"], place, env).stdout.split()[1],
        "huggingface_hub": run([str(venv / "bin/python"), "-c", hub], place, env).stdout.strip(),
        "install_seconds": round(seconds, 1),
        "install_mb": round(added / 1e6, 1),
        "tracebacks": [name for name, one in found.items() if one["traceback"]],
        "not_tried": sorted(set(names) - {command.split()[0] for command in COMMANDS}),
        "commands": {name: one for name, one in found.items() if not name.endswith("--help")},
    }


def run(command: list[str], folder: Path, env: dict) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )


def size(folder: Path) -> int:
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file())


if __name__ == "__main__":
    main()
