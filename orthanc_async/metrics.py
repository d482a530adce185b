"""Metrics: functions that bring values up to date when Orthanc is asked for its metrics.

@metrics.refresh
async def waiting() -> dict[str, float]:
    return {"my_queue_length": await queue.length()}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, overload

import orthanc
from orthanc_async import _registry, _waited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    _Values = Mapping[str, float] | None
    _Handler = TypeVar("_Handler", bound=Callable[[], _Values | Awaitable[_Values]])

__all__ = ["refresh"]

_NAME = "metrics.refresh"


@overload
def refresh(handler: _Handler, /) -> _Handler: ...
@overload
def refresh(*, timeout: float = ...) -> Callable[[_Handler], _Handler]: ...
def refresh(handler: Any = None, /, *, timeout: float = _waited.TIMEOUT) -> Any:
    """Call a function each time that somebody reads Orthanc's metrics.

    They are at `/tools/metrics-prometheus`. The function is `async def` or `def` and has no
    arguments; it returns a dict of metrics, or None when it has set them itself. When it raises or
    takes too long, that is logged, and its metrics keep their last values. Registers by
    `OrthancPluginRegisterRefreshMetricsCallback` and sets by `OrthancPluginSetMetricsValue`.

    Args:
        handler: The function.
        timeout: Seconds that Orthanc waits for it.

    Returns:
        The function unchanged; without one, the decorator.

    Raises:
        TypeError, ValueError: It takes arguments, or the timeout is none.
    """
    seconds = _waited.check_timeout(timeout, _NAME)

    def decorate(handler: _Handler) -> _Handler:
        _registry.check_handler(handler, _NAME)
        orthanc.RegisterRefreshMetricsCallback(_setter(handler, seconds))
        return handler

    return decorate if handler is None else decorate(handler)


def _setter(handler: Callable[[], Any], timeout: float) -> Callable[[], Any]:
    call: Any
    default = orthanc.MetricsType.DEFAULT
    if _registry.is_async(handler):

        async def call_async() -> None:
            for name, value in _checked(handler, await handler()):
                await orthanc.set_metrics_value(name, value, default)

        call = call_async
    else:

        def call_blocking() -> None:
            for name, value in _checked(handler, handler()):
                orthanc.SetMetricsValue(name, value, default)

        call = call_blocking
    _waited.name_for_host(call, handler, _NAME, timeout)
    return call  # type: ignore[no-any-return]


def _checked(handler: object, result: Any) -> list[tuple[str, float]]:
    if result is None:
        return []
    if not isinstance(result, Mapping) or not all(
        isinstance(name, str) and isinstance(value, (int, float)) for name, value in result.items()
    ):
        message = (
            f"{_registry.describe(handler)} returned {result!r}: a dict of names and numbers, or "
            "None, is expected"
        )
        raise TypeError(message)
    return [(name, float(value)) for name, value in result.items()]
