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
from multiprocessing import spawn
from typing import Any

import orthanc
from orthanc_async import _loop, _worker
from orthanc_async._host import logs
from orthanc_async._host._native import native

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_blocked = threading.local()  # the mask of each thread that is about to fork
_plain_path: list[str] = []  # sys.path as it was before the first script
_facts: dict[str, object] = {}  # as they were when a child was last told
_standard_preparation = spawn.get_preparation_data
# Under this name the standard library prepares the process that forks children for forkserver.
_NO_CHILD = "ignore"


@functools.cache  # hooks cannot be taken back: once per process
def install() -> None:
    """Prepare for children: in forked ones the SDK raises, and they write to stderr.

    Those of the start methods spawn and forkserver run the module named here first.
    """
    os.register_at_fork(before=_block, after_in_parent=_unblock, after_in_child=_in_child)
    # Python's own start does so, but not without its signal handlers: writing to a pipe that
    # nobody reads raises, here and in children, instead of ending the process.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.SIG_IGN)
    sys.modules["__main__"].__spec__ = ModuleSpec("orthanc_async._worker", None)
    _plain_path[:] = sys.path
    spawn.get_preparation_data = _preparation


def _preparation(name: str) -> dict[str, Any]:
    """Return what a child begins with that is not forked."""
    data: dict[str, Any] = _standard_preparation(name)
    # A script may have replaced the path after its imports; the child has them still to do.
    data["sys_path"] += [folder for folder in _plain_path if folder not in data["sys_path"]]
    if name != _NO_CHILD:
        data["sys_argv"] = [*data["sys_argv"], _current_facts()]
    return data


def _current_facts() -> dict[str, object]:
    for name in _worker.FACTS:
        try:
            _facts[name] = getattr(orthanc, name)()
        except (AttributeError, RuntimeError, orthanc.OrthancException):
            continue  # this Orthanc does not know it, or is stopping: what was known stays
    return _facts


def _in_child() -> None:
    native._mark_forked()
    # What a script registers again in a child is of no use there, and no error.
    for name in dir(orthanc):
        if name.startswith("Register"):
            setattr(orthanc, name, _ignore)
    _worker.log_to_stderr()
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
