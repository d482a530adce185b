"""Child processes of scripts.

Forked ones have no server, and a log lock that nobody will release; others import the script, and
are told what it may ask of the SDK there.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
import threading
from importlib.machinery import ModuleSpec
from typing import Any

import orthanc
from orthanc_async import _children, _loop
from orthanc_async._host import logs
from orthanc_async._host._native import native

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_blocked = threading.local()  # the mask of each thread that is about to fork
_facts: dict[str, object] = {}  # what children are told


def install() -> None:
    """Prepare for children: they have no server, and write to stderr."""
    _facts.clear()
    _install_hooks()


@functools.cache  # hooks cannot be taken back: once per process
def _install_hooks() -> None:
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_in_child)
    # Python's own start does so, but not without its signal handlers: writing to a pipe that
    # nobody reads raises, here and in children, instead of ending the process.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.SIG_IGN)
    # Children of the start methods spawn and forkserver run this module first.
    sys.modules["__main__"].__spec__ = ModuleSpec("orthanc_async._worker", None)
    _children.hand_on(_ask_facts)


def _ask_facts() -> dict[str, object]:
    # Once per start of the scripts: Orthanc remembers each token that it has given.
    for name in _children.FACTS:
        if name in _facts:
            continue
        try:
            _facts[name] = getattr(orthanc, name)()
        except (AttributeError, RuntimeError, orthanc.OrthancException):
            continue  # this Orthanc does not know it, or is stopping
    return _facts


def _in_child() -> None:
    native._mark_forked()
    # What a script registers again in a child is of no use there, and no error.
    for name in dir(orthanc):
        if name.startswith("Register"):
            setattr(orthanc, name, _ignore)
    _children.stand_in(_facts)
    native._loop_runs(False)
    _loop._set(None)
    asyncio._set_running_loop(None)
    logs.use_stderr()
    # Orthanc's handlers only note a signal for its main loop, which is not here: with them a child
    # could not be terminated, and closing a process pool would wait for it without end.
    for number in _SIGNALS:
        if signal.getsignal(number) in (None, signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, signal.SIG_DFL)
    _unblock()
    _become_main_thread()


def _block() -> None:
    """Let a signal that comes before the child has its own handlers wait for them."""
    _ask_facts()
    _blocked.before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _blocked.before)


def _become_main_thread() -> None:
    """Let a child that a native thread has forked end as one that a Python thread has forked.

    Before Python 3.13 its only thread stays a dummy, on which threading._shutdown fails: the
    process would end with exit code 1, whatever the script says.
    """
    thread: Any = threading.current_thread()
    kinds: Any = threading
    if isinstance(thread, kinds._DummyThread):
        thread.__class__ = kinds._MainThread
        thread._name = "MainThread"
        thread._daemonic = False
        if getattr(thread, "_tstate_lock", thread) is None:
            thread._set_tstate_lock()


def _ignore(*_arguments: Any) -> None:
    """Stand in for the functions that register a callback."""
