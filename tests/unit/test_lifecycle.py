"""Start, stop, background tasks, intervals, and coroutines run from threads."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio import to_thread
from orthanc_async import (
    _lifespan,
    _loop,
    _registry,
    _scopes,
    background,
    every,
    on_shutdown,
    on_startup,
    run_coroutine,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    _registry.clear()
    yield
    _registry.clear()


def _run(body: Callable[[], Awaitable[None]], *, stop: float = 5) -> None:
    """Start as the host does, run the body, and stop."""

    async def main() -> None:
        _loop._set(asyncio.get_running_loop())
        try:
            await _lifespan.startup()
            await body()
            await _lifespan.shutdown(stop)
        finally:
            _loop._set(None)

    asyncio.run(main())


async def _nothing() -> None:
    pass


def test_hooks_in_order() -> None:
    """Start functions run in order, stop functions in reverse, `def` ones in a thread."""
    seen: list[str] = []

    @on_startup
    async def first() -> None:
        seen.append("start 1")

    @on_startup()
    def second() -> None:
        assert threading.current_thread() is not threading.main_thread()
        seen.append("start 2")

    @on_shutdown
    def third() -> None:
        assert threading.current_thread() is not threading.main_thread()
        seen.append("stop 1")

    @on_shutdown()
    async def fourth() -> None:
        seen.append("stop 2")

    assert _lifespan.has_startup()
    _run(_nothing)
    assert seen == ["start 1", "start 2", "stop 2", "stop 1"]


def test_failing_hooks(caplog: pytest.LogCaptureFixture) -> None:
    """A hook that raises is logged by name with its traceback, and the others still run."""
    seen: list[str] = []

    @on_startup
    def fails() -> None:
        raise SystemExit(3)

    @on_shutdown
    async def last() -> None:
        seen.append("last")

    @on_shutdown
    async def exits() -> None:
        raise SystemExit(3)

    @on_shutdown
    async def fails_too() -> None:
        raise ValueError("why")

    _run(_nothing)
    assert seen == ["last"]
    assert "fails (@on_startup) failed" in caplog.text
    assert "exits (@on_shutdown) failed" in caplog.text
    assert "fails_too (@on_shutdown) failed" in caplog.text
    assert "ValueError: why" in caplog.text


def test_background_waits_for_the_start() -> None:
    """A task given while the script is loaded starts after the start functions."""
    seen: list[str] = []

    async def task() -> None:
        seen.append("task")

    background(task())
    on_startup(lambda: seen.append("startup"))

    async def body() -> None:
        await asyncio.sleep(0)
        assert seen == ["startup", "task"]

    _run(body)


def test_background_from_the_loop_and_from_threads() -> None:
    """Tasks start from any thread, and without the caller's context."""
    mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")
    marks: list[str] = []
    done = asyncio.Event()

    async def task() -> None:
        marks.append(mark.get())
        if len(marks) == 2:
            done.set()

    async def body() -> None:
        mark.set("handler")
        background(task())
        await asyncio.to_thread(lambda: background(task(), name="from a thread"))
        await asyncio.wait_for(done.wait(), 10)

    _run(body)
    assert marks == ["", ""]


