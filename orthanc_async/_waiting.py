"""What the decorators share whose handlers keep Orthanc waiting for an answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from orthanc_async import _registry

if TYPE_CHECKING:
    from collections.abc import Callable


def wrap(
    handler: Callable[..., Any],
    decorator: str,
    timeout: float | None,
    question: Callable[..., Any],
    answer: Callable[[Any], Any],
) -> Callable[..., Any]:
    """Make the callable that is registered for a handler.

    Args:
        handler: A `def` or an `async def` with one argument.
        decorator: The decorator's name, for messages.
        timeout: How many seconds Orthanc waits for the handler; None: as long as by default.
        question: Makes the handler's argument from those of the SDK's callback.
        answer: Makes what the SDK's callback returns from what the handler returns.

    Returns:
        An `async def` if the handler is one.

    Raises:
        TypeError: The timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
    """
    call: Any
    if _registry.is_async(handler):

        async def call_async(*arguments: Any, **fields: Any) -> Any:
            return answer(await handler(question(*arguments, **fields)))

        call = call_async
    else:

        def call_blocking(*arguments: Any, **fields: Any) -> Any:
            return answer(handler(question(*arguments, **fields)))

        call = call_blocking
    call.__orthanc_handler__ = f"{_registry.describe(handler)} (@{decorator})"
    call.__wrapped__ = handler
    if timeout is not None:
        call.__orthanc_timeout__ = _seconds(timeout, decorator)
    return call  # type: ignore[no-any-return]


def _seconds(timeout: object, decorator: str) -> float:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        message = f"@{decorator}: timeout must be a number of seconds, not {timeout!r}"
        raise TypeError(message)
    if not (timeout > 0 and math.isfinite(timeout)):
        message = (
            f"@{decorator}: timeout must be above 0 and finite, not {timeout!r}: Orthanc holds a "
            "lock while it waits, so it cannot wait for ever"
        )
        raise ValueError(message)
    return float(timeout)
