"""Process pools and processes of scripts, made at import and later, with each start method."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

# As the samples of the official plugin do it: at the top level, without a guard.
SCRIPT = """
    import concurrent.futures, json, multiprocessing, multiprocessing.pool, os, sys, time
    import orthanc
    from orthanc_async import rest

    if {method!r}:
        multiprocessing.set_start_method({method!r})

    # What only Orthanc's own process can do.
    script = json.loads(orthanc.GetConfiguration())["Plugins"]
    folder, token = orthanc.GetOrthancDirectory(), orthanc.GenerateRestApiAuthorizationToken()
    name = orthanc.GenerateUuid()
    orthanc.SetDescription("doubles")
    orthanc.LogWarning("imported")

    def double(x):
        return 2 * x

    def tell():
        orthanc.LogWarning("told by a worker")
        orthanc.LogInfo("not shown")
        return [script, folder, len(token), len(name), sys.argv]

    def nested(x):
        if multiprocessing.current_process().daemon:
            return None
        with multiprocessing.Pool(1) as own:
            return own.apply(double, (x,))

    def try_sdk():
        orthanc.RegisterOnChangeCallback(print)
        try:
            return orthanc.RestApiGet("/system")
        except RuntimeError as error:
            return str(error)

    def end(code):
        sys.exit(code)

    pool = multiprocessing.Pool(2)
    at_import = pool.map(double, range(5))
    threads = multiprocessing.pool.ThreadPool(1)
    manager = multiprocessing.Manager()
    shared = manager.dict(a=1)
    executor = concurrent.futures.ProcessPoolExecutor(1)
    future = executor.submit(double, 4)
    process = multiprocessing.Process(target=end, args=(3,))
    process.start()
    process.join()
    sys.path = [os.getcwd()]  # of no use for a worker's own imports

    def facts(output, uri, **request):
        with concurrent.futures.ProcessPoolExecutor(1) as own:
            inner = own.submit(nested, 5).result(60)
        later = multiprocessing.Process(target=end, args=(4,))
        later.start()
        later.join()
        output.AnswerBuffer(json.dumps({{
            "method": multiprocessing.get_start_method(),
            "import": at_import,
            "now": pool.map(double, [21]),
            "threads": threads.apply(double, (7,)),
            "shared": dict(shared),
            "executor": future.result(60),
            "exits": [process.exitcode, later.exitcode],
            "nested": inner,
            "sdk": pool.apply(try_sdk),
            "told": pool.apply(tell),
            "here": tell(),
        }}), "application/json")

    orthanc.RegisterRestCallback("/facts", facts)

    @rest.get("/alive")
    async def alive(request):
        return {{"alive": True}}
"""


@pytest.mark.parametrize("method", ["", "fork", "forkserver", "spawn"])
def test_started_at_import(orthanc_server: OrthancFactory, method: str) -> None:
    """What a script starts at its top level works, with each start method and the default."""
    server: Orthanc = orthanc_server(SCRIPT.format(method=method))
    found = server.http.get("/facts").json()
    forked = found["method"] == "fork"
    assert method in {"", found["method"]}
    assert found["import"] == [0, 2, 4, 6, 8]
    assert found["now"] == [42]
    assert found["threads"] == 14
    assert found["shared"] == {"a": 1}
    assert found["executor"] == 8
    assert found["exits"] == [3, 4]
    assert found["nested"] == 10
    assert ("forked child" if forked else "needs a running Orthanc") in found["sdk"]
    assert found["told"] == found["here"]
    server.wait_log(r"W \(process \d+\): told by a worker")
    assert "not shown" not in server.log_text()
    assert server.http.get("/alive").json() == {"alive": True}
    assert server.stop() == 0
    assert not [line for line in server.log_text().splitlines() if "Traceback" in line]
