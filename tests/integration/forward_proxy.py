"""A proxy before a server, which cuts connections in the middle."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Passes on what is sent, both ways.

    Attributes:
        most: Bytes that senders may send in all before their connections are cut; None: no limit.
        passed: Bytes of senders that were passed on.
        cut: How many connections were cut.

    Args:
        port: Of the server.
    """

    def __init__(self, port: int, most: int | None) -> None:
        self.most = most
        self.passed = 0
        self.cut = 0
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self._thread = threading.Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed: the end
            while True:
                sender, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                for target, ends in (
                    (self._send_on, (sender, server)),
                    (self._answer, (server, sender)),
                ):
                    threading.Thread(target=target, args=ends, daemon=True).start()

    def _send_on(self, sender: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError), server:
            while data := sender.recv(4096):
                most = self.most
                allowed = data if most is None else data[: max(0, most - self.passed)]
                server.sendall(allowed)
                self.passed += len(allowed)
                if len(allowed) < len(data):
                    self.cut += 1
                    for end in (sender, server):
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    # Shut first: another thread that reads of it would keep it open.
                    sender.shutdown(socket.SHUT_RD)
                    sender.close()
                    break
            server.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _answer(server: socket.socket, sender: socket.socket) -> None:
        with contextlib.suppress(OSError), sender:
            while data := server.recv(4096):
                sender.sendall(data)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
