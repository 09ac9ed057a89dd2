"""Tables for the terminal, in which no word is cut."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table


def print_whole(console: Console, *tables: Table) -> None:
    """Print `tables` with cells that break between words only, however narrow the terminal is.

    Rich makes the widest columns narrower, into the middle of their words. Here each is at least
    as wide as its longest word. In a file or a pipe each row is one line.
    """
    width = console.width
    for table in tables:
        wide = console.options.update(max_width=10_000)
        whole = Measurement.get(console, wide, table)
        if whole.maximum > width and console.is_terminal:
            sizes = [
                [Measurement.get(console, wide, cell) for cell in (column.header, *column.cells)]
                for column in table.columns
            ]
            least = [max(size.minimum for size in cells) for cells in sizes]
            more = [max(size.maximum for size in cells) for cells in sizes]
            more = [most - word for most, word in zip(more, least, strict=True)]
            spare = max(0, width - whole.minimum)
            for column, word, wanted in zip(table.columns, least, more, strict=True):
                column.width = word + spare * wanted // (sum(more) or 1)
        console.width = max(width, whole.minimum if console.is_terminal else whole.maximum)
        console.print(table)
    console.width = width
