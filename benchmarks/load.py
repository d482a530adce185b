"""Load a server with wrk, which leaves most of the machine to the server."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

REPORT = Path(__file__).resolve().parent / "report.lua"


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw.

    Attributes:
        rate: Answers a second.
        p50: Median latency in microseconds.
        p99: 99th percentile of the latency in microseconds.
    """

    rate: float
    p50: float
    p99: float


def run(url: str, *, connections: int, seconds: int) -> Load:
    """Send GET requests in a closed loop over connections that are kept.

    Args:
        url: What to get.
        connections: How many requests are under way at any time.
        seconds: How long to go on.

    Raises:
        BenchmarkError: wrk is missing, or any answer was an error: the rate would be a lie.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(REPORT), url]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=seconds + 60
        )
    except FileNotFoundError:
        raise BenchmarkError("wrk is missing: `apt-get install wrk`") from None
    lines = ended.stdout.strip().splitlines()
    if ended.returncode != 0 or not lines or not lines[-1].startswith("{"):
        raise BenchmarkError(f"`{' '.join(command)}` failed:\n{ended.stdout}{ended.stderr}")
    seen = json.loads(lines[-1])
    wrong = {key: seen[key] for key in ("bad_status", "socket_errors", "timeouts") if seen[key]}
    if wrong or not seen["requests"]:
        raise BenchmarkError(
            f"{url} with {connections} connections: {seen['requests']} answers, but also {wrong}"
        )
    return Load(seen["requests"] / seen["microseconds"] * 1e6, seen["p50"], seen["p99"])
