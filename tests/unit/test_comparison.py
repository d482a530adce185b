"""The tables that compare the plugins: each row names tests that are there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "docs" / "comparison.md"]
TEST = re.compile(r"\[(test_\w+)\]\(([^)]+)\)")


def rows(page: Path) -> list[str]:
    """Return the rows of the tables whose last column says what shows them."""
    found: list[str] = []
    inside = False
    for line in page.read_text("utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
        elif line.endswith("| shown by |"):
            inside = True
        elif inside and not line.startswith("| ---"):
            found.append(line)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_row_is_shown_by_a_test(page: Path) -> None:
    """Each row names at least one test function, in a file that defines it."""
    found = rows(page)
    assert len(found) > 10
    for row in found:
        cell = row.removesuffix("|").rpartition("|")[2]
        tests = TEST.findall(cell)
        assert tests, row
        assert not TEST.sub("", cell).strip(", "), row
        for name, link in tests:
            file = (page.parent / link).resolve()
            assert file.is_relative_to(ROOT / "tests"), row
            module = ast.parse(file.read_text("utf-8"))
            names = {item.name for item in module.body if isinstance(item, ast.FunctionDef)}
            assert name in names, f"{link} has no {name}: {row}"


def test_both_plugins_are_compared() -> None:
    """README has the table itself, not only a link to it."""
    (head,) = [
        line
        for line in PAGES[0].read_text("utf-8").splitlines()
        if line.startswith("| capability |")
    ]
    assert "official plugin" in head
    assert "orthanc-async" in head
