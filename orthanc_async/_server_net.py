"""Ports and processes as Linux shows them under /proc."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LISTEN = "0A"
_ANY = ""


def free_port() -> int:
    """Return a TCP port that is free on all addresses at this moment."""
    with socket.socket() as probe:
        probe.bind((_ANY, 0))
        return int(probe.getsockname()[1])


def port_taken(port: int) -> bool:
    """Tell whether some process serves on a TCP port of this machine."""
    with socket.socket() as probe:
        # As Orthanc does it: connections that linger after a server's end do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_ANY, port))
        except PermissionError:
            return any(True for _ in _listening_inodes(port))
        except OSError:
            return True
    return False


def listens(pid: int, port: int) -> bool:
    """Tell whether a process itself has a listening socket on a TCP port."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return bool(sockets) and not sockets.isdisjoint(_open_files(pid))


def port_owner(port: int) -> tuple[int, str] | None:
    """Return id and name of the process that serves on a port, as far as this user may see."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if not sockets.isdisjoint(_open_files(pid)):
            with contextlib.suppress(OSError):
                return pid, (folder / "comm").read_text().strip()
    return None


def process_session(leader: int) -> list[int]:
    """Return the ids of the living processes in the session that `leader` began."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name in parentheses may hold anything; what follows it is regular.
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(folder.name))
    return sorted(found)


def _listening_inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - thousands of them, so no Path
            with contextlib.suppress(OSError):
                yield os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115
