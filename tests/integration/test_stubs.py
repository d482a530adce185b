"""The stubs say what is there: mypy's stubtest, inside a running Orthanc and outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.conftest import OrthancFactory

ALLOWED = Path(__file__).parents[1] / "stubtest_allowed.txt"
OPTIONS = ["orthanc", "--allowlist", str(ALLOWED), "--ignore-unused-allowlist"]
CLEAN = "Success: no issues found"


def test_stubs_inside(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """What Orthanc's own process has agrees with the stubs."""
    report = tmp_path / "report.txt"
    orthanc_server(
        f"""
        import contextlib, io, os
        from mypy import stubtest

        output = io.StringIO()
        here = os.getcwd()
        os.chdir({str(tmp_path)!r})  # for mypy's cache
        options = stubtest.parse_options({OPTIONS!r})
        with contextlib.redirect_stdout(output):
            stubtest.test_stubs(options)
        os.chdir(here)
        open({str(report)!r}, "w").write(output.getvalue())
        """
    )
    assert report.read_text().startswith(CLEAN)


def test_stubs_outside(tmp_path: Path) -> None:
    """What stands in for it in editors, tests and worker processes agrees too."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "mypy.stubtest", *OPTIONS],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.stdout.startswith(CLEAN), done.stdout + done.stderr
