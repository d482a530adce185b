"""The event loop of the process, as the plugin's host announces it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_current: asyncio.AbstractEventLoop | None = None


def get() -> asyncio.AbstractEventLoop:
    """Return the loop on which handlers run. Callable from any thread.

    Raises:
        RuntimeError: The loop does not run: outside Orthanc, before the start or after the stop.
    """
    if _current is None:
        message = (
            "the event loop does not run: it does from the start of Orthanc to its stop, "
            "and only in a process that has the plugin loaded"
        )
        raise RuntimeError(message)
    return _current


def is_current(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether `loop` is still the one on which handlers run. Callable from any thread."""
    return _current is loop


def _set(loop: asyncio.AbstractEventLoop | None) -> None:
    # Called by the host only, on the loop thread.
    global _current  # noqa: PLW0603 - one loop a process is the point of this module
    _current = loop
