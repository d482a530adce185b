"""What doctor finds, and how it is shown."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


_COLOURS = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of doctor's report.

    Args:
        level: how bad it is.
        text: what is so.
        mend: what to do about it; empty when all is well.
    """

    level: Level
    text: str
    mend: str = ""

    def line(self) -> str:
        """Return the finding as one line."""
        return f"{self.text}: {self.mend}" if self.mend else self.text


def ok(text: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(Level.OK, text)


def warning(text: str, mend: str) -> Finding:
    """Return a finding that may be meant so."""
    return Finding(Level.WARNING, text, mend)


def error(text: str, mend: str) -> Finding:
    """Return a finding that keeps scripts from running."""
    return Finding(Level.ERROR, text, mend)


def show(findings: Iterable[Finding]) -> bool:
    """Print findings as they come; return whether none is an error."""
    well = True
    for finding in findings:
        level = click.style(f"{finding.level.value:8}", fg=_COLOURS[finding.level])
        click.echo(f"{level} {finding.line()}")
        well = well and finding.level is not Level.ERROR
    return well
