"""`solar new`: the shipped recipes in a folder of one's own, which can be moved and shared."""

from __future__ import annotations

import shutil
from pathlib import Path

from solar_plugins import atomic, project, shipped
from solar_plugins.sharing.unpack import refuse_filled

_README = Path(__file__).parent / "templates" / "new_project.md"
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
        for file in (file for name in shipped.FOLDERS for file in shipped.files_in(source / name)):
            place = folder / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            text, own = shipped.with_own_tasks(file.read_text(encoding="utf-8"))
            tasks.update(own)
            place.write_text(text, encoding="utf-8")
        for name, tasks_folder in tasks.items():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(tasks_folder, folder / name, ignore=ignore)
        readme = _README.read_text(encoding="utf-8").format(name=target.name)
        (folder / "README.md").write_text(readme, encoding="utf-8")
        mark_project(folder)
        return sorted(
            str(file.relative_to(folder))
            for file in folder.glob("recipes/**/*.yml")
            if "\nstages:" in file.read_text(encoding="utf-8")
        )


def mark_project(folder: Path) -> None:
    """Let paths count from `folder`, and keep Git from what is made in it."""
    (folder / ".gitignore").write_text(_IGNORED, encoding="utf-8")
    (folder / project.MARKER).write_text(project.MARKER_TEXT, encoding="utf-8")
