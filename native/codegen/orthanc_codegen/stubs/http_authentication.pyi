"""Who asks: native/callbacks/http_authentication.cpp and audit_log.cpp."""

from collections.abc import Callable

def RegisterHttpAuthentication(callback: Callable[..., object], /) -> None:
    """Register the handler that authenticates each HTTP request, in place of Orthanc's own.

    Orthanc then ignores RegisteredUsers, AuthenticationEnabled and the tokens of
    GenerateRestApiAuthorizationToken. The callback gets (uri, **request), where request has `ip`,
    `headers` (names in lower case) and `get` (the query of a GET), and is a `def` or an
    `async def`. It returns a tuple: (HttpAuthenticationStatus.GRANTED, payload or None),
    (HttpAuthenticationStatus.UNAUTHORIZED, None), (HttpAuthenticationStatus.FORBIDDEN, None) or
    (HttpAuthenticationStatus.REDIRECT, path), payload and path as bytes or str.
    REST callbacks get the payload as request["authenticationPayload"], bytes.

    The client waits. A handler that raises, returns something else or takes longer than 30 s
    refuses the request with HTTP status 500, whatever OnFilterError says.

    Args:
        callback: The handler; there can be only one.

    Raises:
        TypeError: It is not callable.
        RuntimeError: There is a handler already, in this plugin or in another, this Orthanc is
            older than 1.12.9 or has stopped, or it was called on the running event loop.

    SDK function: OrthancPluginRegisterHttpAuthentication().
    """

def RegisterAuditLogHandler(
    callback: Callable[[str, str, ResourceType, str, str, bytes], object], /
) -> None:
    """Register a handler for the audit logs that plugins emit with EmitAuditLog.

    The callback gets (sourcePlugin, userId, resourceType, resourceId, action, logData) and is a
    `def` or an `async def`. Every registered handler gets each entry; what it returns does not
    matter. Who emits an entry waits until the handlers have ended, at most 30 s each; one that
    raises is logged.

    Args:
        callback: The handler.

    Raises:
        TypeError: It is not callable.
        RuntimeError: This Orthanc is older than 1.12.9 or has stopped, or the first handler came
            on the running event loop.

    SDK function: OrthancPluginRegisterAuditLogHandler().
    """
