"""Outcomes for coroutines that run on a loop of the script's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


def settle(future: asyncio.Future[Any], method: str, outcome: object) -> None:
    """Set the outcome of `future` unless it has one. Runs on the future's own loop."""
    if not future.done():
        getattr(future, method)(outcome)
