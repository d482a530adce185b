"""`pip install -e .`: the plugin lies in the environment, the package's code in the sources."""

from __future__ import annotations

import re
import signal
import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import orthanc_async
import pytest

if TYPE_CHECKING:
    from integration.conftest import OrthancFactory

ROOT = Path(__file__).parents[2]
SCRIPT = """
    import sys
    import orthanc, orthanc_async, orthanc_async._build_info
    from orthanc_async import rest

    @rest.get("/where")
    async def where(request):
        return {
            "prefix": sys.prefix,
            "executable": sys.executable,
            "package": orthanc_async.__file__,
            "generated": [orthanc.__file__, orthanc_async._build_info.__file__],
            "system": len(await orthanc.rest_api_get("/system")) > 10,
        }
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with this folder as an editable install.

    What it needs otherwise is linked from the environment that runs the tests.
    """
    pytest.importorskip("scikit_build_core", reason="a build requirement; scripts/setup has it")
    if not (ROOT / "CMakeLists.txt").exists():
        pytest.skip("the tests do not lie in the sources")
    folder = tmp_path_factory.mktemp("editable")
    root = folder / "environment"
    venv.create(root, symlinks=True, with_pip=True)
    needed = folder / "needed"
    needed.mkdir()
    for entry in Path(str(orthanc_async.__file__)).parents[1].iterdir():
        if not re.match(r"orthanc|pip|setuptools|_distutils_hack|.*\.pth$", entry.name):
            (needed / entry.name).symlink_to(entry)
    packages = next(root.glob("lib/python3*/site-packages"))
    (packages / "needed.pth").write_text(f"{needed}\n")
    command = [str(root / "bin" / "python"), "-m", "pip", "install", "--no-index", "--no-deps"]
    command += ["--no-build-isolation", f"--config-settings=build-dir={folder / 'build'}"]
    command += ["--config-settings=cmake.build-type=Debug", "--editable", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_plugin_path(environment: Path) -> None:
    """`orthanc-async plugin-path` names the library that was built into the environment."""
    said = subprocess.check_output([environment / "bin" / "orthanc-async", "plugin-path"])
    library = Path(said.decode().strip())
    assert library.is_file()
    assert library.is_relative_to(environment)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_own_environment(environment: Path, orthanc_server: OrthancFactory) -> None:
    """Loaded by Orthanc, the plugin finds its environment, and the package in the sources."""
    said = subprocess.check_output([environment / "bin" / "orthanc-async", "plugin-path"])
    server = orthanc_server(SCRIPT, plugins=[said.decode().strip()])
    found = server.http.get("/where").json()
    assert found["prefix"] == str(environment)
    assert Path(found["executable"]).parent == environment / "bin"
    assert found["package"] == str(ROOT / "orthanc_async" / "__init__.py")
    for file in found["generated"]:
        assert Path(file).is_relative_to(environment)
    assert found["system"]


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_run(environment: Path, tmp_path: Path) -> None:
    """`orthanc-async run` serves with it until Ctrl-C."""
    (tmp_path / "script.py").write_text('print("the script has been loaded")\n')
    command = [str(environment / "bin" / "orthanc-async"), "run", "script.py"]
    command += ["--http-port", "0", "--dicom-port", "0"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C ends it" in line:
                process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0, "".join(said)
    assert "the script has been loaded" in "".join(said)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_outside_orthanc(environment: Path) -> None:
    """Both packages can be imported outside Orthanc."""
    code = "import orthanc, orthanc_async.rest; print(orthanc.ChangeType.NEW_STUDY.name)"
    said = subprocess.check_output([environment / "bin" / "python", "-c", code], cwd="/")
    assert said.split() == [b"NEW_STUDY"]
