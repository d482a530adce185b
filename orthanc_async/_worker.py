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
import os
import sys
import uuid
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import spawn
from multiprocessing.context import _default_context
from multiprocessing.managers import BaseManager
from multiprocessing.pool import Pool, ThreadPool
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, Self

import orthanc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


# What scripts ask at their top level, without arguments; Orthanc's own process hands it on.
FACTS = (
    "GetConfiguration",
    "GetConfigurationPath",
    "GetOrthancDirectory",
    "GetOrthancPath",
    "GenerateRestApiAuthorizationToken",
    "GetExpectedDatabaseVersion",
    "GetCommandLineArgumentsCount",
)
# Under this name the standard library prepares the process that forks children for forkserver.
_NO_CHILD = "ignore"
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


def hand_on(facts: Callable[[], dict[str, object]]) -> None:
    """Let the children of this process that are not forked begin with what they need.

    Args:
        facts: gives the facts; called for each child, on the thread that starts it.
    """
    standard = spawn.get_preparation_data
    plain_path = list(sys.path)

    def prepare(name: str) -> Any:
        data: dict[str, Any] = standard(name)
        # A script may have replaced the path after its imports; the child has them still to do.
        data["sys_path"] += [folder for folder in plain_path if folder not in data["sys_path"]]
        if name != _NO_CHILD:
            data["sys_argv"] = [*data["sys_argv"], facts()]
        return data

    spawn.get_preparation_data = prepare


def stand_in(facts: dict[str, object]) -> None:
    """Let the SDK be of use in a process that is no Orthanc: for its log and what never changes.

    Args:
        facts: what each function of `FACTS` gives.
    """
    for name in ("LogError", "LogWarning", "LogInfo"):
        setattr(orthanc, name, functools.partial(_log, name[3]))
    for name, value in facts.items():
        setattr(orthanc, name, functools.partial(_fact, value))
    orthanc.GenerateUuid = _new_uuid


def _log(level: str, message: str, /) -> None:
    if level != "I":  # as Orthanc does when it is not verbose
        print(f"{level} (process {os.getpid()}): {message}", file=sys.__stderr__, flush=True)


def _fact(value: object) -> object:
    return value


def _new_uuid() -> str:
    return str(uuid.uuid4())


def _begin() -> None:
    """Prepare this process for the script, which is imported next."""
    arguments: list[Any] = sys.argv
    facts = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
    stand_in(facts)
    hand_on(lambda: facts)
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
