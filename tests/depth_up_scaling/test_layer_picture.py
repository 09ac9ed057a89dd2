"""The layer map as SVG and in words. Pure."""

import itertools
import xml.etree.ElementTree as ET

import pytest

from solar_plugins.depth_up_scaling.layer_map import seams, stacked
from solar_plugins.depth_up_scaling.picture import how_far, in_words, layer_map_svg

SVG = "{http://www.w3.org/2000/svg}"
PAPER = stacked([(0, 24), (8, 32)])
MAPS = {
    "paper": (PAPER, 32),
    "three copies": (stacked([(0, 24), (8, 24), (8, 32)]), 32),
    "80 layers": (stacked([(0, 60), (20, 80)]), 80),
    "126 layers": (stacked([(0, 95), (31, 126)]), 126),
    "every fourth twice": ([j for i in range(32) for j in ([i, i] if i % 4 == 3 else [i])], 32),
    "gap": (stacked([(0, 10), (20, 32), (0, 32)]), 32),
    "smallest": ([0, 1, 0, 1], 2),
    "one layer often": ([0, 1, 1, 1, 1, 1, 1, 1, 2], 3),
}


def parse(svg):
    """Reads it as XML: what is not escaped, or not closed, raises here."""
    return ET.fromstring(svg)


def looks(root, tag, word):
    return [e for e in root.iter(f"{SVG}{tag}") if word in (e.get("class") or "").split()]


@pytest.mark.parametrize("name", MAPS)
def test_every_layer_is_in_its_base_layers_row(name):
    layers, depth = MAPS[name]
    root = parse(layer_map_svg(layers, depth))
    cells = looks(root, "rect", "cell")
    assert [cell.find(f"{SVG}title").text for cell in cells] == [
        f"layer {i} is layer {j} of the base" for i, j in enumerate(layers)
    ]
    columns = [float(cell.get("x")) for cell in cells]
    assert columns == sorted(set(columns))
    row_of = {}
    for cell, j in zip(cells, layers, strict=True):
        row_of.setdefault(j, set()).add(float(cell.get("y")))
    assert all(len(rows) == 1 for rows in row_of.values())
    heights = [min(row_of[j]) for j in sorted(row_of)]
    assert heights == sorted(heights, reverse=True)  # layer 0 is the lowest
    assert len(looks(root, "line", "seam")) == len(seams(layers))


@pytest.mark.parametrize("name", MAPS)
def test_nothing_is_drawn_outside_and_no_two_names_of_seams_overlap(name):
    root = parse(layer_map_svg(*MAPS[name]))
    width, height = map(float, root.get("viewBox").split()[2:])
    for rect in root.iter(f"{SVG}rect"):
        assert float(rect.get("x")) >= 0
        assert float(rect.get("x")) + float(rect.get("width")) <= width
        assert float(rect.get("y")) + float(rect.get("height")) <= height
    by_row = {}
    for text in looks(root, "text", "seam-name"):
        half = len(text.text) * 3.0
        centre = float(text.get("x"))
        assert centre - half >= 0
        assert centre + half <= width
        by_row.setdefault(text.get("y"), []).append((centre - half, centre + half))
    for spans in by_row.values():
        assert all(a[1] < b[0] for a, b in itertools.pairwise(spans))


def test_what_it_says_of_the_papers_map():
    root = parse(layer_map_svg(PAPER, 32, name="<Mistral> & co"))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "32 → 48 layers · <Mistral> & co" in texts
    assert "23 → 8, 15 back" in texts
    assert texts[-2:] == [
        "Layers of the base, once: 0–7, 24–31; twice: 8–23.",
        "Seam: 23 → 8 (15 back).",
    ]
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text
    assert not looks(root, "rect", "added")


def test_added_layers_are_hollow():
    root = parse(layer_map_svg([0, 1, 2, 1, 2, 3], 4, "identity"))
    hollow = [rect.find(f"{SVG}title").text for rect in looks(root, "rect", "added")]
    assert hollow == [f"layer {i} is layer {j} of the base, added" for i, j in ((3, 1), (4, 2))]


def test_words():
    assert how_far(23, 8) == "15 back"
    assert how_far(7, 7) == "the same again"
    assert how_far(9, 20) == "10 left out"
    assert in_words(*MAPS["gap"]) == [
        "Layers of the base, once: 10–19; twice: 0–9, 20–31.",
        "Seams: 9 → 20 (10 left out), 31 → 0 (31 back).",
    ]
    many = [0, *[1] * 10, 2]
    assert in_words(many, 4) == [
        "Layers of the base, left out: 3; once: 0, 2; 10 times: 1.",
        "Seams: 9 × the same again.",
    ]
