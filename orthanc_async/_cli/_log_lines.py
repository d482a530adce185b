"""Orthanc's log lines, made readable."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

# W1124 08:42:09.868322 main.cpp:2017] text             (until 1.11)
# W1124 08:42:09.868322             MAIN main.cpp:2017] text   (from 1.12 on)
_RECORD = re.compile(
    r"(?P<level>[EWIT])\d{4} (?P<time>\d\d:\d\d:\d\d)\.\d{6}"
    r"(?: +(?P<thread>\S.*?))?? +(?P<place>[\w./+-]+:\d+)\] ?(?P<text>.*)",
    re.DOTALL,
)
_LEVELS = {"E": "ERROR", "W": "WARN", "I": "INFO", "T": "TRACE"}
_COLOURS = {"E": "red", "W": "yellow", "I": None, "T": "bright_black"}


def readable(line: str, *, with_place: bool = False) -> str:
    """Return `HH:MM:SS LEVEL text` for a record's first line, other lines as they are.

    Args:
        line: one line of Orthanc's log. A traceback's further lines are no records.
        with_place: name the source line of Orthanc that wrote it.
    """
    found = _RECORD.fullmatch(line)
    if found is None:
        return line
    level = click.style(f"{_LEVELS[found['level']]:5}", fg=_COLOURS[found["level"]])
    place = f"  [{found['place']}]" if with_place else ""
    return f"{found['time']} {level} {found['text']}{place}"


def printer(*, with_place: bool = False) -> Callable[[str], None]:
    """Return a function that prints each line it gets (colours go where no terminal is)."""

    def show(line: str) -> None:
        try:
            click.echo(readable(line, with_place=with_place))
        except BrokenPipeError:
            # `orthanc-async run … | head`: Orthanc goes on, its log has nowhere to go.
            return

    return show
