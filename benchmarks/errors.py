"""What the benchmarks raise."""

from __future__ import annotations

import click


class BenchmarkError(click.ClickException):
    """Something is missing, or a server answered what it must not: no number can be trusted."""
