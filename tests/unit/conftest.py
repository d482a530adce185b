"""What the unit tests share: captured registrations, a recorded answer, a loop in a thread."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import orthanc
import pytest
from orthanc_async import _loop, _registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Output:
    """Stands for a `RestOutput`: notes each call by a short name."""

    _NAMES: ClassVar = {
        "AnswerBuffer": "answer",
        "SendHttpStatus": "status",
        "SendMethodNotAllowed": "not allowed",
        "SetHttpHeader": "header",
        "SetCookie": "cookie",
        "StartMultipartAnswer": "multipart",
        "SendMultipartItem": "item",
        "StartStreamAnswer": "stream",
        "SendStreamChunk": "chunk",
        "send_multipart_item": "item",
        "send_stream_chunk": "chunk",
    }

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, method: str) -> Callable[..., Any]:
        name = self._NAMES.get(method)
        if name is None:
            raise AttributeError(method)

        def call(*arguments: Any) -> Any:
            # Bodies may be text or bytes; both are the same to the client.
            body = {"answer": 0, "status": 1}.get(name)
            self.calls.append(
                (
                    name,
                    *(
                        value.encode() if index == body and isinstance(value, str) else value
                        for index, value in enumerate(arguments)
                    ),
                )
            )
            return _done() if method.islower() else None

        return call

    @property
    def last(self) -> tuple[Any, ...]:
        """The call that ended the answer."""
        return self.calls[-1]

    def error(self) -> tuple[int, dict[str, Any]]:
        """The status and the fields of an error answer."""
        kind, status, body = self.last
        assert kind == "status"
        assert ("header", "Content-Type", "application/json") in self.calls
        return status, json.loads(body)


async def _done() -> None:
    pass


@dataclasses.dataclass
class Server:
    """What Orthanc was told, and what its REST API answers."""

    routes: dict[str, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    changes: list[Callable[..., Any]] = dataclasses.field(default_factory=list)
    stored: list[Callable[..., Any]] = dataclasses.field(default_factory=list)
    answers: dict[str, Any] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)

    def request(self, route: str, uri: str, method: str = "GET", **fields: Any) -> Output:
        """Send a request to the only or the named native route, as the plugin would."""
        output = Output()
        fields = {"method": method, "groups": (), "headers": {}, **fields}
        result = self.routes[route](output, uri, **fields)
        if asyncio.iscoroutine(result):
            asyncio.run(result)
        return output

    def change(self, type_: int, level: int, identifier: str) -> None:
        """Announce a change to every handler that takes it, as the plugin would."""
        for handler in self.changes:
            result = handler(type_, level, identifier)
            if asyncio.iscoroutine(result):
                asyncio.run(result)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Capture registrations, and forget all of them afterwards."""
    server = Server()

    async def rest_api_get(uri: str) -> bytes:
        server.asked.append(f"GET {uri}")
        if uri not in server.answers:
            raise orthanc.OrthancException(
                orthanc.ErrorCode.UNKNOWN_RESOURCE, f"Unknown resource: GET {uri}"
            )
        answer = server.answers[uri]
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    async def rest_api_delete(uri: str) -> None:
        server.asked.append(f"DELETE {uri}")

    def register_rest(regex: str, callback: Callable[..., Any]) -> None:
        assert regex not in server.routes, "a path is registered once"
        server.routes[regex] = callback

    monkeypatch.setattr(orthanc, "RegisterRestCallback", register_rest)
    monkeypatch.setattr(orthanc, "RegisterOnChangeCallback", server.changes.append)
    monkeypatch.setattr(orthanc, "RegisterOnStoredInstanceCallback", server.stored.append)
    monkeypatch.setattr(orthanc, "rest_api_get", rest_api_get)
    monkeypatch.setattr(orthanc, "rest_api_delete", rest_api_delete)
    _registry.clear()
    yield server
    _registry.clear()


@pytest.fixture
def loop_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Run a loop in a thread of its own, announced as the plugin's."""
    loop = asyncio.new_event_loop()
    running = threading.Event()
    loop.call_soon(running.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert running.wait(10)
    _loop._set(loop)
    yield loop
    _loop._set(None)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    assert not thread.is_alive()
    loop.close()
