"""Audit logs: functions that are called with what plugins report about their users."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, TypeVar, overload

from orthanc_async import _waited

if TYPE_CHECKING:
    from collections.abc import Callable

    import orthanc

    _Handler = TypeVar("_Handler", bound=Callable[["AuditLog"], Any])

__all__ = ["AuditLog", "on_audit_log"]


@dataclasses.dataclass(frozen=True, slots=True)
class AuditLog:
    """Who has done what to which resource.

    Attributes:
        source: The plugin that reports it, and whose words `action` and `data` are.
        user: Who has done it.
        level: The kind of resource.
        resource: The resource.
        action: What was done.
        data: More about it, in the plugin's own format.
    """

    source: str
    user: str
    level: orthanc.ResourceType
    resource: str
    action: str
    data: bytes = dataclasses.field(repr=False)


@overload
def on_audit_log(handler: _Handler, /) -> _Handler: ...
@overload
def on_audit_log(*, timeout: float | None = None) -> Callable[[_Handler], _Handler]: ...
def on_audit_log(handler: Any = None, /, *, timeout: float | None = None) -> Any:
    """Call a function with each `AuditLog` that a plugin emits.

    Who emits it waits until every handler has ended. One that raises is logged, and keeps no other
    from its copy. Needs Orthanc 1.12.9. Registers by `OrthancPluginRegisterAuditLogHandler`.

    Args:
        handler: A `def` or an `async def`, called with the entry; what it returns is not used.
        timeout: How many seconds are waited for an `async def`; 30 unless given.

    Returns:
        The handler unchanged; without a handler the decorator.

    Raises:
        TypeError: The handler does not take the entry, or the timeout is no number.
        ValueError: The timeout is not above 0, or not finite.
        RuntimeError: This Orthanc is too old.
        AttributeError: The plugin was built with the SDK of an older Orthanc.
    """
    return _waited.register(
        handler,
        "on_audit_log",
        "entry",
        "RegisterAuditLogHandler",
        timeout=timeout,
        question=AuditLog,
    )
