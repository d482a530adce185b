"""The fixtures of the integration tests, and the two plugins that scripts run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# `tests` is on the path, as its conftest.py lies there.
from integration.conftest import (
    Orthanc,
    OrthancFactory,
    dicom_file,
    dicom_files,
    orthanc_server,
    pytest_runtest_makereport,
    shared_orthanc,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = [
    "dicom_file",
    "dicom_files",
    "official",
    "orthanc_server",
    "ours",
    "pytest_runtest_makereport",
    "shared_orthanc",
]

OFFICIAL = Path("/usr/share/orthanc/plugins/libOrthancPython.so")


@pytest.fixture(scope="module")
def ours(
    shared_orthanc: OrthancFactory, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Orthanc]:
    """Give a function that starts an Orthanc with our plugin and a script.

    Further arguments are those of `OrthancFactory`.
    """
    return lambda script, **more: _start(
        shared_orthanc, tmp_path_factory.mktemp("ours"), script, **more
    )


@pytest.fixture(scope="module")
def official(
    shared_orthanc: OrthancFactory, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Orthanc]:
    """Give a function that starts an Orthanc with the official plugin and the same script.

    The module is left out where that plugin is not installed.
    """
    if not OFFICIAL.is_file():
        pytest.skip(f"the official plugin is not installed at {OFFICIAL}")
    return lambda script, **more: _start(
        shared_orthanc, tmp_path_factory.mktemp("official"), script, plugins=[OFFICIAL], **more
    )


def _start(
    factory: OrthancFactory,
    folder: Path,
    script: str,
    plugins: list[Path] | None = None,
    config: Mapping[str, Any] | None = None,
    **more: Any,
) -> Orthanc:
    (folder / "my-script.py").write_text(script, "utf-8")
    return factory(
        errors=["."],
        # How the official plugin ends is its own affair.
        exit_code=None if plugins else 0,
        cwd=folder,
        plugins=plugins,
        config={**(config or {}), "PythonScript": "my-script.py"},
        **more,
    )
