"""Write what was measured as Markdown and as JSON."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rows import COPIES, MEGABYTES, ROWS, START_UP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measure import Samples


def machine() -> dict[str, Any]:
    """Describe where the numbers come from."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def as_json(samples: Samples, *, pairs: int, seconds: int) -> dict[str, Any]:
    """Return everything, samples included, ready to be dumped."""
    rows: dict[str, Any] = {}
    for row in ROWS:
        if ratios := row.ratios(samples.series):
            rows[row.name] = {
                "what": row.what,
                "against": row.against,
                "target": row.target,
                "reached": row.reached(statistics.median(ratios)),
                "ratio": statistics.median(ratios),
                "ratios": ratios,
            }
    for name in ("ours", "official"):
        added = START_UP.added(samples.series, name)
        if added is not None:
            entry = rows.setdefault(
                START_UP.name, {"what": START_UP.what, "at_most": START_UP.at_most}
            )
            entry[name] = added
    return {
        "machine": machine(),
        "versions": samples.versions,
        "pairs": pairs,
        "seconds": seconds,
        "rows": rows,
        "series": dict(samples.series),
        "latencies": dict(samples.latencies),
    }


def as_markdown(samples: Samples, names: Sequence[str]) -> str:
    """Return the table of ratios, and below it what they are made of."""
    lines = [
        "| what | target | measured | lowest to highest | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        if row.name not in names:
            continue
        target = "–" if row.target is None else _target(row.target)
        if row.counts is not None:
            target += f" ({row.counts:g}× counts)"
        ratios = row.ratios(samples.series)
        if not ratios:
            lines.append(f"| {row.what} | {target} | not measured | | |")
            continue
        ratio = statistics.median(ratios)
        mark = "" if row.target is None else "yes" if row.reached(ratio) else "**no**"
        spread = f"{_times(min(ratios))} to {_times(max(ratios))}"
        lines.append(f"| {row.what} | {target} | {_times(ratio)} | {spread} | {mark} |")
    if START_UP.name in names:
        lines.append(_startup_line(samples))
    return "\n".join([*lines, "", *_series_table(samples)])


def _startup_line(samples: Samples) -> str:
    ours, official = (START_UP.added(samples.series, name) for name in ("ours", "official"))
    beside = "" if official is None else f"official plugin: {official:.2f} s"
    head = f"| {START_UP.what} | under {START_UP.at_most:g} s"
    if ours is None:
        return f"{head} | not measured | {beside} | |"
    mark = "yes" if ours < START_UP.at_most else "**no**"
    return f"{head} | {ours:.2f} s | {beside} | {mark} |"


def _series_table(samples: Samples) -> list[str]:
    lines = [
        "| series | median | lowest to highest | latency p50 | p99 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, values in samples.series.items():
        latencies = samples.latencies.get(key)
        if latencies:
            p50, p99 = (statistics.median(column) for column in zip(*latencies, strict=True))
            middle, lowest, highest = (
                f"{value:,.0f}/s"
                for value in (statistics.median(values), min(values), max(values))
            )
            lines.append(
                f"| {key} | {middle} | {lowest} to {highest} | {p50:,.0f} µs | {p99:,.0f} µs |"
            )
        else:
            form = "{:.3f} s"
            if key.endswith(COPIES):
                form = "{:.2f}"
            elif key.endswith(MEGABYTES):
                form = "{:.1f} MB"
            three = (statistics.median(values), min(values), max(values))
            middle, lowest, highest = (form.format(value) for value in three)
            lines.append(f"| {key} | {middle} | {lowest} to {highest} | | |")
    return lines


def _times(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio >= 10 else f"{ratio:.2f}×"


def _target(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio.is_integer() and ratio < 10 else f"{ratio:g}×"
