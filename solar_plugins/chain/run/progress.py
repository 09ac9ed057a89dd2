"""What `solar run` shows: a live table of the stages on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from solar_plugins.chain.chain_file import Stage
from solar_plugins.chain.training import metrics

_SECONDS_BETWEEN_LINES = 30.0

_WIDTH_OF_FILES = 140

_STYLES = {"running": "bold cyan", "checking": "cyan", "done": "green", "failed": "bold red"}


@dataclass
class Row:
    """One stage as it is shown."""

    stage: Stage
    state: str = "waiting"
    started: float | None = None
    wall_s: float | None = None
    step: int = 0
    max_steps: int = 0
    first_step: tuple[int, float] | None = None
    loss: float | None = None
    peak_memory_gib: float = 0.0
    note: str = ""
    work: str = ""

    def read(self, file: Path) -> None:
        """Take over what the stage has written since."""
        if now := metrics.read_step(file):
            self.step, self.max_steps = now
            self.first_step = self.first_step or (self.step, time.monotonic())
        self.loss = metrics.last_loss(file) or self.loss
        self.work = metrics.read_note(file)

    def texts(self) -> dict[str, str]:
        """Elapsed, left (at the speed since the first step that was seen), step and loss."""
        elapsed, left = self.wall_s, None
        if elapsed is None and self.started is not None:
            elapsed = time.monotonic() - self.started
        if self.state == "running" and self.first_step and self.step > self.first_step[0]:
            first, at = self.first_step
            left = (time.monotonic() - at) / (self.step - first) * (self.max_steps - self.step)
        return {
            "elapsed": clock(elapsed),
            "left": clock(left),
            "step": f"{self.step}/{self.max_steps}" if self.max_steps else "",
            "loss": f"{self.loss:.4f}" if self.loss is not None else "",
        }


class Display:
    """Shows the rows of a run while it goes.

    Use it as a context manager; `update` is called several times a second.
    """

    def __init__(self, stages: list[Stage], console: Console | None = None) -> None:
        self.console = console or make_console()
        self.rows = {stage.name: Row(stage) for stage in stages}
        self.heading = ""
        self._live = (
            Live(console=self.console, refresh_per_second=4, get_renderable=self._render)
            if self.console.is_terminal
            else None
        )
        self._last_line = 0.0

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self.console.print(line, markup=False, soft_wrap=True)

    def set(self, name: str, state: str, note: str = "") -> None:
        """A stage's new state."""
        row = self.rows[name]
        row.state, row.note = state, note
        if state == "running" and row.started is None:
            row.started = time.monotonic()
        if self._live is None:
            self._last_line = time.monotonic()
            is_late = row.started is not None and state != "running"
            after = f" after {row.texts()['elapsed']}" if is_late else ""
            self.say(f"{name}: {state}{after}{f': {note}' if note else ''}")

    def update(self, name: str, file: Path) -> None:
        """Read how far the running stage is; without a terminal, print it now and then."""
        row = self.rows[name]
        row.read(file)
        if self._live is None and time.monotonic() - self._last_line >= _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            texts = row.texts()
            said = [row.work] if row.work else []
            said += [f"{what} {texts[what]}" for what in ("step", "loss") if texts[what]]
            said += [f"{texts['left']} left"] if texts["left"] else []
            self.say(f"{name}: {texts['elapsed']} {', '.join(said) or 'at work'}")

    def summary(self) -> None:
        """The closing table; on a terminal the live one shows it already."""
        if self._live is None:
            self.console.print(self._render())

    def _render(self) -> Group:
        table = Table(box=None, pad_edge=False)
        longest = max((len(name) for name in self.rows), default=0)  # a long note leaves it whole
        for heading, width in (("stage", longest), ("kind", 8), ("state", 7)):
            table.add_column(heading, no_wrap=True, min_width=width)
        for heading in ("elapsed", "left", "step", "loss", "memory"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", overflow="ellipsis", no_wrap=True)
        for row in self.rows.values():
            state = f"[{_STYLES.get(row.state, 'dim')}]{row.state}[/]"
            memory = f"{row.peak_memory_gib:.2f} GiB" if row.peak_memory_gib else ""
            note = row.work or row.note
            table.add_row(
                row.stage.name, row.stage.kind, state, *row.texts().values(), memory, note
            )
        return Group(*([self.heading] if self.heading else []), table)


def make_console() -> Console:
    """The terminal; or, where there is none, lines that are wide enough for the tables."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_OF_FILES)


def clock(seconds: float | None) -> str:
    """``1:02:03``, ``2:03``, or nothing."""
    if seconds is None:
        return ""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
