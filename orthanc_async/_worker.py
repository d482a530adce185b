"""The main module of worker processes that do not begin as a copy of Orthanc.

With the start methods `spawn` and `forkserver` (Python 3.14's default) a worker imports the script
again, to find the functions that it is to call. A script that makes a pool at its top level would
make one there too: a worker cannot have children, would die, be replaced and die again, without
end. So what the top level of a script starts is nothing here. What a worker starts later, inside a
function that it was given, is started.

The top level may also ask the SDK for what does not change, which it is told, and set what has
been set in Orthanc's own process, which does nothing.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import _default_context
from multiprocessing.managers import BaseManager
from multiprocessing.pool import Pool, ThreadPool
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Self

import orthanc
from orthanc_async import _children

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_SETTERS = ("Set", "Extend")


class Nothing:
    """Stands for what was not started, and for all that comes from it."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __getattr__(self, name: str) -> Nothing:
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing()

    def __call__(self, *_: object, **__: object) -> Nothing:
        return Nothing()

    def __iter__(self) -> Iterator[Nothing]:
        return iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def importing() -> bool:
    """Tell whether the code that asks runs at the top level of a module that is being imported."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        # The bottom of the stack is the top level of __main__: the worker's own start.
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") != "__main__":
            return True
    return False


def _inert(owner: type, name: str, otherwise: Callable[[Any], object]) -> None:
    """Let a method do something else while a module is being imported."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def method(self: Any, *arguments: Any, **named: Any) -> object:
        if importing() and not isinstance(self, ThreadPool):
            return otherwise(self)
        return original(self, *arguments, **named)

    setattr(owner, name, method)


def _begin() -> None:
    """Prepare this process for the script, which is imported next."""
    arguments: list[Any] = sys.argv
    facts = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    _children.stand_in(facts)
    _children.hand_on(lambda: facts)
    for name in dir(orthanc):
        if name.startswith(_SETTERS) and callable(getattr(orthanc, name)):
            setattr(orthanc, name, functools.partial(_set, getattr(orthanc, name)))


def _set(function: Callable[..., object], *arguments: object) -> object:
    return None if importing() else function(*arguments)


def _become_nothing(self: Any) -> None:
    self.__class__ = Nothing


def _return_nothing(_: Any) -> Nothing:
    return Nothing()


def _do_nothing(_: Any) -> None:
    pass


if __name__ == "__mp_main__":
    _begin()
    # A worker has its start method already; the module holds a bound method.
    _inert(type(_default_context), "set_start_method", _do_nothing)
    multiprocessing.set_start_method = _default_context.set_start_method
    _inert(Pool, "__init__", _become_nothing)
    _inert(BaseManager, "start", _become_nothing)
    _inert(ProcessPoolExecutor, "submit", _return_nothing)
    _inert(ProcessPoolExecutor, "map", _return_nothing)
    _inert(BaseProcess, "start", _do_nothing)
    _inert(BaseProcess, "join", _do_nothing)
