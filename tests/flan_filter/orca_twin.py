"""Rows of OpenOrca's columns with FLAN task names: planted ones and their neighbours."""

from __future__ import annotations

PLANTED = {
    "cot_gsm8k": "How many eggs are left of 16 when 3 are eaten?",
    "ai2_arcARCChallenge:1.0.0": "Which tool measures air pressure?",  # as the paper prints it
    "ai2_arc/ARC-Easy:1.0.0": "Which gas do plants take in?",
    "Task1389_HellaSwag_completion": "A man sits on a roof. He",
    "winogrande:1.1.0": "The trophy does not fit the case because it is too large.",
}
NEIGHBOURS = {
    "cot_esnli": "Does the premise entail the hypothesis?",
    "cot_gsm8k_iii": "A task that is not in Table 8.",
    "hellaswag:1.0.0": "Another version of the data set.",
    "task026_drop_question_generation": "Write a question about the passage.",
    "": "A row with a blank task name.",
}


def orca_rows(repeats: int = 3) -> list[dict]:
    """Rows of OpenOrca's columns plus `task_name`, planted ones and neighbours in turn."""
    pairs = [
        pair for both in zip(PLANTED.items(), NEIGHBOURS.items(), strict=True) for pair in both
    ]
    rows = []
    for round_ in range(repeats):
        for task, question in [*pairs, (None, "A row without a task name.")]:
            rows.append(
                {
                    "id": f"flan.{len(rows)}",
                    "system_prompt": "You are an AI assistant.",
                    "question": f"{question} ({round_})",
                    "response": f"Answer {len(rows)}.",
                    "task_name": task,
                }
            )
    return rows


def stays(row: dict) -> bool:
    return row["task_name"] not in PLANTED
