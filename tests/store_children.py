"""Runs `store_child.py` of the unit tests."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = Path(__file__).parent / "unit" / "durable" / "store_child.py"


@contextmanager
def child(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run one, and kill it at the end; it has opened its store."""
    process = subprocess.Popen(
        [sys.executable, "-P", CHILD, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    with process:
        try:
            assert process.stdout.readline() == f"open {process.pid}\n"
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str]) -> list[list[str]]:
    """Return what an ended one has said, in words; a line that was cut off does not count."""
    assert process.stdout
    output = process.stdout.read()
    return [line.split(" ") for line in output.split("\n")[:-1]]
