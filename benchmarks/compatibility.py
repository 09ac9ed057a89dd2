"""Which versions of the tools work, each combination in an environment of its own.

    .venv/bin/python benchmarks/compatibility.py                       # all: 15 minutes and more
    .venv/bin/python benchmarks/compatibility.py "TRL 1.10.0"          # this one anew

For each of `COMBINATIONS` uv makes an environment in a temporary folder (hard links to its cache):
Axolotl, the named versions in place of those that it pins, and this package without [train], by the
steps of `Dockerfile`, which fail where they would replace anything. `compatibility_suite.py` then
runs the checks there, with tiny models and no network: each must work, or stop with one line and a
non-zero exit before data are prepared; else the exit status is 1. For huggingface_hub,
`light_install.py` runs all commands where no Hub is reached.

Versions in `--override` go into every environment: the index of a machine may have one build of
torch only. Writes `compatibility.json` beside this file and the table in README.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import light_install
from environment import environment

from solar_plugins import atomic

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
UV = Path(sys.executable).with_name("uv")
BEGIN, END = "<!-- table of compatibility.py -->\n", "<!-- end of the table -->\n"

SHOWN = ("trl", "transformers")
PLUGINS = ("dus", "filter", "sdpo")
TITLES = {
    "dus": "depth up-scaling",
    "filter": "FLAN filter",
    "sdpo": "stepwise DPO",
    "check": "`solar check --quick`",
    "evaluate": "`solar evaluate`",
    "hub": "commands without a Hub",
}
COMBINATIONS: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "Axolotl 0.16.1": (["axolotl==0.16.1"], (*PLUGINS, "check")),
    "Axolotl 0.17.0": (["axolotl==0.17.0"], (*PLUGINS, "check")),
    "Axolotl 0.18.0": (["axolotl==0.18.0"], (*PLUGINS, "check", "evaluate")),
    "Axolotl 0.19.0": (["axolotl==0.19.0"], (*PLUGINS, "check", "evaluate")),
    "TRL 1.10.0": (["axolotl==0.19.0", "trl==1.10.0"], PLUGINS),
    "lm-eval 0.4.12": (["axolotl==0.19.0", "lm-eval==0.4.12"], ("evaluate",)),
    "lm-eval 0.4.13": (["axolotl==0.19.0", "lm-eval==0.4.13"], ("evaluate",)),
    "huggingface_hub 1": (["huggingface_hub<2"], ("hub",)),
    "huggingface_hub 2": (["huggingface_hub>=2,<3"], ("hub",)),
}
"""What is installed, the Axolotl first and then what replaces its pins; and what is run."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(COMBINATIONS)}")
    parser.add_argument("--override", nargs="+", default=[], metavar="SPEC", help="torch==2.13.0")
    parser.add_argument("--only", nargs="+", choices=TITLES, help="these checks; others stay")
    arguments = parser.parse_args()
    out = HERE / "compatibility.json"
    if not arguments.names:
        atomic.write_json(out, {"rows": {}})
    with tempfile.TemporaryDirectory(prefix="compatibility_") as name:
        subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", name, ROOT], check=True)
        (wheel,) = Path(name).glob("*.whl")
        for combination in arguments.names or COMBINATIONS:
            tools, checks = COMBINATIONS[combination]
            checks = tuple(c for c in checks if c in (arguments.only or checks))
            with tempfile.TemporaryDirectory(dir=name) as folder:
                if checks == ("hub",):
                    row = without_hub(wheel, tools, Path(folder))
                else:
                    tools = [*tools, *arguments.override]
                    row = in_axolotl(tools, checks, Path(folder))
            rows = json.loads(out.read_text())["rows"]
            row["checks"] = rows.get(combination, {"checks": {}})["checks"] | row["checks"]
            print(combination, json.dumps(row, indent=1), flush=True)
            rows[combination] = row
            rows = {name: rows[name] for name in COMBINATIONS if name in rows}
            atomic.write_json(out, {"rows": rows, **environment()})
            write_table(rows)
    faults = [name for name, row in rows.items() if "fault" in states(row)]
    sys.exit(f"faults: {', '.join(faults)}" if faults else 0)


def in_axolotl(tools: list[str], checks: tuple[str, ...], place: Path) -> dict:
    """What `compatibility_suite.py` finds in a fresh environment."""
    venv, overrides, work = place / "venv", place / "overrides.txt", place / "work"
    overrides.write_text("\n".join(tools[1:]))
    work.mkdir()
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    uv = [UV, "pip", "install", "--quiet", "--python", venv / "bin/python"]
    subprocess.run([*uv, "--override", overrides, tools[0], "setuptools"], check=True)
    as_in_the_image(venv, place)
    offline = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "CUDA_VISIBLE_DEVICES": ""}
    own = {"HF_HOME": str(place / "hub"), "XDG_CACHE_HOME": str(place / "cache")}
    suite = [venv / "bin/python", HERE / "compatibility_suite.py", work, *checks]
    env = {**os.environ, **offline, **own, "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)  # the wheel is run, not this tree
    ran = subprocess.run(suite, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        return {"checks": {name: {"is": "fault"} for name in checks}, "versions": {}}
    return json.loads(ran.stdout.splitlines()[-1])


def as_in_the_image(venv: Path, place: Path) -> None:
    """Install this package as `Dockerfile` does in Axolotl's image, into `venv`."""
    steps = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
    for line in re.findall(r"^COPY (.+)$", steps, re.MULTILINE):
        *sources, target = line.split()
        folder = place / target.removeprefix("/tmp/")
        folder.mkdir(parents=True, exist_ok=True)
        for source in (ROOT / name for name in sources):
            if source.is_dir():
                shutil.copytree(source, folder, dirs_exist_ok=True)
            else:
                shutil.copy(source, folder)
    env = {**os.environ, "PATH": f"{venv / 'bin'}:{UV.parent}:{os.environ['PATH']}"}
    for step in re.findall(r"^RUN (.+)$", steps, re.MULTILINE):
        subprocess.run(
            ["sh", "-c", step.replace("/tmp/", f"{place}/")], env=env, check=True, stdout=sys.stderr
        )


def without_hub(wheel: Path, tools: list[str], place: Path) -> dict:
    """What `light_install.py` finds."""
    found = light_install.measured([f"{wheel}[filter]", *tools], sys.executable, place)
    faults = found["tracebacks"] + found["not_tried"]
    state = {"is": "fault" if faults else "works", "faults": faults}
    return {"checks": {"hub": state}, "versions": {"huggingface-hub": found["huggingface_hub"]}}


def states(row: dict) -> list[str]:
    return [check["is"] for check in row["checks"].values()]


def write_table(rows: dict[str, dict]) -> None:
    """The table in README.md, between its markers."""
    lines = [
        "| " + " | ".join(["installed", *TITLES.values()]) + " |",
        "|---" * (len(TITLES) + 1) + "|",
    ]
    for name, row in rows.items():
        first = name.partition(" ")[0].lower()
        beside = [f"{t} {v}" for t, v in row["versions"].items() if t in SHOWN and t != first]
        cells = [row["checks"].get(check, {}).get("is", "") for check in TITLES]
        with_ = f" ({', '.join(beside)})" if name.startswith("Axolotl") else ""
        lines.append("| " + " | ".join([name + with_, *cells]) + " |")
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(lines) + "\n"
    readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
