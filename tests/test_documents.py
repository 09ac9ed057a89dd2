"""What the documents name is there, and the package page has links that work anywhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
    *(ROOT / "solar_plugins").rglob("README.md"),
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def anchors(document: Path) -> set[str]:
    """The headings of a Markdown file, as links name them."""
    headings = re.findall(r"^#+ (.+)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path):
    for link in LINK.findall(CODE.sub("", text_of(document))):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_files_that_contributing_names_are_there():
    pattern = r"`((?:solar_plugins|tests|benchmarks|recipes)/[a-z_./]+)`"
    named = re.findall(pattern, text_of(ROOT / "CONTRIBUTING.md"))
    assert len(named) > 15
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_package_page_has_no_relative_links():
    page = re.search(r'^readme = "(.+?)"', text_of(ROOT / "pyproject.toml"), re.MULTILINE)
    assert page is not None
    links = LINK.findall(text_of(ROOT / page[1]))
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_dockerfile_copies_files_that_are_there_onto_the_axolotl_of_the_lock():
    steps = text_of(ROOT / "Dockerfile")
    copied = [
        one for line in re.findall(r"^COPY (.+) ", steps, re.MULTILINE) for one in line.split()
    ]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    (version,) = re.findall(r"^ARG AXOLOTL=(.+)$", steps, re.MULTILINE)
    assert f"axolotl=={version}\n" in text_of(ROOT / "requirements.lock")
