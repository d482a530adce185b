"""What Python says arrives in Orthanc's log, with level, name and whole traceback."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = """
    import asyncio, logging, sys, threading, warnings
    import orthanc
    from orthanc_async import background, on_change, on_startup, rest

    own = logging.getLogger("my.app")
    print("at import", 1, sep="|", end=".\\n")
    print("to stderr", file=sys.stderr)
    warnings.warn("old thing")
    own.debug("debug-at-import")

    async def quick():
        pass

    def inner():
        try:
            {}["missing"]
        except KeyError as error:
            raise ValueError("outer\\nsecond line \\udcff") from error

    @rest.get("/levels")
    async def levels(request):
        own.info("an info %d", 1)
        own.warning("a warning")
        own.error("an error")
        own.critical("a critical")
        own.log(25, "between")
        return "ok"

    @rest.get("/raises")
    async def raises(request):
        inner()

    def plain(output, uri, **request):
        inner()

    orthanc.RegisterRestCallback("/plain", plain)

    @rest.get("/asyncio")
    async def asyncio_messages(request):
        import gc
        quick()
        async def bad():
            raise RuntimeError("nobody asks")
        task = asyncio.get_running_loop().create_task(bad(), name="forgotten")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        return "ok"

    @rest.get("/thread")
    async def thread(request):
        def dies():
            raise LookupError("in a thread")
        worker = threading.Thread(target=dies, name="worker-seven")
        worker.start()
        worker.join()
        class Bad:
            def __del__(self):
                raise LookupError("in __del__")
        Bad()
        return "ok"

    @rest.get("/lines")
    async def lines(request):
        sys.stdout.write("half ")
        sys.stdout.write("a line\\nsecond one\\nno end")
        sys.stdout.flush()
        print("umlaut \\u00e4 \\udc80 nul \\0.")
        print()
        return "ok"

    @on_change
    async def failing_change(change):
        if change.type == orthanc.ChangeType.ORTHANC_STARTED:
            raise ValueError("change failed")

    def plain_change(kind, level, resource):
        if kind == orthanc.ChangeType.ORTHANC_STARTED:
            raise ValueError("plain change failed")

    orthanc.RegisterOnChangeCallback(plain_change)

    async def background_dies():
        raise ValueError("background failed")

    background(background_dies())

    @on_startup
    def broken_start():
        raise ValueError("start failed")
"""


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc whose script says things in every way."""
    return shared_orthanc(SCRIPT, errors=(".",), verbose=True)


def entry(server: Orthanc, text: str) -> tuple[str, str]:
    """Return level and line of the log entry that holds a text, once it is there."""
    line: str = server.wait_log(rf"^.*{text}.*$")[0]
    return line[0], line


def traceback(server: Orthanc, text: str, end: str) -> str:
    """Return the log from the entry that holds a text to the line that holds another."""
    server.wait_log(re.escape(text) + r"[\s\S]*?" + re.escape(end))
    log = server.log_text()
    return log[log.index(text) : log.index(end, log.index(text)) + len(end)]


def test_print_and_warnings_at_import(server: Orthanc) -> None:
    """What a script prints or warns of while it is loaded is a warning in the log."""
    assert entry(server, r"at import\|1\.")[0] == "W"
    assert entry(server, "to stderr")[0] == "W"
    level, line = entry(server, "old thing")
    assert level == "W"
    assert "py.warnings: " in line
    assert "script.py:9: UserWarning" in line
    log = server.log_text()
    source = 'warnings.warn("old thing")\n'
    after = log[log.index(source) + len(source) :]
    assert not after.startswith("\n")
    assert "debug-at-import" not in server.log_text()


def test_levels_and_names(server: Orthanc) -> None:
    """Each level of `logging` becomes Orthanc's, with the logger's name before the text."""
    assert server.http.get("/levels").status == 200
    for text, level in (
        ("an info 1", "I"),
        ("between", "I"),
        ("a warning", "W"),
        ("an error", "E"),
        ("a critical", "E"),
    ):
        found, line = entry(server, rf"my\.app: {text}")
        assert found == level, line


def test_lines_of_print(server: Orthanc) -> None:
    """Lines are put together from parts; what UTF-8 cannot say is escaped."""
    assert server.http.get("/lines").status == 200
    for text in ("half a line", "second one", "no end", r"umlaut ä \\udc80 nul \\x00\."):
        assert entry(server, rf"\] {text}$")[0] == "W"


@pytest.mark.parametrize("route", ["/raises", "/plain"])
def test_traceback_of_a_route(server: Orthanc, route: str) -> None:
    """An exception in a route is logged whole, with its cause, under handler and route."""
    assert server.http.get(route).status == 500
    name = "script.raises" if route == "/raises" else "script.plain"
    level, line = entry(server, rf"{name}.*GET {route}\)? (raised|failed)")
    assert level == "E", line
    text = traceback(server, line, r"second line \udcff")
    assert "KeyError: 'missing'" in text
    assert "direct cause of the following exception" in text
    assert text.count("in inner") == 2
    assert "raise ValueError(" in text


def test_tracebacks_of_events(server: Orthanc) -> None:
    """Failing change handlers, background tasks and start hooks are named with their traceback."""
    for name, message in (
        (r"script\.failing_change.*ORTHANC_STARTED.*raised", "ValueError: change failed"),
        (r"script\.plain_change.*ORTHANC_STARTED.*raised", "ValueError: plain change failed"),
        (r"background task .*background_dies.* failed", "ValueError: background failed"),
        (r"script\.broken_start.*on_startup.*failed", "ValueError: start failed"),
    ):
        assert entry(server, name)[0] == "E"
        server.wait_log(name + r"[\s\S]*?in \w+\n[\s\S]*?" + message)


def test_messages_of_asyncio(server: Orthanc) -> None:
    """A coroutine never awaited, a task's forgotten exception, a callback's failure."""
    assert server.http.get("/asyncio").status == 200
    assert entry(server, r"py\.warnings: .*coroutine 'quick' was never awaited")[0] == "W"
    level, line = entry(server, "Task exception was never retrieved")
    assert level == "E"
    assert "asyncio: " in line
    server.wait_log("name='forgotten'")
    server.wait_log("RuntimeError: nobody asks")
    assert entry(server, "asyncio: Exception in callback")[0] == "E"
    server.wait_log("ZeroDivisionError: division by zero")


def test_exceptions_nobody_catches(server: Orthanc) -> None:
    """A thread that dies is named; what __del__ raises is told too."""
    assert server.http.get("/thread").status == 200
    assert entry(server, "uncaught exception in thread worker-seven")[0] == "E"
    server.wait_log(r"worker-seven[\s\S]*?in dies[\s\S]*?LookupError: in a thread")
    server.wait_log(r"__del__[\s\S]*?LookupError: in __del__")

    assert "Logging error" not in server.log_text()
