"""What scripts leave behind at the end: exit functions, child processes, threads.

The interpreter is never finalised, so Python's own end never comes: threading._shutdown and the
hooks of concurrent.futures must not run, as no thread pool would work after a reset.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger("orthanc_async")

_FOR_POOLS = 1.0  # seconds, after which their processes are ended one by one
_MARGIN = 0.2  # seconds before the deadline, for what this says and kills

_registered: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []


@contextmanager
def caught(is_script: Callable[[str], bool]) -> Iterator[None]:
    """While scripts load, keep the exit functions that they register.

    Args:
        is_script: Tells by a module's name whether it is a script or lies beside one. Libraries
            stay imported over a reset, so their exit functions must not run there.
    """
    _registered.clear()
    original = atexit.register

    def register(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        if is_script(sys._getframe(1).f_globals.get("__name__", "")):
            _registered.append((function, args, kwargs))
            return function
        return original(function, *args, **kwargs)

    atexit.register = register
    try:
        yield
    finally:
        atexit.register = original


def run(deadline: float) -> None:
    """Run exit functions, end children, join threads, until `deadline` (time.monotonic()).

    Thread: the loop's, after the loop.
    """
    while _registered:
        function, args, kwargs = _registered.pop()
        try:
            function(*args, **kwargs)
        except BaseException:
            logger.exception("exit function %r raised", function)
    deadline -= _MARGIN
    _end_children(deadline)
    _join_threads(deadline)


def _end_children(deadline: float) -> None:
    util: Any = sys.modules.get("multiprocessing.util")
    processes: Any = sys.modules.get("multiprocessing.process")
    if util is None or processes is None:
        return
    # Pools end here, in an order of their own: a worker that was terminated before may have held
    # the lock that they ask for, so they go first, and nobody waits for them without end.
    finalizers = threading.Thread(target=_run_finalizers, args=(util,), daemon=True)
    finalizers.start()
    finalizers.join(min(_FOR_POOLS, max(0.1, deadline - time.monotonic())))
    _each(processes.active_children(), "terminate", deadline)
    left = processes.active_children()
    if left:
        logger.warning("killed, as they do not end: %s", ", ".join(child.name for child in left))
        _each(left, "kill", time.monotonic() + 0.5)


def _run_finalizers(util: Any) -> None:
    try:
        util._run_finalizers()
    except BaseException:
        logger.exception("ending the process pools of a script")


def _each(children: list[Any], method: str, deadline: float) -> None:
    for child in children:
        getattr(child, method)()
    for child in children:
        child.join(max(0.1, deadline - time.monotonic()))


def _join_threads(deadline: float) -> None:
    pools: Any = sys.modules.get("concurrent.futures.thread")
    workers = set(pools._threads_queues) if pools is not None else set()
    own = threading.current_thread()
    for thread in threading.enumerate():
        if thread is own or thread.daemon or thread in workers:
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            logger.warning("thread %s of a script still runs when Orthanc stops", thread.name)
