"""What doctor finds, and how it is shown."""

from __future__ import annotations

import enum
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


_COLOURS = {
    Level.OK: "green",
    Level.NOTE: "cyan",
    Level.WARNING: "yellow",
    Level.ERROR: "red",
}
_INDENT = " " * 9  # of what stands below a finding, under its text
_COLUMNS = 99


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of doctor's report, with lines below it where there is a list.

    Args:
        level: how bad it is.
        text: what is so.
        mend: what to do about it; empty when all is well.
        details: pairs of a heading and what it is about, shown below it.
    """

    level: Level
    text: str
    mend: str = ""
    details: tuple[tuple[str, str], ...] = ()

    def line(self) -> str:
        """Return the finding as one line."""
        return f"{self.text}: {self.mend}" if self.mend else self.text

    def below(self) -> list[str]:
        """Return the lines of the details, wrapped."""
        width = max((len(heading) for heading, _ in self.details), default=0)
        return [
            line
            for heading, text in self.details
            for line in textwrap.wrap(
                text,
                _COLUMNS,
                initial_indent=f"{_INDENT}{heading:{width}}  ",
                subsequent_indent=_INDENT + " " * (width + 4),
                break_long_words=False,
            )
        ]


def ok(text: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Level.OK, text)


def note(text: str, mend: str, details: tuple[tuple[str, str], ...]) -> Finding:
    """Return a finding that is good to know, and no fault."""
    return Finding(Level.NOTE, text, mend, details)


def warning(text: str, mend: str, details: tuple[tuple[str, str], ...] = ()) -> Finding:
    """Return a finding that may be meant so."""
    return Finding(Level.WARNING, text, mend, details)


def error(text: str, mend: str) -> Finding:
    """Return a finding that keeps scripts from running."""
    return Finding(Level.ERROR, text, mend)


def show(findings: Iterable[Finding]) -> bool:
    """Print findings as they come; return whether none is an error."""
    well = True
    for finding in findings:
        level = click.style(f"{finding.level.value:8}", fg=_COLOURS[finding.level])
        click.echo(f"{level} {finding.line()}")
        for line in finding.below():
            click.echo(line)
        well = well and finding.level is not Level.ERROR
    return well
