"""Results of SDK functions as memory that is read in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def make_without_copy(native: Any, twins: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function `without_copy`.

    Args:
        native: The native module, or what stands in for it.
        twins: By name, each function whose result is one memory buffer: None for one that
            blocks, for one that is awaited the native function behind it.

    """

    async def awaited(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        return await native.without_copy(function, *arguments)

    def without_copy(function: Callable[..., Any], /, *arguments: Any) -> Any:
        name = str(getattr(function, "__qualname__", ""))
        if name not in twins or getattr(function, "__module__", "orthanc") not in {
            "orthanc",
            None,  # a bound method of a native class has none
        }:
            msg = (
                "orthanc.without_copy() takes an SDK function that gives bytes, such as "
                f"orthanc.rest_api_get, and then its arguments, not {function!r}"
            )
            raise TypeError(msg)
        twin = twins[name]
        if twin is None:
            return native.without_copy(function, *arguments)
        instance = getattr(function, "__self__", None)
        return awaited(twin, arguments if instance is None else (instance, *arguments))

    without_copy.__qualname__ = "without_copy"
    without_copy.__module__ = "orthanc"
    return without_copy
