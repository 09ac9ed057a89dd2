"""Final answers and the contamination guard. Pure but for the MATH benchmark's own equality."""

from __future__ import annotations

import pytest

from solar_plugins.synth_math.answers import final_answer, same_answer
from solar_plugins.synth_math.generate import rephrased_question
from solar_plugins.synth_math.overlap import Guard


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"First $\boxed{3}$, no: $\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"so $\boxed 5$ it is", "5"),
        (r"\fbox{7}", "7"),
        (r"\boxed{\text{(A)}} The answer is: B", r"\text{(A)}"),
        ("Thus 4. The answer is: $4$.", "4"),
        ("**Final answer:** 12", "12"),
        (r"cut off at \boxed{\frac{1}{2", None),
        (r"\boxed{}", None),
        ("It is four.", None),
        ("", None),
    ],
)
def test_final_answer(solution, answer):
    assert final_answer(solution) == answer


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (r"\dfrac12", r"\frac{1}{2}", True),
        ("0.5", r"\frac{1}{2}", True),
        ("1/2", r"\frac{1}{2}", True),
        ("1,000", "1000", True),
        (r"1{,}000", "1000", True),
        (r"\text{(A)}", "(A)", True),
        (r"10\%", "10", True),
        (r"\left( 1, 2 \right)", "(1,2)", True),
        ("(1,234)", "(1234)", False),  # a point is no number
        ("x=3", "3", True),
        ("3", "-3", False),
        ("2", "3", False),
        ("", "3", False),
    ],
)
def test_same_answer(one, other, equal):
    assert same_answer(one, other) is equal


LONG = (
    "A farmer has seven red barrels and puts three green apples into every one of them. "
    "How many apples does he have?"
)


@pytest.fixture
def guard():
    guard = Guard()
    guard.add("long", [LONG])
    guard.add("short", ["Compute $\\sin 60^\\circ$.", "Find the least prime above one hundred."])
    guard.add("drawing", ["[asy] draw((0,0)--(1,0)--(1,1)--(0,1)--cycle); dot((2,3)); [/asy]"])
    guard.add("run", ["Simplify " + "1+2+" * 10])
    return guard


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LONG, "long_exact"),
        (LONG.upper().replace(" ", "\n"), "long_exact"),
        ("Yesterday: " + LONG.replace("seven", "nine"), "long_ngram"),
        (LONG.replace("barrels", "boxes").replace("apples", "pears"), None),
        ("compute sin(60) circ", "short_exact"),
        ("Draw a circle, then compute sin 60 circ twice.", None),  # four words are no trace
        ("Find the least prime above one hundred", "short_exact"),
        ("Now find the least prime above one hundred, please.", None),  # seven words
        ("[asy] draw((0,0)--(1,0)--(1,1)--(0,1)--cycle); dot((5,5)); [/asy] Area?", None),
        ("Evaluate " + "1+2+" * 10 + "x", None),  # the same two numbers over and over
        ("", None),
    ],
)
def test_what_is_within_reach(guard, text, reason):
    assert guard.reason(text) == reason


def test_an_item_of_eight_words_is_found_inside(guard):
    guard.add("eight", ["Find the least odd prime above one hundred."])
    assert guard.reason("So: find the LEAST odd prime above one hundred!") == "eight_contained"
    assert guard.reason("clean", "Find the least odd prime above one hundred.") == "eight_exact"
    assert guard.items == {"long": 1, "short": 2, "run": 1, "eight": 1}


@pytest.mark.parametrize(
    ("reply", "question", "fault"),
    [
        ("Rewritten problem: Add one and one.", "Add one and one.", None),
        ("What is\n1 + 1?", "What is\n1 + 1?", "unchanged"),
        ("Add them: \\boxed{2}", "Add them: \\boxed{2}", "answered"),
        ("N", "N", "wrong_length"),
        ("word " * 50, ("word " * 50).strip(), "wrong_length"),
        ("Problem:", "", "empty"),
    ],
)
def test_rephrased_question(reply, question, fault):
    assert rephrased_question(reply, "What is 1 + 1?") == (question, fault)
