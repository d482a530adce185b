"""What durable_script.py has written: a line for each beginning and end of an attempt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from waiting import DEADLINE, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def lines(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Return the lines of a kind, in order."""
    file = folder / "deliveries.jsonl"
    if not file.exists():
        return []
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in found if line["kind"] == kind]


def wait_lines(
    folder: Path, count: int, kind: str, *, timeout: float = DEADLINE
) -> list[dict[str, Any]]:
    """Wait until there are so many lines of a kind; return them."""
    return wait_until(
        lambda: lines(folder, kind),
        f"{count} lines {kind!r}",
        done=lambda found: len(found) >= count,
        timeout=timeout,
    )
