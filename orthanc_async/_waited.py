"""What decorators share whose handlers an Orthanc thread waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orthanc
from orthanc_async import _checks, _registry

if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT = 30.0
"""Seconds that Orthanc waits for a handler unless it is told otherwise."""


def check_timeout(timeout: float, decorator: str) -> float:
    """Return the timeout if Orthanc can wait so long, and no longer.

    Args:
        timeout: Seconds.
        decorator: The decorator's name, for the error's text.

    Raises:
        TypeError, ValueError: It is no number, not finite, or not above 0.
    """
    why = "a thread of Orthanc waits for the handler, and others for that thread"
    return _checks.seconds(f"@{decorator}", "timeout", timeout, why)


def adapt(
    handler: Callable[..., Any],
    decorator: str,
    timeout: float | None,
    before: Callable[..., tuple[Any, ...]],
    after: Callable[[Any], Any],
) -> Callable[..., Any]:
    """Return a function for an `orthanc.Register…` that calls a handler, `async def` as it is.

    Args:
        handler: A function or a bound method.
        decorator: The decorator's name, for the log.
        timeout: Seconds; None: as long as by default.
        before: Makes the handler's arguments from the SDK's, positional and named.
        after: Makes the SDK's result from the handler's.
    """
    call: Any
    if _registry.is_async(handler):

        async def call_async(*arguments: Any, **fields: Any) -> Any:
            return after(await handler(*before(*arguments, **fields)))

        call = call_async
    else:

        def call_blocking(*arguments: Any, **fields: Any) -> Any:
            return after(handler(*before(*arguments, **fields)))

        call = call_blocking
    name_for_host(call, handler, decorator, timeout)
    return call  # type: ignore[no-any-return]


def name_for_host(call: Any, handler: object, decorator: str, timeout: float | None) -> None:
    """Tell the host whose handler a wrapper calls, and how long Orthanc waits for it."""
    call.__orthanc_handler__ = f"{_registry.describe(handler)} (@{decorator})"
    if timeout is not None:
        call.__orthanc_timeout__ = timeout
    call.__wrapped__ = handler


def unchanged(value: Any) -> Any:
    """Return what it gets: the handler's argument or answer as it is."""
    return value


def wrap(
    handler: Callable[..., Any],
    decorator: str,
    timeout: float | None,
    question: Callable[..., Any],
    answer: Callable[[Any], Any],
) -> Callable[..., Any]:
    """Do the same for a handler with one argument, and check the timeout.

    Args:
        handler: A `def` or an `async def` with one argument.
        decorator: The decorator's name, for messages.
        timeout: How many seconds Orthanc waits for the handler; None: as long as by default.
        question: Makes the handler's argument from those of the SDK's callback.
        answer: Makes what the SDK's callback returns from what the handler returns.

    Raises:
        TypeError, ValueError: As `check_timeout`.
    """
    seconds = None if timeout is None else check_timeout(timeout, decorator)
    return adapt(
        handler,
        decorator,
        seconds,
        lambda *values, **fields: (question(*values, **fields),),
        answer,
    )


def register(
    handler: Any,
    decorator: str,
    argument: str,
    function: str,
    *,
    timeout: float | None,
    question: Callable[..., Any] = unchanged,
    answer: Callable[[Any], Any] = unchanged,
) -> Any:
    """Be a decorator, with or without parentheses, for handlers with one argument.

    Args:
        handler: What was decorated; None: the decorator has parentheses.
        decorator: The decorator's name, for messages.
        argument: What its argument is called in messages.
        function: The SDK's function that registers it, which an older header may not have.
        timeout: How many seconds Orthanc waits for the handler; None: as long as by default.
        question: Makes the handler's argument from those of the SDK's callback.
        answer: Makes what the SDK's callback returns from what the handler returns.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError, ValueError: The handler does not take its argument, or as `check_timeout`.
        AttributeError: The plugin was built with the SDK of an older Orthanc.
    """

    def decorate(handler: Any) -> Any:
        _registry.check_handler(handler, decorator, argument)
        call = wrap(handler, decorator, timeout, question, answer)
        getattr(orthanc, function)(call)
        return handler

    return decorate if handler is None else decorate(handler)


def part(target: object, name: str, decorator: str, *arguments: str) -> Callable[..., Any]:
    """Return a method of what was decorated, checked.

    Args:
        target: The object whose methods are the handlers.
        name: The method's name.
        decorator: The decorator's name, for the error's text.
        arguments: The names of what the method is called with.

    Raises:
        TypeError: It is missing, or does not take these arguments.
    """
    method = optional_part(target, name, decorator, *arguments)
    if method is None:
        kind = type(target)
        message = (
            f"@{decorator}: {kind.__module__}.{kind.__qualname__} needs a method "
            f"{name}({', '.join(('self', *arguments))}), `def` or `async def`"
        )
        raise TypeError(message)
    return method


def optional_part(
    target: object, name: str, decorator: str, *arguments: str
) -> Callable[..., Any] | None:
    """Return the same, or None when it is missing. See `part`."""
    method: Callable[..., Any] | None = getattr(target, name, None)
    if method is not None:
        _registry.check_handler(method, decorator, *arguments)
    return method


def instance(target: Any) -> object:
    """Return an object of a decorated class; anything else is taken for such an object."""
    return target() if isinstance(target, type) else target
