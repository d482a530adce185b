"""A small disk of the tests' own, and how it is filled."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def small_disk() -> Iterator[Path]:
    """Mount a disk of 2 MB; skip the test where that is not allowed."""
    # Not below pytest's own folder: a run that is killed leaves the mount, which nobody can remove
    # as a folder.
    folder = Path(tempfile.mkdtemp(prefix="orthanc-async-disk-"))
    mounted = False
    try:
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2M", "none", folder],
            capture_output=True,
            check=False,
        )
        mounted = made.returncode == 0
        if not mounted:
            pytest.skip("no right to mount")
        yield folder
    finally:
        if mounted:
            # Lazily: also with a file that is still open.
            subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def fill_up(path: Path) -> None:
    """Write a file until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
