"""The paper's results (arXiv 2312.15166, section 4): Tables 2 to 7, from ``paper.yml``, and 9."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from solar_plugins.evaluation.benchmarks import BY_KEY

COLUMNS = tuple(BY_KEY)


@dataclass(frozen=True)
class PaperRow:
    """One row of one table: H6 and the six scores in percent, in the order of `COLUMNS`.

    Attributes:
        stages: names of stages of our chains that make this row's model.
    """

    table: int
    model: str
    h6: float
    scores: tuple[float, ...]
    stages: tuple[str, ...] = ()

    def score(self, benchmark: str) -> float:
        """The score of one benchmark by its key, in percent."""
        return self.scores[COLUMNS.index(benchmark)]


_TABLES: dict[Any, list[list[Any]]] = yaml.safe_load(
    Path(__file__).with_suffix(".yml").read_text(encoding="utf-8")
)


def _rows(name: int | str, number: int) -> tuple[PaperRow, ...]:
    rows = ((row, row[8] if len(row) > 8 else ()) for row in _TABLES[name])
    return tuple(PaperRow(number, row[0], row[1], tuple(row[2:8]), tuple(of)) for row, of in rows)


ROWS = tuple(row for number in range(2, 8) for row in _rows(number, number))
(RELEASED_TODAY,) = _rows("released_today", 2)
"""The released model under a later lm-eval."""
RELEASED = "SOLAR-10.7B-Instruct-v1.0"
_PUBLIC = {  # last part of the id on the Hub -> the model's name in the tables
    RELEASED: "SOLAR 10.7B-Instruct",
    "SOLAR-10.7B-v1.0": "SOLAR 10.7B",
    "Mistral-7B-v0.1": "Mistral 7B",
}


def table(number: int) -> tuple[PaperRow, ...]:
    """The rows of one table, in the paper's order."""
    return tuple(row for row in ROWS if row.table == number)


def row_of_stage(stage: str) -> PaperRow | None:
    """The row whose model the stage of that name makes in our chains.

    >>> row_of_stage("sft_v3_v4").h6
    71.11
    """
    return next((row for row in ROWS if stage in row.stages), None)


def stages_of_row(model: str) -> tuple[str, ...]:
    """Names of the stages that make the model of a row, by the row's name; none if no row has it.

    >>> stages_of_row("sft V3+V4")
    ('sft_v3_v4',)
    """
    if model.casefold() == _PUBLIC[RELEASED].casefold():
        model = "Merge v1"  # section 4.3.2
    rows = (row for row in ROWS if row.model.casefold() == model.casefold())
    return tuple(stage for row in rows for stage in row.stages)


def row_of_model(name: str, place: str) -> PaperRow | None:
    """The row of a model that was evaluated: of the released one by its id, else of its stage.

    A stage's name is no proof of its model: the folder's config.json must have the paper's shape.

    >>> row_of_model("SOLAR-10.7B-v1.0", "upstage/SOLAR-10.7B-v1.0").h6
    66.04
    """
    public = _PUBLIC.get(place.rstrip("/").rpartition("/")[2])
    if public is not None:
        return next(row for row in ROWS if row.model == public)
    row = row_of_stage(name)
    try:
        config = json.loads(Path(place, "config.json").read_text(encoding="utf-8"))
        shape = config["hidden_size"], config["num_hidden_layers"]
    except (OSError, ValueError, KeyError):
        return None
    layers = 32 if row is not None and row.model == "Mistral 7B" else 48
    return row if shape == (4096, layers) else None


def harness_row(place: str) -> PaperRow | None:
    """The released model's scores under a later harness, if `place` is that model."""
    return RELEASED_TODAY if place.rstrip("/").rpartition("/")[2] == RELEASED else None


# Table 9: "Data contamination test results for SOLAR 10.7B-Instruct. We show 'result < 0.1, %'
# values where a value higher than 0.9 indicates high probability of data contamination. HellaSwag
# and Winogrande datasets are not currently supported. We set SOLAR 10.7B as our reference model".
TABLE_9 = {"arc": 0.06, "mmlu": 0.15, "truthfulqa": 0.28, "gsm8k": 0.70}
CONTAMINATION_THRESHOLD = 0.9
