"""Jobs: work that Orthanc's jobs engine runs, shows, pauses, cancels, saves and runs again."""

from __future__ import annotations

import copy
import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import orthanc
from orthanc_async import _registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    _Function = TypeVar("_Function", bound=Callable[..., Any])

__all__ = ["Job", "job", "submit"]

_SAME = object()


@dataclass(frozen=True)
class _Type:
    name: str
    function: Callable[..., Any]
    saved: bool


_types: dict[str, _Type] = {}


@_registry.on_clear
def _clear() -> None:
    _types.clear()


class Job:
    """A job that runs, as its function gets it. Its attributes may be used on any thread."""

    def __init__(self, native: orthanc.Job, run: _Run) -> None:
        self._native = native
        self._run = run

    def __repr__(self) -> str:
        return f"<Job {self.type} at {self.progress:.0%}>"

    @property
    def type(self) -> str:
        """The type, as given to `@jobs.job`."""
        return self._run.type.name

    @property
    def arguments(self) -> Mapping[str, Any]:
        """What the job was submitted with, as JSON gives it back."""
        return self._run.arguments

    @property
    def progress(self) -> float:
        """How much is done, from 0 to 1; shown in `/jobs/{id}`.

        Raises:
            ValueError: Set to something else.
        """
        return self._run.progress

    @progress.setter
    def progress(self, value: float) -> None:
        self._native.SetProgress(value)
        self._run.progress = float(value)

    @property
    def content(self) -> dict[str, Any]:
        """What `/jobs/{id}` shows as "Content", a copy: assign to change it.

        The job adds "Result" when its function has returned something, and "Error" when it has
        raised.

        Raises:
            TypeError: Set to what is no dict, or cannot be written as JSON.
        """
        return copy.deepcopy(self._run.content)

    @content.setter
    def content(self, value: dict[str, Any]) -> None:
        given: object = value
        if not isinstance(given, dict):
            message = f"job.content takes a dict, not {type(value).__name__}"
            raise TypeError(message)
        text = json.dumps(value)
        self._native.SetContent(text)
        self._run.content = json.loads(text)

    @property
    def state(self) -> Any:
        """What the function has saved of its work; None at first and after a reset.

        When Orthanc has been restarted, the function is called anew with what was set last.

        Raises:
            TypeError: Set to what cannot be written as JSON.
        """
        return copy.deepcopy(self._run.state)

    @state.setter
    def state(self, value: object) -> None:
        self._run.state = json.loads(json.dumps(value))
        self._run.save(self._native)

    @property
    def paused(self) -> bool:
        """Whether the job has been paused: its function goes on up to the next checkpoint."""
        return self._native.paused

    async def checkpoint(self, state: object = _SAME) -> None:
        """Wait here while the job is paused; a cancelled one ends here.

        Args:
            state: Assigned to `job.state` first.

        Raises:
            TypeError: The state cannot be written as JSON.
        """
        if state is not _SAME:
            self.state = state
        await self._native.wait_while_paused()


class _Run:
    """One job's data, also between its runs."""

    def __init__(self, type_: _Type, arguments: dict[str, Any], state: object = None) -> None:
        self.type = type_
        self.arguments = arguments
        self.state = state
        self.progress = 0.0
        self.content: dict[str, Any] = {}

    def save(self, native: orthanc.Job) -> None:
        if self.type.saved:
            saved = {"Arguments": self.arguments, "State": self.state}
            native.SetSerialized(json.dumps(saved))

    async def step(self, native: orthanc.Job) -> orthanc.JobStepStatus:
        job = Job(native, self)
        try:
            result = await self.type.function(job, **copy.deepcopy(self.arguments))
            if result is not None:
                job.content = {**self.content, "Result": result}
        except Exception as error:
            job.content = {**self.content, "Error": f"{type(error).__name__}: {error}"}
            raise
        job.progress = 1.0
        return orthanc.JobStepStatus.SUCCESS

    def reset(self, native: orthanc.Job) -> None:
        self.state = None
        self.progress = 0.0
        self.content = {}
        native.SetContent("{}")
        self.save(native)


