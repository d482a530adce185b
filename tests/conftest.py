"""Options and marks of the whole suite."""

from __future__ import annotations

import os
import signal

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long."""
    parser.addoption(
        "--long", action="store_true", help="run the long form of soak and reset tests too"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark `long`, let subprocesses know, and give them a SIGINT that counts."""
    config.addinivalue_line("markers", "long: takes minutes; runs only with --long")
    if config.getoption("--long"):
        os.environ["ORTHANC_ASYNC_LONG"] = "1"
    # A shell lets what it starts in the background ignore SIGINT; children would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out unless they are asked for."""
    if config.getoption("--long"):
        return
    chosen = [item for item in items if item.get_closest_marker("long") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """Tell whether --long was given, for tests that have a short and a full form."""
    return bool(request.config.getoption("--long"))
