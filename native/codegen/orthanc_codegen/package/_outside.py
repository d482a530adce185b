"""Stands in for the native module where there is no Orthanc: tests, editors, worker processes."""

from __future__ import annotations

import inspect
import multiprocessing
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HELP = (
    "needs a running Orthanc: start the script with 'orthanc-async run SCRIPT', or name it in "
    'the "Scripts" of the section "Python" of Orthanc\'s configuration; in a test, replace this '
    "function by one of your own"
)


def _is_worker() -> bool:
    # A worker that imports the script to find its target does not know its parent yet.
    main = sys.modules["__main__"].__name__
    return multiprocessing.parent_process() is not None or main == "__mp_main__"


def _missing(name: str) -> Callable[..., Any]:
    def missing(*_arguments: Any) -> None:
        # Worker processes import the script too, and its callbacks are of no use there.
        if name.startswith("Register") and _is_worker():
            return
        msg = f"orthanc.{name}() {_HELP}"
        raise RuntimeError(msg)

    missing.__name__ = missing.__qualname__ = name
    missing.__module__ = "orthanc"
    return missing


def _missing_class(name: str, methods: Iterable[str]) -> type:
    members: dict[str, Any] = {method: _missing(f"{name}.{method}") for method in methods}
    members |= {"__module__": "orthanc", "__doc__": f"{name} of the Orthanc SDK."}
    members["__init__"] = _missing(name)
    return type(name, (), members)


class _Native:
    """Has the classes, and a function for every other name."""

    def __init__(
        self, classes: dict[str, tuple[str, ...]], without_arguments: tuple[str, ...]
    ) -> None:
        for name, methods in classes.items():
            setattr(self, name, _missing_class(name, methods))
        for name in without_arguments:
            function = _missing(name)
            function.__signature__ = inspect.Signature()  # type: ignore[attr-defined]
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return _missing(name)


def make_native(
    classes: dict[str, tuple[str, ...]], without_arguments: tuple[str, ...]
) -> _Native:
    """Return what stands in for the native module.

    Args:
        classes: The names of each class's methods.
        without_arguments: The functions that take none, which type checkers compare.

    """
    return _Native(classes, without_arguments)