def job(type_: str, *, saved: bool = True) -> Callable[[_Function], _Function]:
    """Make an `async def` the function of a type of jobs: `@jobs.job("Anonymize")`.

    The function is called with a `Job` and the arguments of `submit`. It returns when the job has
    succeeded, and raises when it has failed; the result, if any, must be writable as JSON. When
    the job is cancelled, or Orthanc stops, its task is cancelled. A saved job that had not ended
    runs again after a restart of Orthanc, from the beginning, with the `job.state` it had last.
    Registers by `OrthancPluginRegisterJobsUnserializer`.

    Args:
        type_: The name of the type, shown by Orthanc; it must stay the same for saved jobs.
        saved: Whether Orthanc keeps such jobs over a restart (its setting `SaveJobs` too).

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        TypeError: The type is no text, or the function is no `async def` of this kind.
        ValueError: There is another function for that type.
    """
    given: object = type_
    if not isinstance(given, str) or not given:
        message = f'@jobs.job needs the name of a type, such as @jobs.job("Move"), not {type_!r}'
        raise TypeError(message)

    def decorate(function: _Function) -> _Function:
        _check(function, type_)
        first = not _types
        _types[type_] = _Type(type_, function, saved)
        if first:
            orthanc.RegisterJobsUnserializer(_unserialize)
        return function

    return decorate


def _check(function: Callable[..., Any], type_: str) -> None:
    if not _registry.is_async(function):
        message = (
            f"@jobs.job: {_registry.describe(function)} must be an `async def`: run what blocks "
            "by `await asyncio.to_thread(…)` inside it"
        )
        raise TypeError(message)
    parameters = list(inspect.signature(function).parameters.values())
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    if not parameters or parameters[0].kind not in positional:
        message = (
            f"@jobs.job: {_registry.describe(function)} at {_registry.place(function)} must take "
            "the job as its first argument"
        )
        raise TypeError(message)
    if any(item.kind is item.POSITIONAL_ONLY for item in parameters[1:]) or any(
        item.name == "priority" for item in parameters[1:]
    ):
        message = (
            f"@jobs.job: {_registry.describe(function)} gets its arguments by keyword, and "
            "`priority` is jobs.submit's own"
        )
        raise TypeError(message)
    other = _types.get(type_)
    if other is not None:
        message = (
            f"@jobs.job({type_!r}): {_registry.describe(function)} at {_registry.place(function)} "
            f"comes after {_registry.describe(other.function)} at "
            f"{_registry.place(other.function)}: one type has one function"
        )
        raise ValueError(message)


async def submit(
    function: Callable[..., Any] | str, /, *, priority: int = 0, **arguments: Any
) -> str:
    """Hand a job to Orthanc, which runs it when its turn comes; does not wait for it.

    Args:
        function: The function that `@jobs.job` has decorated, or the name of its type.
        priority: A job of a higher priority runs first.
        arguments: The function's, all writable as JSON; it gets them as JSON gives them back.

    Returns:
        Orthanc's identifier of the job: `/jobs/{id}` shows it.

    Raises:
        LookupError: `@jobs.job` has not decorated the function.
        TypeError: The function does not take these arguments, or they cannot be written as JSON.
        orthanc.OrthancException: Orthanc has refused it; before ORTHANC_STARTED it does.
    """
    type_ = next(
        (item for item in _types.values() if function in (item.function, item.name)), None
    )
    if type_ is None:
        name = function if isinstance(function, str) else _registry.describe(function)
        known = ", ".join(sorted(_types)) or "none"
        message = f"jobs.submit: {name} is not decorated with @jobs.job; known types: {known}"
        raise LookupError(message)
    try:
        inspect.signature(type_.function).bind(None, **arguments)
        plain = json.loads(json.dumps(arguments))
    except TypeError as error:
        message = f"jobs.submit: {_registry.describe(type_.function)}: {error}"
        raise TypeError(message) from None
    return await _make(_Run(type_, plain)).submit_job(priority)


def _make(run: _Run) -> orthanc.Job:
    async def step(native: orthanc.Job) -> orthanc.JobStepStatus:
        return await run.step(native)

    def reset(native: orthanc.Job) -> None:
        run.reset(native)

    name = f"{_registry.describe(run.type.function)} (job {run.type.name})"
    for function in (step, reset):
        function.__dict__["__orthanc_handler__"] = name
    native = orthanc.CreateJob(run.type.name, step, None, reset)
    run.save(native)
    return native


def _unserialize(type_: str, serialized: str) -> orthanc.Job | None:
    known = _types.get(type_)
    if known is None:
        return None
    saved = json.loads(serialized)
    return _make(_Run(known, saved["Arguments"], saved["State"]))
