"""The fixtures of the integration tests, and the two plugins that scripts run on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from compatibility.known_failures import KnownFailures

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
    from collections.abc import Mapping

__all__ = [
    "Pair",
    "Starter",
    "dicom_file",
    "dicom_files",
    "known",
    "official",
    "orthanc_server",
    "ours",
    "pytest_runtest_makereport",
    "shared_orthanc",
]

OFFICIAL = Path("/usr/share/orthanc/plugins/libOrthancPython.so")

Pair = tuple[Orthanc, Orthanc]  # ours first


class Starter(Protocol):
    """Starts an Orthanc with one of the two plugins."""

    def __call__(
        self,
        script: str,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Orthanc:
        """Start it in a folder of its own.

        Args:
            script: the text of my-script.py.
            files: texts of further files for that folder, by their names.
            config: laid over the configuration that names the script; None takes a key out.
            settings: for `OrthancServer`.
        """


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> KnownFailures:
    """Give the known failures of the official plugin that is installed."""
    needs_official()
    server = Orthanc(plugins=[OFFICIAL], cwd=tmp_path_factory.mktemp("version"))
    try:
        # Without a script it is idle.
        plugin = server.start().http.get("/plugins/python").json()
    finally:
        server.close()
    return KnownFailures(plugin["Version"])


def needs_official() -> None:
    """Leave out what needs the official plugin where that is not installed."""
    if not OFFICIAL.is_file():
        pytest.skip(f"the official plugin is not installed at {OFFICIAL}")


@pytest.fixture(scope="module")
def ours(shared_orthanc: OrthancFactory, tmp_path_factory: pytest.TempPathFactory) -> Starter:
    """Give a function that starts an Orthanc with our plugin and a script."""
    return _starter(shared_orthanc, tmp_path_factory, "ours")


@pytest.fixture(scope="module")
def official(shared_orthanc: OrthancFactory, tmp_path_factory: pytest.TempPathFactory) -> Starter:
    """Give a function that starts an Orthanc with the official plugin and the same script.

    The module is left out where that plugin is not installed.
    """
    needs_official()
    # How the official plugin ends is its own affair.
    return _starter(
        shared_orthanc, tmp_path_factory, "official", plugins=[OFFICIAL], exit_code=None
    )


def _starter(
    factory: OrthancFactory,
    folders: pytest.TempPathFactory,
    name: str,
    **always: Any,
) -> Starter:
    def start(
        script: str,
        files: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Orthanc:
        folder = folders.mktemp(name)
        for file, text in {"my-script.py": script, **(files or {})}.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, "utf-8")
        keys = {"PythonScript": "my-script.py", **(config or {})}
        return factory(
            errors=["."],
            cwd=folder,
            config={key: value for key, value in keys.items() if value is not None},
            **always,
            **settings,
        )

    return start
