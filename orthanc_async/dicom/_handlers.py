"""What the decorators of this package share."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import orthanc
from orthanc_async import _registry


def is_async(handler: object) -> bool:
    """Tell whether a handler runs on the loop: `async def`, with or without a `yield`."""
    function = handler
    while isinstance(function, functools.partial):
        function = function.func
    return _registry.is_async(handler) or inspect.isasyncgenfunction(function)


def register(plain: str, connected: str, *callbacks: Any) -> None:
    """Register with Orthanc, in the form that gives the connection where there is one.

    Args:
        plain: The SDK's function that every Orthanc has.
        connected: The one that gives the connection, from Orthanc 1.12.10 on.
        callbacks: The arguments of either.
    """
    try:
        newer = hasattr(orthanc, connected) and orthanc.CheckVersionAdvanced(1, 12, 10)
    except RuntimeError:  # in a worker process, where registering does nothing
        newer = False
    getattr(orthanc, connected if newer else plain)(*callbacks)


def peer_of(peer: tuple[Any, ...]) -> tuple[str, str, str | None]:
    """Return the AET of who asks, the AET it has called, and its address where Orthanc tells.

    Args:
        peer: The last arguments of a callback: two AETs, or the connection.
    """
    if len(peer) == 1:
        (connection,) = peer
        return (
            connection.GetConnectionRemoteAet(),
            connection.GetConnectionCalledAet(),
            connection.GetConnectionRemoteIp(),
        )
    remote, called = peer
    return remote, called, None
