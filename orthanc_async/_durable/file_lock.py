"""The lock that keeps a second server off a folder."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING

from orthanc_async._durable.store import StoreLockedError

if TYPE_CHECKING:
    from pathlib import Path

# Which lock files this process holds, by device and inode: the kernel's locks are between
# processes only, and closing any other descriptor of such a file would end ours.
_held: set[tuple[int, int]] = set()


class FileLock:
    """A lock on a file of its own, by a record lock of the kernel.

    It ends with the process, however that ends, and no forked child inherits it. The file stays
    behind: removing it would let two servers lock two files of one name.
    """

    def __init__(self, path: Path, guarded: Path, server: str) -> None:
        self._path = path
        self._guarded = guarded
        self._server = server
        self._descriptor: int | None = None
        self._identity = (0, 0)

    def take(self) -> None:
        """Take the lock.

        Raises:
            StoreLockedError: Another store, or another server, has it.
            OSError: The file cannot be made.
        """
        try:
            if identify(self._path.stat()) in _held:
                raise self.refused(f"process {os.getpid()}, which is this one")
        except FileNotFoundError:
            pass
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = os.pread(descriptor, 500, 0).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise self.refused(holder) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._identity = identify(os.fstat(descriptor))
        _held.add(self._identity)
        holder = f"process {os.getpid()} on {socket.gethostname()} ({self._server})\n"
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, holder.encode("utf-8", "replace"), 0)
        except OSError:
            pass  # a full disk: the lock holds without its text

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._descriptor is not None:
            _held.discard(self._identity)
            os.close(self._descriptor)
            self._descriptor = None

    def refused(self, holder: str = "") -> StoreLockedError:
        """Return the error that names the holder, if it is known."""
        return StoreLockedError(
            f"{self._guarded} is in use by {holder or 'another program'}: stop that, or give each "
            'server a folder of its own by the setting "Python.Store"; servers that are to share '
            "their work need PostgreSQL"
        )


def identify(status: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from all others, whatever its name."""
    return status.st_dev, status.st_ino
