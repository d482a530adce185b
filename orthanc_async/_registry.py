"""What every kind of registration shares: clearing at a reset, and naming a handler."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    _Clear = TypeVar("_Clear", bound=Callable[[], None])

_clearers: list[Callable[[], None]] = []
_PACKAGE = __file__.removesuffix("_registry.py")


def on_clear(function: _Clear) -> _Clear:
    """Have `function` forget a module's registrations when scripts are imported afresh.

    Args:
        function: Called without arguments, on the thread that imports the scripts.

    Returns:
        The function, so this can be a decorator.
    """
    _clearers.append(function)
    return function


def clear() -> None:
    """Forget every registration. The host calls it before it imports the scripts again."""
    for function in _clearers:
        function()


def is_async(handler: object) -> bool:
    """Tell whether calling `handler` gives a coroutine, also for objects with a `__call__`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if inspect.iscoroutinefunction(handler):
        return True
    return inspect.iscoroutinefunction(type(handler).__call__)


def describe(handler: object) -> str:
    """Name a handler as the log names it: `module.function`."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    name = getattr(handler, "__qualname__", None)
    if name is None:
        kind = type(handler)
        return f"{kind.__module__}.{kind.__qualname__}"
    return f"{getattr(handler, '__module__', '?')}.{name}"


def place(handler: object) -> str:
    """Say where a handler is written: `file:line`, or its name where it has no source."""
    target: Any = handler
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    code = getattr(target, "__code__", None) or getattr(type(target).__call__, "__code__", None)
    if code is None:
        return describe(handler)
    return f"{code.co_filename}:{code.co_firstlineno}"


def declared(handler: object) -> str:
    """Say where a handler is written; of one of this package's, where the script names it.

    Args:
        handler: That the script registers just now.
    """
    found = place(handler)
    frame = inspect.currentframe() if found.startswith(_PACKAGE) else None
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return found if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def generates(handler: object) -> bool:
    """Tell whether calling `handler` runs nothing but gives a generator."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    return inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler)


def check_handler(
    handler: object, decorator: str, *arguments: str, may_yield: bool = False
) -> None:
    """Refuse at decoration what could only fail at the first call.

    Args:
        handler: What was decorated.
        decorator: The decorator's name, or "only=" of an argument, for the error's text.
        arguments: The names of the positional arguments a handler gets.
        may_yield: Whether what it yields is used.

    Raises:
        TypeError: It is no callable, does not take these arguments, or would never run.
    """
    where = decorator if decorator.endswith("=") else f"@{decorator}"
    if not callable(handler):
        message = f"{where} needs a function, not {type(handler).__name__}"
        raise TypeError(message)
    if not may_yield and generates(handler):
        message = (
            f"{where}: {describe(handler)} at {place(handler)} has a `yield`, so calling it "
            "would run nothing: take the `yield` out"
        )
        raise TypeError(message)
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # written in C: nothing is known about it
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        takes = f"({', '.join(arguments)})" if arguments else "no arguments"
        message = (
            f"{where}: {describe(handler)} at {place(handler)} is called with {takes}, "
            f"but is written as {signature}: {error}"
        )
        raise TypeError(message) from None
