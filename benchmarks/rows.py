"""What is measured, and the rows that are made of it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What ends the key of a series that counts how often an image was in memory.
COPIES = " copies"
# And what ends the key of one that holds the memory that a server took more, in MB.
MEGABYTES = " MB"

# The series of samples that a round adds to, one sample each: "contender/what".
Series = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class HttpLoad:
    """A route of one contender under a closed loop of requests."""

    contender: str
    path: str
    connections: int

    @property
    def key(self) -> str:
        """Name the series of samples (requests a second)."""
        return f"{self.contender}{self.path} x{self.connections}"


# In this order, so that what is compared stands as close together in time as can be.
LOADS = (
    HttpLoad("native", "/bench/plain", 32),
    HttpLoad("ours", "/bench/plain", 32),
    HttpLoad("official", "/bench/plain", 32),
    HttpLoad("ours", "/bench/def", 32),
    HttpLoad("ours", "/bench/decorated", 32),
    HttpLoad("native", "/bench/statistics", 32),
    HttpLoad("ours", "/bench/statistics", 32),
    HttpLoad("official", "/bench/statistics", 32),
    HttpLoad("native", "/bench/plain", 1),
    HttpLoad("ours", "/bench/plain", 1),
    HttpLoad("official", "/bench/plain", 1),
)


@dataclass(frozen=True)
class Row:
    """One line of the table: a series against the reference, sample by sample.

    Attributes:
        name: What --only takes.
        what: The line's text.
        ours: Key of the series that is judged.
        reference: Key of the series it is judged against.
        target: The ratio that must be reached; None for a row of interest only.
        counts: The ratio that counts as the target, where noise is allowed for.
        unit: Of both series: "1/s" (more is better) or "s" (less is better).
    """

    name: str
    what: str
    ours: str
    reference: str
    target: float | None
    unit: str = "1/s"
    counts: float | None = None

    def reached(self, ratio: float) -> bool:
        """Tell whether a ratio is good enough; without a target, any is."""
        needed = self.counts or self.target
        return needed is None or ratio >= needed

    @property
    def against(self) -> str:
        """Name the contender that the row compares with."""
        return self.reference.partition("/")[0]

    def ratios(self, series: Series) -> list[float]:
        """Return how many times better than the reference each pair of samples is."""
        pairs = zip(series.get(self.ours, ()), series.get(self.reference, ()), strict=False)
        if self.unit == "s":
            return [reference / ours for ours, reference in pairs]
        return [ours / reference for ours, reference in pairs]


ROWS = (
    Row(
        "async-32",
        "`async def` route, 32 connections, against the official plugin's `def` route",
        "ours/bench/plain x32",
        "official/bench/plain x32",
        2.0,
    ),
    Row(
        "async-native",
        "the same against a pure C++ route",
        "ours/bench/plain x32",
        "native/bench/plain x32",
        0.7,
    ),
    Row(
        "def-32",
        "`def` route against the official plugin's, 32 connections",
        "ours/bench/def x32",
        "official/bench/plain x32",
        1.0,
        # In a median of nine pairs this is no slower.
        counts=0.95,
    ),
    Row(
        "async-1",
        "`async def` route, one connection, against the official `def`",
        "ours/bench/plain x1",
        "official/bench/plain x1",
        0.85,
    ),
    Row(
        "events",
        "100 change events at once (a study of 100 instances deleted) whose handler awaits "
        "0.1 s, against the official plugin's `time.sleep(0.1)`",
        "ours/events",
        "official/events",
        40.0,
        "s",
    ),
    Row(
        "fetch",
        "one handler fetching 100 files of 0.5 MB with `gather`, against the official plugin's "
        "loop of `RestApiGet`",
        "ours/fetch",
        "official/fetch",
        1.3,
        "s",
    ),
    Row(
        "image",
        "an image made of 200 MB of pixels and read whole, against the official plugin's "
        "`CreateImageFromBuffer` and `GetImageBuffer`",
        "ours/image",
        "official/image",
        None,
        "s",
    ),
    Row(
        "forward",
        "a study of 1 GB (2 000 instances of 0.5 MB) sent by `forward.to_dicomweb` to another "
        "Orthanc, against curl and the same body from a file",
        "ours/forward",
        "curl/forward",
        0.8,
        "s",
    ),
    Row(
        "forward-only",
        "the same to a receiver that only reads",
        "ours/forward-only",
        "curl/forward-only",
        None,
        "s",
    ),
    Row(
        "async-1-native",
        "`async def` route, one connection, against a pure C++ route",
        "ours/bench/plain x1",
        "native/bench/plain x1",
        None,
    ),
    Row(
        "rest",
        "`@rest.get` route against a plain `async def` route, 32 connections",
        "ours/bench/decorated x32",
        "ours/bench/plain x32",
        None,
    ),
    Row(
        "sdk-call",
        "route that awaits `/statistics`, against the official `RestApiGet` in a `def`, "
        "32 connections",
        "ours/bench/statistics x32",
        "official/bench/statistics x32",
        None,
    ),
    Row(
        "sdk-call-native",
        "the same against a pure C++ route",
        "ours/bench/statistics x32",
        "native/bench/statistics x32",
        None,
    ),
)


@dataclass(frozen=True)
class StartUp:
    """The row that is a time, not a ratio: seconds that a plugin adds to a bare Orthanc."""

    name: str = "startup"
    what: str = (
        "start-up added to a bare Orthanc by a script that imports only orthanc and "
        "orthanc_async.rest"
    )
    at_most: float = 0.3

    def added(self, series: Series, contender: str) -> float | None:
        """Return the median of the seconds that a contender adds, or None if not measured."""
        pairs = zip(
            series.get(f"{contender}/startup", ()), series.get("bare/startup", ()), strict=False
        )
        added = [plugin - bare for plugin, bare in pairs]
        return statistics.median(added) if added else None


START_UP = StartUp()
NAMES = (*(row.name for row in ROWS), START_UP.name)


def wanted_keys(names: Sequence[str]) -> set[str]:
    """Return the series that the named rows are made of."""
    chosen = [row for row in ROWS if row.name in names]
    return {key for row in chosen for key in (row.ours, row.reference)}
