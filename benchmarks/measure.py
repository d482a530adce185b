"""Take the samples: every round adds one to each series, neighbours in time."""

from __future__ import annotations

import contextlib
import json
import statistics
import time
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from benchmarks import data, forwarding, load, servers
from benchmarks.errors import BenchmarkError
from benchmarks.rows import COPIES, LOADS, MEGABYTES, HttpLoad, wanted_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

EVENTS = 100
EVENTS_DEADLINE = 60.0
FILES = 100
FILE_SIDE = 512
IMAGE_BYTES = 14142**2  # as in scripts/image_memory.py
# One fetch takes some 50 ms, too short a time to stand alone.
FETCHES = 5
PYTHON_CONTENDERS = ("ours", "official")
CONTENDERS = ("native", *PYTHON_CONTENDERS)


@dataclass
class Samples:
    """All that was measured.

    Attributes:
        series: One sample a round for each key, in requests/s or in seconds.
        latencies: Median and 99th percentile in microseconds, for keys that are HTTP loads.
        versions: What each server says of itself and of its plugin.
    """

    series: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    latencies: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        rows: Names of the rows.
        skip: Contenders to leave out.
        pairs: Rounds.
        seconds: Length of one HTTP load.
        folder: Where the servers keep their storage meanwhile.
        say: Called with a line for each step.
    """

    rows: Sequence[str]
    skip: Collection[str]
    pairs: int
    seconds: int
    folder: Path
    say: Callable[[str], None]

    def contenders(self, among: Sequence[str]) -> list[str]:
        """Return those that are not left out."""
        return [name for name in among if name not in self.skip]


def measure(plan: Plan) -> Samples:
    """Run the plan; the servers are gone when this returns or raises."""
    samples = Samples()
    if wanted_keys([name for name in plan.rows if name not in forwarding.RECEIVERS]):
        _measure_running(plan, samples)
    if not forwarding.RECEIVERS.keys().isdisjoint(plan.rows) and "ours" not in plan.skip:
        _measure_forwarding(plan, samples)
    if "startup" in plan.rows:
        _measure_startup(plan, samples)
    return samples


def _measure_running(plan: Plan, samples: Samples) -> None:
    """Measure all that needs servers which run, side by side and loaded in turn."""
    wanted = wanted_keys(plan.rows)
    make: dict[str, Callable[[], servers.Contender]] = {
        "native": servers.native,
        "ours": lambda: servers.ours("ours.py"),
        "official": lambda: servers.official("official.py"),
    }
    small = data.study("events", instances=EVENTS, side=8)
    with contextlib.ExitStack() as stack:
        group: dict[str, servers.Server] = {}
        for name in plan.contenders(CONTENDERS):
            server = servers.Server(make[name](), plan.folder / name)
            group[name] = stack.enter_context(servers.running(server))
            samples.versions[name] = _versions(server)
        loads = [item for item in LOADS if item.key in wanted and item.contender in group]
        _check_answers(loads, group)
        for item in loads:
            # Not counted: the first second fills caches and starts threads.
            load.run(group[item.contender].url(item.path), connections=item.connections, seconds=1)
        python = [name for name in PYTHON_CONTENDERS if name in group]
        fetch = "ours/fetch" in wanted
        stored = _store_big_study(group, python) if fetch else {}
        for number in range(plan.pairs):
            plan.say(f"round {number + 1} of {plan.pairs}")
            # Every other round runs backwards, so that a drift of the machine cancels out.
            step = 1 if number % 2 == 0 else -1
            for item in loads[::step]:
                server = group[item.contender]
                seen = load.run(
                    server.url(item.path), connections=item.connections, seconds=plan.seconds
                )
                samples.series[item.key].append(seen.rate)
                samples.latencies[item.key].append((seen.p50, seen.p99))
                plan.say(f"  {item.key}: {seen.rate:,.0f}/s, median {seen.p50:.0f} us")
            for name in python[::step]:
                if fetch:
                    seconds = statistics.median(
                        _fetch_files(group[name], stored[name]) for _ in range(FETCHES)
                    )
                    samples.series[f"{name}/fetch"].append(seconds)
                    plan.say(f"  {name}/fetch: {seconds:.3f} s")
                if "ours/image" in wanted:
                    answer = _read_image(group[name])
                    samples.series[f"{name}/image"].append(answer["seconds"])
                    samples.series[f"{name}/image{COPIES}"].append(answer["copies"])
                    plan.say(
                        f"  {name}/image: {answer['seconds']:.3f} s, {answer['copies']:.2f} copies"
                    )
                if "ours/events" in wanted:
                    seconds = _delete_study(group[name], small)
                    samples.series[f"{name}/events"].append(seconds)
                    plan.say(f"  {name}/events: {seconds:.3f} s")


def _measure_forwarding(plan: Plan, samples: Samples) -> None:
    rows = [row for row in forwarding.RECEIVERS if row in plan.rows]
    with forwarding.bench(plan.folder / "forward") as bench:
        for number in range(plan.pairs):
            plan.say(f"round {number + 1} of {plan.pairs}")
            step = 1 if number % 2 == 0 else -1
            for row in rows:
                receiver = forwarding.RECEIVERS[row]
                for name in ("ours", "curl")[::step]:
                    if name == "curl":
                        seconds = bench.curl(receiver)
                    else:
                        seconds, memory = bench.ours(receiver)
                        samples.series[f"ours/{row}{MEGABYTES}"].append(memory)
                    samples.series[f"{name}/{row}"].append(seconds)
                    plan.say(f"  {name}/{row}: {seconds:.3f} s")


def _versions(server: servers.Server) -> dict[str, Any]:
    system = server.json("GET", "/system")
    plugins = server.json("GET", "/plugins")
    described = [
        server.json("GET", f"/plugins/{name}") for name in plugins if name != "explorer.js"
    ]
    return {
        "Orthanc": system["Version"],
        "plugins": {item["ID"]: item.get("Version") for item in described},
    }


def _check_answers(loads: Sequence[HttpLoad], group: dict[str, servers.Server]) -> None:
    """See that every route answers what it should before its speed is believed."""
    for item in loads:
        server = group[item.contender]
        answer = server.request("GET", item.path)
        right = (
            json.loads(answer).keys() == server.json("GET", "/statistics").keys()
            if item.path == "/bench/statistics"
            else answer == b"ok\n"
        )
        if not right:
            raise BenchmarkError(f"{item.contender}{item.path} answered {answer[:200]!r}")


def _store_big_study(
    group: dict[str, servers.Server], names: Sequence[str]
) -> dict[str, tuple[list[str], int]]:
    """Store the study that is fetched; return its instances and size by contender."""
    files = data.study("fetch", instances=FILES, side=FILE_SIDE)
    size = sum(len(file) for file in files)
    return {name: (data.upload(group[name], files)[1], size) for name in names}


def _fetch_files(server: servers.Server, stored: tuple[list[str], int]) -> float:
    """Return the seconds that a handler took to fetch all files."""
    instances, size = stored
    answer = server.json("POST", "/bench/fetch", json.dumps(instances).encode())
    # Orthanc hands the stored files over as they are: not one byte may be missing.
    if answer["bytes"] != size:
        raise BenchmarkError(f"{server.contender.name}/fetch: {answer['bytes']} bytes of {size}")
    return float(answer["seconds"])


def _read_image(server: servers.Server) -> dict[str, float]:
    """Return the seconds and copies that a handler took to make an image and read it."""
    answer: dict[str, float] = server.json("GET", "/bench/image")
    if answer["checksum"] != zlib.adler32(b"\x01" * IMAGE_BYTES):
        raise BenchmarkError(f"{server.contender.name}/image: other pixels were read")
    return answer


def _delete_study(server: servers.Server, files: list[bytes]) -> float:
    """Return the seconds from the first deletion handler's start to the last one's end."""
    study, instances = data.upload(server, files)
    server.request("DELETE", "/bench/events")
    server.request("DELETE", f"/studies/{study}")
    deadline = time.monotonic() + EVENTS_DEADLINE
    while True:
        handled = server.json("GET", "/bench/events")
        if len(handled) >= len(instances):
            break
        if time.monotonic() > deadline:
            raise BenchmarkError(
                f"{server.contender.name}/events: {len(handled)} of {len(instances)} handlers "
                f"ended in {EVENTS_DEADLINE} s"
            )
        # Seldom, as each look costs the server a request while it is measured.
        time.sleep(0.2)
    if sorted(resource for _, _, resource in handled) != sorted(instances):
        raise BenchmarkError(f"{server.contender.name}/events: handlers got other instances")
    return float(max(end for _, end, _ in handled) - min(start for start, _, _ in handled))


def _measure_startup(plan: Plan, samples: Samples) -> None:
    """Start and stop each contender in turn, alone on the machine, on a storage that exists."""
    make: dict[str, Callable[[], servers.Contender]] = {
        "bare": servers.bare,
        "ours": lambda: servers.ours("startup_ours.py"),
        "official": lambda: servers.official("startup_official.py"),
    }
    names = plan.contenders(("bare", *PYTHON_CONTENDERS))
    group = {name: servers.Server(make[name](), plan.folder / f"startup-{name}") for name in names}
    for server in group.values():
        # Not counted: creates the database, and Python's compiled files.
        with servers.running(server):
            pass
    for number in range(plan.pairs):
        plan.say(f"start-up {number + 1} of {plan.pairs}")
        for name in names[:: 1 if number % 2 == 0 else -1]:
            try:
                seconds = group[name].start()
            finally:
                group[name].stop()
            samples.series[f"{name}/startup"].append(seconds)
            plan.say(f"  {name}/startup: {seconds:.3f} s")
