"""Handlers that want a whole body, on a path whose bodies come in chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthanc_async.rest._request import Request
    from orthanc_async.rest._routes import Entry


def collect_first(entry: Entry) -> None:
    """Have an entry collect the body before its handler is called."""
    call, await_ = entry.call, entry.await_

    def collect_and_call(request: Request) -> Any:
        body = request._fields.get("body")
        if body is not None:
            request._fields["body"] = b"".join(body)
        return call(request)

    async def collect_and_await(request: Request) -> Any:
        body = request._fields.get("body")
        if body is not None:
            request._fields["body"] = b"".join([chunk async for chunk in body])
        return await await_(request)

    entry.call, entry.await_ = collect_and_call, collect_and_await
