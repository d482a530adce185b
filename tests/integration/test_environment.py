"""What scripts find around themselves: modules, paths, the Python environment."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

FIRST = """
    import json, os, pickle, sys
    import orthanc
    import orthanc_async
    import beside

    class Point:
        def __init__(self, x):
            self.x = x

    changes = []

    def on_change(kind, level, resource):
        changes.append(kind)

    orthanc.RegisterOnChangeCallback(on_change)

    def facts(output, uri, **request):
        import extra_module_of_pythonpath
        import _ctypes, _ssl, _decimal, sqlite3
        point = pickle.loads(pickle.dumps(Point(4)))
        output.AnswerBuffer(json.dumps({
            "name": __name__,
            "file": __file__,
            "argv": sys.argv,
            "executable": sys.executable,
            "prefix": sys.prefix,
            "base": sys.base_prefix,
            "path": sys.path,
            "utf8": sys.flags.utf8_mode,
            "beside": beside.WHERE,
            "beside file": beside.__file__,
            "point": [type(point).__module__, point.x, type(point) is Point],
            "pythonpath": extra_module_of_pythonpath.VALUE,
            "cwd": os.getcwd(),
            "order": beside.ORDER,
            "package": orthanc_async.__file__,
            "modules": [name for name in ("one", "two-parts", "three") if name in sys.modules],
            "changes": [int(kind) for kind in changes],
            "others": [int(kind) for kind in sys.modules["two-parts"].changes],
            "pth": [entry for entry in sys.path if "only-by-pth" in entry],
        }), "application/json")

    beside.ORDER.append(__name__)
    orthanc.RegisterRestCallback("/facts", facts)
"""

SECOND = """
    import orthanc
    import beside

    beside.ORDER.append(__name__)
    changes = []

    async def on_change(kind, level, resource):
        changes.append(kind)
        raise ValueError("one that raises does not stop the others")

    orthanc.RegisterOnChangeCallback(on_change)
