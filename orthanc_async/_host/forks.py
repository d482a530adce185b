"""Forked children: no server, and a log lock that nobody will release."""

from __future__ import annotations

import asyncio
import functools
import os

from orthanc_async import _loop
from orthanc_async._host import logs
from orthanc_async._host._native import native


@functools.cache  # hooks cannot be taken back: once per process
def install() -> None:
    """See to it that the SDK raises in forked children, and that they write to stderr."""
    os.register_at_fork(after_in_child=_in_child)


def _in_child() -> None:
    native._mark_forked()
    native._loop_runs(False)
    _loop._set(None)
    asyncio._set_running_loop(None)
    logs.use_stderr()