def test_background_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What a task raises is logged with its name and traceback; the others go on."""
    went_on = asyncio.Event()

    async def fails() -> None:
        raise ValueError("why")

    async def goes_on() -> None:
        await asyncio.sleep(0)
        went_on.set()

    async def body() -> None:
        background(fails(), name="the name")
        background(goes_on())
        await asyncio.wait_for(went_on.wait(), 10)

    _run(body)
    assert "the background task the name failed" in caplog.text
    assert "ValueError: why" in caplog.text


@pytest.mark.parametrize("thread", [False, True])
@pytest.mark.parametrize("library", ["asyncio", "anyio"])
def test_background_is_cancelled(library: str, thread: bool) -> None:  # noqa: FBT001
    """A stop cancels tasks once, so that they can await while they clean up, before the hooks."""
    seen: list[str] = []

    @on_shutdown
    async def hook() -> None:
        seen.append("hook")

    async def task() -> None:
        try:
            if library == "anyio":
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)
            else:
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def body() -> None:
        if thread:
            await asyncio.to_thread(lambda: background(task()))
        else:
            background(task())
        await asyncio.sleep(0)

    _run(body)
    assert seen == ["closed", "hook"]


def test_stubborn_task_and_hook(caplog: pytest.LogCaptureFixture) -> None:
    """What does not end in time is named and left; the hooks keep a share of the time."""
    seen: list[str] = []
    release = threading.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                seen.append("refused")
                if len(seen) > 1:
                    raise

    @on_shutdown
    def stuck() -> None:
        release.wait(30)

    @on_shutdown
    async def hook() -> None:
        seen.append("hook")

    async def body() -> None:
        background(stubborn(), name="stubborn")
        await asyncio.sleep(0)

    started = time.monotonic()
    try:

        async def main() -> None:
            _loop._set(asyncio.get_running_loop())
            await _lifespan.startup()
            await body()
            await _lifespan.shutdown(0.4)
            release.set()

        asyncio.run(main())
    finally:
        release.set()
        _loop._set(None)
    assert seen[:2] == ["refused", "hook"]
    assert "the background task stubborn does not end" in caplog.text
    assert "stuck (@on_shutdown) does not end in time" in caplog.text
    assert time.monotonic() - started < 5


def test_stop_before_the_start() -> None:
    """A task that waits for a start which never comes is closed at the stop."""
    waiting = _nothing()
    background(waiting)
    asyncio.run(_lifespan.shutdown(1))
    assert inspect.getcoroutinestate(waiting) == inspect.CORO_CLOSED


def test_hook_out_of_time_cleans_up() -> None:
    """A stop hook that is left behind has begun to clean up before the stop goes on."""
    seen: list[str] = []

    @on_shutdown
    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        await _lifespan.startup()
        await _lifespan.shutdown(0.01)
        seen.append("stopped")

    asyncio.run(main())
    assert seen == ["cleaned up", "stopped"]


def test_background_refuses() -> None:
    """What is no coroutine is refused with how to write it; so is a task while stopping."""

    async def task() -> None: ...

    with pytest.raises(TypeError, match="call it"):
        background(task)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not int"):
        background(3)  # type: ignore[arg-type]

    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="not generator"):
        background(generator())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="has a `yield`"):
        on_startup(generator)

    @on_shutdown
    async def late() -> None:
        with pytest.raises(RuntimeError, match="stopping"):
            background(task())
        seen.append("late")

    seen: list[str] = []
    _run(_nothing)
    assert seen == ["late"]


def test_every() -> None:
    """A function is called again and again; what it raises does not end that."""
    calls: list[str] = []
    enough = asyncio.Event()
    called = threading.Event()

    @every(0.001)
    async def waiting() -> None:
        calls.append("waiting")
        if calls.count("waiting") >= 3:
            enough.set()
        raise ValueError("once more")

    @every(3600, immediately=True)
    def blocking() -> None:
        calls.append("blocking")
        called.set()

    @every(3600)
    async def later() -> None:
        calls.append("later")

    async def body() -> None:
        await asyncio.wait_for(enough.wait(), 10)
        assert await asyncio.to_thread(called.wait, 10)

    _run(body)
    assert calls.count("blocking") == 1
    assert "later" not in calls


def test_every_does_not_overlap() -> None:
    """A call that takes longer than the interval is not overlapped by the next."""
    running = 0
    most = 0
    calls = 0
    enough = asyncio.Event()

    @every(0.001, immediately=True)
    async def slow() -> None:
        nonlocal running, most, calls
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        calls += 1
        if calls == 3:
            enough.set()

    async def body() -> None:
        await asyncio.wait_for(enough.wait(), 10)

    _run(body)
    assert most == 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), 10**400])
def test_every_refuses_values(seconds: float) -> None:
    """An interval that is not positive and finite is refused."""
    with pytest.raises(ValueError, match="above 0"):
        every(seconds)


def test_every_refuses_types() -> None:
    """A decorator without its interval, and a function with arguments, are refused."""
    with pytest.raises(TypeError, match="@every: seconds must be a number"):
        every(lambda: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no arguments"):
        every(1)(lambda _: None)  # type: ignore[type-var]


def test_imported_outside_orthanc() -> None:
    """What never starts leaves no coroutine behind that nobody awaited."""
    every(1)(lambda: None)
    _registry.clear()
    assert not _lifespan.has_startup()


def test_run_coroutine(loop_thread: asyncio.AbstractEventLoop) -> None:
    """A thread gets the result or the exception of a coroutine on the loop."""

    async def work(error: BaseException | None = None) -> Any:
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return asyncio.get_running_loop()

    assert run_coroutine(work()) is loop_thread
    with pytest.raises(ValueError, match="why"):
        run_coroutine(work(ValueError("why")))
    with pytest.raises(TimeoutError, match="its own"):
        run_coroutine(work(TimeoutError("its own")))
    with pytest.raises(SystemExit):
        run_coroutine(work(SystemExit(3)))
    assert run_coroutine(work()) is loop_thread


def test_run_coroutine_timeout(loop_thread: asyncio.AbstractEventLoop) -> None:
    """After its time a coroutine is cancelled, and the thread is told."""
    cancelled = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(TimeoutError, match=r"within 0\.01 seconds"):
        run_coroutine(forever(), timeout=0.01)
    assert cancelled.wait(10)
    assert loop_thread.is_running()


def test_run_coroutine_on_the_loop() -> None:
    """On the loop it raises, naming await, and so it does without a loop."""

    async def inner() -> None: ...

    async def body() -> None:
        with pytest.raises(RuntimeError, match="await"):
            run_coroutine(inner())

    _run(body)
    with pytest.raises(RuntimeError, match="loop does not run"):
        run_coroutine(inner())
    with pytest.raises(TypeError, match="not int"):
        run_coroutine(3)  # type: ignore[arg-type]


def test_run_coroutine_of_a_stopped_loop(loop_thread: asyncio.AbstractEventLoop) -> None:
    """A thread that waits for a coroutine does not outlast the loop."""
    waiting = threading.Event()

    async def forever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    def stop() -> None:
        assert waiting.wait(10)
        _loop._set(None)

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(RuntimeError, match="stopped while"):
        run_coroutine(forever())
    stopper.join(10)
    assert loop_thread.is_running()


@pytest.mark.parametrize("apart", [False, True])
def test_clean_up_in_a_cancelled_scope(*, apart: bool) -> None:
    """A scope of anyio interrupts the `finally` of plain asyncio code, unless it runs apart."""
    seen: list[str] = []

    async def plain() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    async def main() -> None:
        with anyio.move_on_after(0.01):
            if apart:
                await _scopes.run_hook(plain, "plain", _scopes.Deadline())
            else:
                await plain()

    asyncio.run(main())
    assert seen == (["closed"] if apart else [])


def test_late_hooks_clean_up(caplog: pytest.LogCaptureFixture) -> None:
    """A stop function whose time is over cleans up, and the next one still begins."""
    seen: list[str] = []

    def declare(name: str) -> None:
        @on_shutdown
        async def endless() -> None:
            seen.append(f"begun {name}")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                seen.append(f"closed {name}")

    declare("second")
    declare("first")
    _run(_nothing, stop=1)
    assert seen == ["begun first", "closed first", "begun second", "closed second"]
    assert caplog.text.count("does not end in time: cancelled") == 2
    assert "left behind" not in caplog.text


def test_interrupted_start() -> None:
    """A stop during the start cuts it short: what runs cleans up, the rest does not begin."""
    seen: list[str] = []
    begun = asyncio.Event()

    @on_startup
    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    @on_startup
    async def later() -> None:
        seen.append("later")

    @on_shutdown
    async def stopped() -> None:
        seen.append("stopped")

    async def task() -> None:
        seen.append("task")

    background(task())

    async def main() -> None:
        _loop._set(asyncio.get_running_loop())
        start = asyncio.ensure_future(_lifespan.startup())
        await asyncio.wait_for(begun.wait(), 10)
        _lifespan.interrupt_startup(10)
        await _lifespan.shutdown(10)
        await asyncio.wait_for(start, 10)

    try:
        asyncio.run(main())
    finally:
        _loop._set(None)
    assert seen == ["closed", "stopped"]


def test_own_cancellation_ends_nothing_else() -> None:
    """A hook or task that raises CancelledError itself takes no other along."""
    seen: list[str] = []
    done = asyncio.Event()

    @on_startup
    async def cancels_itself() -> None:
        raise asyncio.CancelledError

    @on_startup
    async def second() -> None:
        seen.append("second hook")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async def goes_on() -> None:
        await asyncio.sleep(0.01)
        seen.append("task")
        done.set()

    background(cancelled())
    background(goes_on())

    async def body() -> None:
        await asyncio.wait_for(done.wait(), 10)

    _run(body)
    assert seen == ["second hook", "task"]


def test_plain_hooks_have_threads_of_their_own() -> None:
    """Calls that fill anyio's common threads for ever do not keep a `def` hook from running."""
    seen: list[str] = []
    on_shutdown(lambda: seen.append("stopped"))

    async def main() -> None:
        _loop._set(asyncio.get_running_loop())
        await _lifespan.startup()
        limiter = to_thread.current_default_thread_limiter()
        limiter.total_tokens = 1
        limiter.acquire_on_behalf_of_nowait("a call that never ends")
        await _lifespan.shutdown(10)

    try:
        asyncio.run(main())
    finally:
        _loop._set(None)
    assert seen == ["stopped"]


def test_shares_of_the_stop() -> None:
    """The time of a stop is divided as the documentation says."""
    events, calls = _lifespan.stop_ends(5)
    text = Path(__file__).parents[2].joinpath("docs", "handlers-and-errors.md").read_text("utf-8")
    figures = f"step 1 is over after {events:g} s at the latest, step 3 after {calls:g} s"
    assert f"With 5 s, {figures}" in text
    assert "a longer time, 2 s and 1 s before its end" in text
    assert _lifespan.stop_ends(60) == (58, 59)
    assert _lifespan.stop_ends(1) == pytest.approx((0.6, 0.8))
