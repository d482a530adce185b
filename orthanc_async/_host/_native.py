"""The built-in module, typed: it exists only inside Orthanc."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from contextvars import ContextVar
    from selectors import SelectorKey

    class RestCall(Protocol):
        """A REST request between its arrival and its end."""

        task: asyncio.Task[None] | None
        is_async: bool
        seconds: float
        progress: int
        answered: bool
        ended: bool
        uri: str
        method: str

        def describe(self) -> str: ...
        def abandon(self) -> None: ...
        def break_off(self) -> None: ...

    class Pending(Protocol):
        """A question of Orthanc's to one handler."""

        task: asyncio.Task[None] | None
        is_async: bool
        ended: bool
        timeout: float

        def describe(self) -> str: ...
        def take(self, result: object) -> None: ...
        def fail(self) -> None: ...

    class Native(Protocol):
        """What the C++ half offers to this one."""

        RestOutput: type
        _current_question: ContextVar[Pending]

        def _settings(self) -> dict[str, Any]: ...
        def _attach_loop(
            self,
            loop: asyncio.AbstractEventLoop,
            task_type: type[asyncio.Task[Any]],
            eager: bool,  # noqa: FBT001
            capture: bool,  # noqa: FBT001
        ) -> None: ...
        def _select(
            self, epoll: int, keys: Mapping[Any, SelectorKey], timeout: float | None
        ) -> list[tuple[SelectorKey, int]]: ...
        def _loop_runs(self, runs: bool) -> None: ...  # noqa: FBT001
        def _ready(self, failure: str) -> None: ...
        def _set_gate(self, state: str) -> None: ...
        def _log(self, level: int, text: str) -> None: ...
        def _running_sdk_calls(self) -> list[str]: ...
        def _mark_forked(self) -> None: ...
        def _live_rest_calls(self) -> list[RestCall]: ...
        def _call_of(self, output: object) -> RestCall: ...
        def _finish(self, output: object) -> None: ...
        def _live_questions(self) -> list[Pending]: ...
        def _wait_questions(self, seconds: float) -> bool: ...
        def _wait_calls(self, seconds: float) -> bool: ...
        def _wait_events_quiet(self, seconds: float) -> bool: ...
        def _async_change_handlers(self) -> list[tuple[Callable[..., Any], str]]: ...

    native: Native
else:
    import _orthanc as native

__all__ = ["native"]
