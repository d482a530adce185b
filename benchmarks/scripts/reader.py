"""A web service that reads what it is sent as fast as it can, and answers 200.

It prints its port. Only what curl and aiohttp send here is understood: bodies with a length.
"""

from __future__ import annotations

import re
import socket
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def serve(connection: socket.socket) -> None:
    """Read one request after another."""
    buffer = memoryview(bytearray(1 << 20))
    kept = b""
    while True:
        while b"\r\n\r\n" not in kept:
            more = connection.recv(1 << 16)
            if not more:
                return
            kept += more
        head, _, kept = kept.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if found is None:
            raise SystemExit(f"a body without a length: {head.decode()}")
        left = int(found[1]) - len(kept)
        kept = b""
        while left > 0:
            size = connection.recv_into(buffer, min(left, len(buffer)))
            if not size:
                return
            left -= size
        connection.sendall(ANSWER)


def main() -> None:
    """Serve until the end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    main()
