"""What receivers do to those who send to them: each is a `Receiver.trouble`."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading
    from http.server import BaseHTTPRequestHandler

PACE = 1.0  # seconds for a byte
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + 600 * b"."


def close_in_mid_body(handler: BaseHTTPRequestHandler, _over: threading.Event) -> None:
    """Take a part of the body, and cut the connection."""
    size = int(handler.headers["Content-Length"])
    handler.rfile.read(min(1000, size // 2))
    # A reset: what the other side has sent beyond is thrown away too.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def stall(_handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """Take nothing more, and say nothing."""
    over.wait()


def take_slowly(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """Take a byte a second."""
    while handler.connection.recv(1) and not over.wait(PACE):
        pass


def answer_slowly(handler: BaseHTTPRequestHandler, over: threading.Event) -> None:
    """Take all, and answer a byte a second."""
    handler.rfile.read(int(handler.headers["Content-Length"]))
    for number in range(len(ANSWER)):
        if over.wait(PACE):
            return
        handler.connection.sendall(ANSWER[number : number + 1])


def fail(handler: BaseHTTPRequestHandler, _over: threading.Event) -> None:
    """Answer 500."""
    handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.send_response(500)
    handler.send_header("Content-Length", "0")
    handler.end_headers()
    handler.close_connection = False
