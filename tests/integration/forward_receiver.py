"""A web service in the test's process that takes files, and can be made to misbehave."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType


class Receiver:
    """Takes what is posted.

    Attributes:
        files: The last body of each path.
        requests: The paths of all bodies that came whole, in order.
        headers: Of each of these requests.
        status: What is answered.
        delay: Seconds that a request takes longer.
        keep: Whether bodies are kept.
        bytes: How many have come.
        trouble: Called with the handler of a request in place of taking it; None: it is taken.
        met: How many requests have met this trouble.
        over: Set at the end, for what waits in a trouble.

    Args:
        port: 0: a free one.
        tls: For HTTPS.
    """

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.delay = 0.0
        self.keep = True
        self.bytes = 0
        self.trouble: Callable[[BaseHTTPRequestHandler, threading.Event], None] | None = None
        self.met = 0
        self.over = threading.Event()
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                if receiver.trouble is not None:
                    receiver.met += 1
                    self.close_connection = True
                    receiver.trouble(self, receiver.over)
                    return
                size = int(self.headers["Content-Length"])
                body = self.rfile.read(size)
                if len(body) == size:
                    receiver._take(self.path, body, dict(self.headers))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

            def handle(self) -> None:
                receiver._connections.add(self.connection)
                try:
                    super().handle()
                except OSError:  # the sender was killed, or the receiver ends
                    self.close_connection = True
                finally:
                    receiver._connections.discard(self.connection)

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            # The handshake is the handler's, whose thread nobody else waits for.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its address."""
        return f"http{'' if self._tls is None else 's'}://127.0.0.1:{self.port}"

    def _take(self, path: str, body: bytes, headers: dict[str, str]) -> None:
        time.sleep(self.delay)
        with self._lock:
            self.requests.append(path)
            self.headers.append(headers)
            self.bytes += len(body)
            if self.keep and self.status < 300:
                self.files[path] = body

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        # Those that senders keep would be served on, by threads of their own.
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
