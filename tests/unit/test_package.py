"""The package's face: its names, and what importing it costs."""

from __future__ import annotations

import importlib
import json
import pathlib
import subprocess
import sys

import orthanc_async
import pytest
from orthanc_async import _error_body


def test_all() -> None:
    """`__all__` is exact and sorted: each name is there, and none is private."""
    names = orthanc_async.__all__
    assert names == sorted(set(names))
    for name in names:
        assert getattr(orthanc_async, name) is not None
        assert name in dir(orthanc_async)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = orthanc_async.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module",
    ["events", "forward", "images", "jobs", "lifecycle", "resources", "rest", "tasks"],
)
def test_all_of_modules(module: str) -> None:
    """Each public module says exactly what is public in it."""
    loaded = importlib.import_module(f"orthanc_async.{module}")
    for name in loaded.__all__:
        assert hasattr(loaded, name)
    home = f"orthanc_async.{module}"
    for name in orthanc_async.__all__:
        value = getattr(orthanc_async, name)
        if getattr(value, "__module__", None) == home and not name.startswith("on_"):
            assert name in loaded.__all__


def test_routes_are_cheap_to_import() -> None:
    """A script with routes alone loads neither anyio nor aiohttp nor the rest of the package."""
    code = (
        "import json, sys, orthanc, orthanc_async.rest;"
        "from orthanc_async import rest;"
        "json.dump(sorted(sys.modules), sys.stdout)"
    )
    # Without -P it would be the package in the working directory, not the installed one.
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], check=True, capture_output=True, timeout=60
    )
    modules = json.loads(done.stdout)
    ours = [f"orthanc_async.{name}" for name in ("lifecycle", "events", "tasks", "forward")]
    for name in ("anyio", "aiohttp", "click", *ours):
        assert name not in modules


def test_destinations_are_ready() -> None:
    """What a destination needs is loaded when it is made, not while the first delivery waits."""
    code = (
        "import sys; from orthanc_async import forward;"
        "assert 'aiohttp' not in sys.modules; forward.to_http('http://localhost');"
        "assert 'aiohttp' in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)


def test_typed() -> None:
    """The package is marked as typed."""
    assert (pathlib.Path(orthanc_async.__file__).parent / "py.typed").exists()


def test_error_body() -> None:
    """An error's body has Orthanc's own fields, and is ASCII whatever the text holds."""
    body = _error_body.error_body(404, "no \udcff ü", "GET", "/x")
    assert body.isascii()
    assert json.loads(body) == {
        "HttpError": "Not Found",
        "HttpStatus": 404,
        "Message": "no \udcff ü",
        "Method": "GET",
        "Uri": "/x",
    }
    assert _error_body.reason(599) == "HTTP 599"
