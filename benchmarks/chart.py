"""Draw the ratios for the README."""

from __future__ import annotations

import importlib.util
import statistics
from typing import TYPE_CHECKING

from benchmarks.errors import BenchmarkError
from benchmarks.rows import ROWS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.measure import Samples

LABELS = {
    "async-32": "async def route, 32 connections",
    "async-native": "async def route, 32 connections",
    "def-32": "def route, 32 connections",
    "async-1": "async def route, 1 connection",
    "events": "100 change events that wait 0.1 s each",
    "fetch": "one handler fetching 100 files of 0.5 MB",
    "async-1-native": "async def route, 1 connection",
    "sdk-call": "route that awaits one SDK call, 32 connections",
    "sdk-call-native": "route that awaits one SDK call, 32 connections",
}
COLOURS = {"official": "#2b6ca3", "native": "#8f9aa3"}
REFERENCES = {"official": "the official plugin", "native": "a pure C++ plugin"}


def check() -> None:
    """See that charts can be drawn, before minutes are spent on measuring.

    Raises:
        BenchmarkError: matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise BenchmarkError("matplotlib is missing: install the extra `dev`, or leave --png out")


def draw(samples: Samples, path: Path) -> None:
    """Draw one bar a row, from 1 (as fast as the reference) to the median ratio.

    Args:
        samples: What was measured; rows without a ratio are left out.
        path: The PNG file to write.

    Raises:
        BenchmarkError: There is no ratio to draw.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    measured = [
        (row, statistics.median(ratios))
        for against in REFERENCES
        for row in ROWS
        if row.against == against and row.name in LABELS
        if (ratios := row.ratios(samples.series))
    ]
    if not measured:
        raise BenchmarkError("no ratio was measured, so there is nothing to draw")
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.48 * len(measured)), layout="constrained")
    for place, (row, ratio) in enumerate(measured):
        axes.barh(place, ratio - 1, left=1, height=0.55, color=COLOURS[row.against])
        text = f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.2f}×"
        # Beyond the bar's end and the target's mark, whichever is further out.
        edge = max(ratio, row.target or 0, 1.0)
        axes.text(edge * 1.06, place, text, va="center", fontweight="bold")
        if row.target is not None:
            axes.plot([row.target] * 2, [place - 0.38, place + 0.38], color="#d1495b", linewidth=2)
    lowest = min(min(ratio, row.target or ratio) for row, ratio in measured)
    highest = max(max(ratio, row.target or ratio) for row, ratio in measured)
    axes.set_xscale("log")
    axes.set_xlim(min(0.5, lowest * 0.8), highest * 1.8)
    axes.axvline(1, color="#333333", linewidth=1)
    first, last = axes.get_xlim()
    ticks = [tick for tick in (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100) if first <= tick <= last]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(measured)), [LABELS[row.name] for row, _ in measured])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("times as fast as the reference (log scale)")
    drawn = dict.fromkeys(row.against for row, _ in measured)
    figure.legend(
        handles=[
            *(Patch(color=COLOURS[name], label=f"against {REFERENCES[name]}") for name in drawn),
            Line2D([], [], color="#d1495b", linewidth=2, label="target, at least"),
        ],
        loc="outside upper center",
        ncols=3,
        frameon=False,
    )
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
