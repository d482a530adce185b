"""Waiting for what another thread or process does, with a deadline and a reason."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

DEADLINE = 15.0
_POLL = 0.02
_SHOWN = 2000  # characters of the last state

_State = TypeVar("_State")


def wait_until(
    look: Callable[[], _State],
    what: str,
    *,
    done: Callable[[_State], object] = bool,
    timeout: float = DEADLINE,
    in_vain: Callable[[], str | None] = lambda: None,
) -> _State:
    """Look again and again until the state is as wanted; return that state.

    Args:
        look: returns the state as it is now.
        what: what is waited for, to complete the words "waited for …".
        done: tells whether the state is as wanted; by default, whether it is true.
        timeout: seconds.
        in_vain: returns why the state can change no more, None while it can.

    Raises:
        AssertionError: it did not become so; the text says what was waited for and the last state.
    """
    __tracebackhide__ = True
    end = time.monotonic() + timeout
    while True:
        # Asked first: what came before it is still seen.
        why = in_vain()
        state = look()
        if done(state):
            return state
        if why is None and time.monotonic() > end:
            why = f"{timeout:g} s have passed"
        if why is not None:
            raise AssertionError(
                f"waited for {what}, but {why}; the last state: {state!r:.{_SHOWN}}"
            )
        time.sleep(_POLL)
