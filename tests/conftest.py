"""Options and marks of the whole suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --long and --quick."""
    parser.addoption(
        "--long", action="store_true", help="run the long form of soak and reset tests too"
    )
    parser.addoption(
        "--quick", action="store_true", help="run only what takes a minute or two in all"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark `long`, let subprocesses know, and give them a SIGINT that counts."""
    config.addinivalue_line("markers", "long: takes minutes; runs only with --long")
    if config.getoption("--long"):
        os.environ["ORTHANC_ASYNC_LONG"] = "1"
    # A shell lets what it starts in the background ignore SIGINT; children would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# With --quick: most of the unit tests, and of the integration tests the modules that share one
# Orthanc for many tests.
QUICK = (
    "unit",
    "compatibility",
    "integration/test_sdk",
    "integration/test_rest_output",
    "integration/test_rest_decorators",
    "integration/test_changes_async",
    "integration/test_environment",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out unless they are asked for; with --quick, most others too."""
    chosen = list(items)
    if not config.getoption("--long"):
        chosen = [item for item in chosen if item.get_closest_marker("long") is None]
    if config.getoption("--quick"):
        folder = Path(__file__).parent
        chosen = [item for item in chosen if f"{item.path.relative_to(folder)}".startswith(QUICK)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(scope="session")
def long_form(request: pytest.FixtureRequest) -> bool:
    """Tell whether --long was given, for tests that have a short and a full form."""
    return bool(request.config.getoption("--long"))
