"""Read a large image whole, and see what that costs in time and in memory."""

from __future__ import annotations

import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE = 14142
BYTES = SIDE * SIDE  # 200 MB, one byte a pixel


def measure(read: Callable[[bytes], Any]) -> dict[str, float]:
    """Have `read` make an image of 200 MB of pixels and return a buffer with all of them.

    Args:
        read: Called with the pixels.

    Returns:
        The seconds from the pixels to the checksum, how many times the image was in memory beside
        the pixels at the peak, and the checksum.
    """
    pixels = b"\x01" * BYTES
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _kilobytes("VmRSS")
    start = time.monotonic()
    checksum = zlib.adler32(read(pixels))
    seconds = time.monotonic() - start
    copies = (_kilobytes("VmHWM") - before) * 1024 / BYTES
    return {"seconds": seconds, "copies": copies, "checksum": checksum}


def _kilobytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise LookupError(name)