"""

THIRD = """
    import orthanc
    import beside
    beside.ORDER.append(__name__)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with three scripts in two folders."""
    import textwrap

    folder = tmp_path_factory.mktemp("place")
    (folder / "sub").mkdir()
    (folder / "extra").mkdir()
    (folder / "one.py").write_text(textwrap.dedent(FIRST))
    (folder / "beside.py").write_text("WHERE = __name__\nORDER = []\n")
    (folder / "sub" / "two-parts.py").write_text(textwrap.dedent(SECOND))
    (folder / "three.py").write_text(textwrap.dedent(THIRD))
    (folder / "extra" / "extra_module_of_pythonpath.py").write_text("VALUE = 7\n")
    return folder


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory, place: Path) -> Orthanc:
    """An Orthanc whose scripts come by all ways, with relative paths."""
    path = os.pathsep.join([str(place / "extra"), os.environ.get("PYTHONPATH", "")])
    return shared_orthanc(
        errors=("one that raises", "two-parts", "Traceback", "ValueError", "  File", "    raise"),
        config={
            "PythonScript": "one.py",
            "Python": {"Scripts": ["sub/two-parts.py", str(place / "three.py")]},
        },
        cwd=place,
        environment={"PYTHONPATH": path.rstrip(os.pathsep)},
    )


@pytest.fixture(scope="module")
def facts(server: Orthanc) -> dict[str, Any]:
    """What the first script sees, once both have had the start event."""
    found: dict[str, Any] = server.wait_json("/facts", lambda facts: facts["others"])
    return found


def test_modules(facts: dict[str, Any], place: Path) -> None:
    """Scripts are modules named by their files, in the configured order, helpers beside them."""
    assert facts["name"] == "one"
    assert facts["file"] == str(place / "one.py")
    assert facts["modules"] == ["one", "two-parts", "three"]
    assert facts["order"] == ["one", "two-parts", "three"]
    assert facts["beside"] == "beside"
    assert facts["beside file"] == str(place / "beside.py")
    assert facts["point"] == ["one", 4, True]
    assert facts["cwd"] == str(place)
    for folder in (place, place / "sub"):
        assert facts["path"].count(str(folder)) == 1


def test_same_event(server: Orthanc, facts: dict[str, Any]) -> None:
    """Each script has its own handler for the event; one that raises is named in the log."""
    assert facts["changes"][0] == facts["others"][0]
    server.wait_log(r"two-parts\.on_change.*raised")


def test_environment(facts: dict[str, Any]) -> None:
    """Python is the one of the environment that the plugin was installed into."""
    import orthanc_async

    assert facts["argv"] == [""]
    assert facts["utf8"] == 1
    assert facts["pythonpath"] == 7
    assert facts["package"] == orthanc_async.__file__
    assert facts["prefix"] == sys.prefix
    assert facts["base"] == sys.base_prefix
    assert Path(facts["executable"]).parent == Path(sys.executable).parent
    asked = subprocess.run(
        [facts["executable"], "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert asked.stdout.strip() == sys.prefix


def test_other_environment(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """`Executable` chooses another environment, with its site-packages and .pth files."""
    import venv

    root = tmp_path / "other venv"
    venv.create(root, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = root / "lib" / version / "site-packages"
    (packages / "only_there.py").write_text("VALUE = 'site-packages'\n")
    linked = tmp_path / "only-by-pth"
    linked.mkdir()
    (linked / "by_pth.py").write_text("VALUE = 'pth'\n")
    (packages / "linked.pth").write_text(f"{linked}\n")
    result = tmp_path / "result.pickle"
    server = orthanc_server(
        f"""
        import pickle, sys
        import only_there, by_pth
        import orthanc, orthanc_async
        from orthanc_async import rest

        @rest.get("/hello")
        async def hello(request):
            return {{"orthanc": orthanc.__name__}}

        with open({str(result)!r}, "wb") as file:
            pickle.dump([sys.prefix, sys.executable, only_there.VALUE, by_pth.VALUE], file)
        """,
        config={"Python": {"Executable": str(root / "bin" / "python")}},
        # orthanc_async is not in there: only anyio has to be found.
        environment={"PYTHONPATH": str(_dependencies(tmp_path))},
    )
    assert server.http.get("/hello").json() == {"orthanc": "orthanc"}
    found = pickle.loads(result.read_bytes())
    assert found == [str(root), str(root / "bin" / "python"), "site-packages", "pth"]


def _dependencies(folder: Path) -> Path:
    """Give the packages that orthanc_async needs, without itself."""
    import anyio

    site = Path(anyio.__file__).parent.parent
    linked = folder / "dependencies"
    linked.mkdir()
    for name in ("anyio", "idna", "sniffio", "typing_extensions.py"):
        if (site / name).exists():
            (linked / name).symlink_to(site / name)
    return linked


def test_uvloop(orthanc_server: OrthancFactory) -> None:
    """With uvloop, routes, awaited SDK calls, timers, changes, background tasks and stop work."""
    pytest.importorskip("uvloop")
    server = orthanc_server(
        """
        import asyncio
        import orthanc
        from orthanc_async import background, on_change, on_shutdown, on_startup, rest

        seen, ticks = [], []

        @on_startup
        async def start():
            seen.append(type(asyncio.get_running_loop()).__module__)

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.01)

        background(tick())

        @on_change
        async def changed(change):
            seen.append(change.type.name)

        @rest.get("/state")
        async def state(request):
            await asyncio.sleep(0.01)
            return {"seen": seen, "ticks": len(ticks),
                    "system": len(await orthanc.rest_api_get("/system"))}

        @rest.get("/plain")
        def plain(request):
            return {"system": len(orthanc.RestApiGet("/system"))}

        @on_shutdown
        async def stop():
            print("stopped", len(await orthanc.rest_api_get("/system")) > 10)
        """,
        config={"Python": {"EventLoop": "uvloop"}},
    )
    state = server.wait_json(
        "/state", lambda state: state["ticks"] > 3 and "ORTHANC_STARTED" in state["seen"]
    )
    assert any(name.startswith("uvloop") for name in state["seen"])
    assert state["system"] == server.http.get("/plain").json()["system"] > 10
    assert server.stop() == 0
    assert "stopped True" in server.log_text()
