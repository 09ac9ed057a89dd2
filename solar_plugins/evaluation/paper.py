"""The paper's results, Tables 2 to 7 and 9 (arXiv 2312.15166, section 4), as data.

Scores are percentages as printed, in the order of the paper's columns. H6 is kept as printed too:
it is the rounded mean of the six everywhere but in Table 6, where Cand. 2 prints 73.28 and the mean
is 73.29.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

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
    scores: tuple[float, float, float, float, float, float]
    stages: tuple[str, ...] = ()

    def score(self, benchmark: str) -> float:
        """The score of one benchmark by its key, in percent."""
        return self.scores[COLUMNS.index(benchmark)]


# fmt: off
ROWS: tuple[PaperRow, ...] = (
    # Table 2: "Evaluation results in the Open LLM Leaderboard"
    PaperRow(2, "SOLAR 10.7B-Instruct", 74.20, (71.08, 88.16, 66.21, 71.43, 83.58, 64.75)),
    PaperRow(2, "Qwen 72B", 73.60, (65.19, 85.94, 77.37, 60.19, 82.48, 70.43)),
    PaperRow(2, "Mixtral 8x7B-Instruct-v0.1", 72.62, (70.22, 87.63, 71.16, 64.58, 81.37, 60.73)),
    PaperRow(2, "Yi 34B-200K", 70.81, (65.36, 85.58, 76.06, 53.64, 82.56, 61.64)),
    PaperRow(2, "Yi 34B", 69.42, (64.59, 85.69, 76.35, 56.23, 83.03, 50.64)),
    PaperRow(2, "Mixtral 8x7B-v0.1", 68.42, (66.04, 86.49, 71.82, 46.78, 81.93, 57.47)),
    PaperRow(2, "Llama 2 70B", 67.87, (67.32, 87.33, 69.83, 44.92, 83.74, 54.06)),
    PaperRow(2, "Falcon 180B", 67.85, (69.45, 88.86, 70.50, 45.47, 86.90, 45.94)),
    PaperRow(2, "SOLAR 10.7B", 66.04, (61.95, 84.60, 65.48, 45.04, 83.66, 55.50), ("cpt",)),
    PaperRow(2, "Qwen 14B", 65.86, (58.28, 83.99, 67.70, 49.43, 76.80, 58.98)),
    PaperRow(2, "Mistral 7B-Instruct-v0.2", 65.71, (63.14, 84.88, 60.78, 68.26, 77.19, 40.03)),
    PaperRow(2, "Yi 34B-Chat", 65.32, (65.44, 84.16, 74.90, 55.37, 80.11, 31.92)),
    PaperRow(2, "Mistral 7B", 60.97, (59.98, 83.31, 64.16, 42.15, 78.37, 37.83),
        ("base", "base_model")),
    # Table 3: "Ablation studies on the different datasets used for instruction tuning"
    PaperRow(3, "SFT v1", 69.15, (67.66, 86.03, 65.88, 60.12, 82.95, 52.24), ("sft_v1",)),
    PaperRow(3, "SFT v2", 69.21, (65.36, 85.39, 65.93, 58.47, 82.79, 57.32), ("sft_v2",)),
    PaperRow(3, "SFT v3", 70.03, (65.87, 85.55, 65.31, 57.93, 81.37, 64.14), ("sft_v3",)),
    PaperRow(3, "SFT v4", 70.88, (67.32, 85.87, 65.87, 58.97, 82.48, 64.75), ("sft_v4",)),
    PaperRow(3, "SFT v3+v4", 71.11, (67.32, 85.96, 65.95, 58.80, 82.08, 66.57), ("sft_v3_v4",)),
    # Table 4: "Ablation studies on the different datasets used during the direct preference
    # optimization (DPO) stage. 'SFT v3' is used as the SFT base model for DPO."
    PaperRow(4, "DPO v1", 73.06, (71.42, 88.49, 66.14, 72.04, 81.45, 58.83), ("dpo_v1",)),
    PaperRow(4, "DPO v2", 73.42, (71.50, 88.28, 65.97, 71.71, 82.79, 60.27), ("dpo_v2",)),
    PaperRow(4, "DPO v1+v2", 73.21, (71.33, 88.36, 65.92, 72.65, 82.79, 58.23), ("dpo_v1_v2",)),
    # Table 5: "Ablation studies on the different SFT base models used during the direct preference
    # optimization (DPO) stage. Ultrafeedback Clean and Synth. Math-Alignment datasets are used."
    PaperRow(5, "DPO v2", 73.42, (71.50, 88.28, 65.97, 71.71, 82.79, 60.27)),  # stage: Table 4
    PaperRow(5, "DPO v3", 73.58, (71.33, 88.08, 65.39, 72.45, 81.93, 62.32), ("dpo_v3",)),
    # Table 6: "'Cand. 1' and 'Cand. 2' are trained using the same setting as 'DPO v2' and 'DPO v3',
    # respectively, but with slightly different hyper-parameters."
    PaperRow(6, "Cand. 1", 73.73, (70.48, 87.47, 65.73, 70.62, 81.53, 66.57), ("cand_1",)),
    PaperRow(6, "Cand. 2", 73.28, (71.59, 88.39, 66.14, 72.50, 81.99, 59.14), ("cand_2",)),
    # Table 7: "Ablation studies on the different merge methods used for obtaining the final model":
    # averages with weights (0.5, 0.5), (0.4, 0.6) and (0.6, 0.4) of Cand. 1 and 2, and SLERP.
    # Section 4.3.2: "Thus, we chose 'Merge v1' as our SOLAR 10.7B-Instruct model."
    PaperRow(7, "Merge v1", 74.00, (71.16, 88.01, 66.14, 71.71, 82.08, 64.90),
        ("merge_v1", "instruct")),
    PaperRow(7, "Merge v2", 73.93, (71.08, 88.08, 66.27, 71.89, 81.77, 64.52), ("merge_v2",)),
    PaperRow(7, "Merge v3", 74.05, (71.08, 87.88, 66.13, 71.61, 82.08, 65.50), ("merge_v3",)),
    PaperRow(7, "Merge v4", 73.96, (71.16, 88.03, 66.25, 71.79, 81.93, 64.59), ("merge_v4",)),
)

# The released model under a later lm-eval, as UpstageAI/evalverse records it: what the change of
# harness alone does to the first row of Table 2.
RELEASED_TODAY = PaperRow(2, "SOLAR 10.7B-Instruct", 74.62,
    (71.33, 88.19, 65.52, 71.72, 83.19, 67.78))
# fmt: on
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
