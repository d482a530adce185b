"""Child processes of scripts: forked ones cannot reach the server, and none is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import concurrent.futures, json, logging, multiprocessing, os, sys, time
    import orthanc
    from orthanc_async import on_startup, rest

    log = logging.getLogger("my")

    def double(x):
        return 2 * x

    def kind_of(code):
        return repr(orthanc.ChangeType(code)), isinstance(
            orthanc.OrthancException(17, "x"), Exception)

    def try_sdk(_=None):
        print("printed in the child", _)
        log.warning("logged in the child")
        sys.stdout.flush()
        found = {}
        for name, call in (
            ("RestApiGet", lambda: orthanc.RestApiGet("/system")),
            ("LogWarning", lambda: orthanc.LogWarning("from the child")),
            ("GetConfiguration", lambda: orthanc.GetConfiguration()),
            ("GenerateUuid", lambda: orthanc.GenerateUuid()),
        ):
            try:
                call()
                found[name] = "worked"
            except RuntimeError as error:
                found[name] = str(error)
        orthanc.RegisterOnChangeCallback(lambda *event: None)
        orthanc.RegisterRestCallback("/nothing", lambda *event, **more: None)
        return found

    pool = multiprocessing.Pool(2)
    at_import = pool.map(double, range(5))
    executor = concurrent.futures.ProcessPoolExecutor(1)

    def plain(output, uri, **request):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, json.dumps(try_sdk("fork")).encode())
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader) as pipe:
            text = pipe.read()
        os.waitpid(pid, 0)
        output.AnswerBuffer(text, "application/json")

    orthanc.RegisterRestCallback("/fork", plain)

    def pools(output, uri, **request):
        with multiprocessing.Pool(1) as own:
            fresh = own.apply(try_sdk, ("fresh pool",))
        forked = multiprocessing.get_context("fork").Process(target=sys.exit, args=(3,))
        forked.start()
        forked.join()
        endless = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
        endless.start()
        endless.terminate()
        endless.join(20)
        output.AnswerBuffer(json.dumps({
            "import": at_import,
            "now": pool.map(double, [21]),
            "sdk": pool.apply(try_sdk, ("old pool",)),
            "fresh": fresh,
            "executor": executor.submit(double, 4).result(20),
            "enum": pool.map(kind_of, [3]),
            "exit": forked.exitcode,
            "terminated": endless.exitcode,
            "start method": multiprocessing.get_start_method(),
        }), "application/json")

    orthanc.RegisterRestCallback("/pools", pools)

    @rest.get("/alive")
    async def alive(request):
        import asyncio
        loop = asyncio.get_running_loop()
        code = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(1)",
                                                    stdout=asyncio.subprocess.PIPE)
        out, _ = await code.communicate()
        from_pool = await loop.run_in_executor(executor, double, 8)
        return {"system": len(await orthanc.rest_api_get("/system")) > 10,
                "subprocess": out.decode().strip(), "executor": from_pool}
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with pools made at import."""
    return shared_orthanc(SCRIPT)


def _check_sdk(found: dict[str, Any], method: str = "fork") -> None:
    # A worker of forkserver, Python 3.14's default, is a fresh process.
    why = "was called in a forked child process" if method == "fork" else "needs a running Orthanc"
    assert f"orthanc.RestApiGet() {why}" in found.pop("RestApiGet")
    assert set(found.values()) == {"worked"}
    assert len(found) == 3


def test_forked_child(server: Orthanc) -> None:
    """In a child of os.fork the server is out of reach; the log and print go to stderr."""
    _check_sdk(server.http.get("/fork").json())
    server.wait_log(r"^printed in the child fork$")
    server.wait_log(r"^logged in the child$")
    server.wait_log(r"^W \(process \d+\): from the child$")
    assert server.http.get("/alive").json() == {"system": True, "subprocess": "1", "executor": 16}


def test_pools(server: Orthanc) -> None:
    """Pools made at import and in a callback work; what they return can be pickled."""
    found = server.http.get("/pools").json()
    assert found["import"] == [0, 2, 4, 6, 8]
    assert found["now"] == [42]
    assert found["executor"] == 8
    assert found["exit"] == 3
    assert found["terminated"] == -15
    assert "ChangeType" in found["enum"][0][0]
    _check_sdk(found["sdk"], found["start method"])
    _check_sdk(found["fresh"], found["start method"])
    assert server.http.get("/alive").status == 200


def test_nothing_is_left(server: Orthanc) -> None:
    """Open pools die with Orthanc, which ends in time; no child is left."""
    assert len(server.processes()) > 3
    assert server.stop() == 0
    server.wait_no_processes()
