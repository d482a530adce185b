"""The decorator of jobs: what it refuses, and what it tells the plugin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import _registry, jobs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Collect the unserializers that the plugin is told of."""
    found: list[Any] = []
    monkeypatch.setattr(orthanc, "RegisterJobsUnserializer", found.append)
    _registry.clear()
    yield found
    _registry.clear()


async def work(job: jobs.Job, *, number: int = 1) -> None:
    """Do nothing, as a job."""


def test_registers_once(registered: list[Any]) -> None:
    """One unserializer serves all types; the functions stay what they were."""

    async def other(job: jobs.Job) -> None: ...

    assert jobs.job("One")(work) is work
    jobs.job("Two")(other)
    assert len(registered) == 1
    assert registered[0]("Three", "{}") is None
    _registry.clear()
    jobs.job("One")(work)
    assert len(registered) == 2


def test_refuses_functions(registered: list[Any]) -> None:
    """What could only fail when the job runs is refused at decoration."""

    def plain(job: jobs.Job) -> None: ...
    async def nothing() -> None: ...
    async def only_keyword(*, job: jobs.Job) -> None: ...
    async def positional(job: jobs.Job, number: int, /) -> None: ...
    async def priority(job: jobs.Job, priority: int) -> None: ...

    wrong: list[tuple[Any, str]] = [
        (plain, "must be an `async def`"),
        (nothing, "must take the job as its first argument"),
        (only_keyword, "must take the job as its first argument"),
        (positional, "gets its arguments by keyword"),
        (priority, "`priority` is jobs.submit's own"),
    ]
    for function, text in wrong:
        with pytest.raises(TypeError, match=text):
            jobs.job("One")(function)
    for type_ in ("", 3, work):
        with pytest.raises(TypeError, match="needs the name of a type"):
            jobs.job(type_)  # type: ignore[arg-type]
    assert not registered


def test_refuses_a_second_function(registered: list[Any]) -> None:
    """A second function of a type names both places."""
    jobs.job("One")(work)

    async def other(job: jobs.Job) -> None: ...

    with pytest.raises(ValueError, match=r"other .*comes after .*work at .*one type has one"):
        jobs.job("One")(other)


@pytest.mark.usefixtures("registered")
def test_refuses_arguments() -> None:
    """What the function does not take, or JSON cannot hold, is refused before Orthanc has it."""
    jobs.job("One")(work)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"other": 1}, "unexpected keyword argument 'other'"),
        ({"number": object()}, "not JSON serializable"),
    ]
    for arguments, text in wrong:
        with pytest.raises(TypeError, match=text):
            asyncio.run(jobs.submit(work, **arguments))
    with pytest.raises(
        LookupError, match=r"Two is not decorated with @jobs\.job; known types: One"
    ):
        asyncio.run(jobs.submit("Two"))
