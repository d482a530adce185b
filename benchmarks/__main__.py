"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from pathlib import Path

import click

from benchmarks import chart, report
from benchmarks.errors import BenchmarkError
from benchmarks.measure import CONTENDERS, Plan, measure
from benchmarks.rows import NAMES

QUICK_PAIRS = 3
QUICK_SECONDS = 1


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--pairs", default=9, type=click.IntRange(1), help="Rounds; medians are taken.")
@click.option("--seconds", default=3, type=click.IntRange(1), help="Length of one HTTP load.")
@click.option(
    "--only", multiple=True, type=click.Choice(NAMES), help="Measure this row (repeatable)."
)
@click.option(
    "--skip", multiple=True, type=click.Choice(CONTENDERS), help="Leave a plugin out (repeatable)."
)
@click.option("--quick", is_flag=True, help=f"{QUICK_PAIRS} rounds of {QUICK_SECONDS} s loads.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write all samples there.",
)
@click.option(
    "--png",
    "png_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the ratios there.",
)
def main(
    *,
    pairs: int,
    seconds: int,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    quick: bool,
    json_file: Path | None,
    png_file: Path | None,
) -> None:
    """Compare orthanc-async with the official plugin and with pure C++ on one Orthanc."""
    if quick:
        pairs, seconds = QUICK_PAIRS, QUICK_SECONDS
    names = only or NAMES
    for file in (json_file, png_file):
        if file is not None and not file.absolute().parent.is_dir():
            raise BenchmarkError(f"{file} cannot be written: there is no folder for it")
    if png_file is not None:
        chart.check()
    # Ends through the with blocks, or the servers (in sessions of their own) would live on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="orthanc-benchmarks-") as folder:
        samples = measure(
            Plan(
                rows=names,
                skip=skip,
                pairs=pairs,
                seconds=seconds,
                folder=Path(folder),
                say=lambda line: click.echo(line, err=True),
            )
        )
    if json_file is not None:
        written = report.as_json(samples, pairs=pairs, seconds=seconds)
        json_file.write_text(json.dumps(written, indent=1) + "\n")
    click.echo(report.as_markdown(samples, names))
    if png_file is not None:
        chart.draw(samples, png_file)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
