"""`solar new`: the shipped recipes in a folder of one's own, which can be moved and shared."""

from __future__ import annotations

import shutil
from pathlib import Path

from solar_plugins import atomic, project, shipped
from solar_plugins.sharing.unpack import refuse_filled

_README = """\
# {name}

Recipes of [SOLAR 10.7B](https://arxiv.org/abs/2312.15166), copied by `solar new`; they are yours to
change. Paths in them count from this folder.

```
solar check recipes/solar.yml
solar run recipes/tiny/solar.yml                                # a laptop, minutes
solar plan recipes/solar.yml --gpus 8 --gpu-memory-gib 80       # what the real one takes
solar run recipes/solar.yml                                     # on the node
solar pack recipes/solar.yml                                    # one file to share
```

`recipes/` has the chains and their stages (plain Axolotl files), `mergekit_configs/` the merges,
`lm_eval_tasks/` what the evaluations name.
"""

_IGNORED = "/outputs/\n/data/\nlast_run_prepared/\n"


def write_project(target: Path) -> list[str]:
    """Write the shipped recipes into the new folder `target`, all or none.

    Returns:
        The chains in it, as they are called from there.

    Raises:
        SolarError: `target` is there already, or this installation has no recipes.
    """
    source = shipped.root()
    refuse_filled(target)
    with atomic.new_directory(target) as folder:
        tasks: dict[str, Path] = {}
        for name in shipped.FOLDERS:
            for file in shipped.files_in(source / name):
                place = folder / file.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                text, own = shipped.with_own_tasks(file.read_text(encoding="utf-8"))
                tasks.update(own)
                place.write_text(text, encoding="utf-8")
        for name, tasks_folder in tasks.items():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(tasks_folder, folder / name, ignore=ignore)
        (folder / "README.md").write_text(_README.format(name=target.name), encoding="utf-8")
        (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
        (folder / project.MARKER).write_text(project.MARKER_TEXT, encoding="utf-8")
        return sorted(
            str(file.relative_to(folder))
            for file in folder.glob("recipes/**/*.yml")
            if "\nstages:" in file.read_text(encoding="utf-8")
        )
