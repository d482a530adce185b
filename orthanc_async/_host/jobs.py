"""Steps of jobs that are `async def`. The native half calls these by name."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from orthanc_async._host._native import JobStep

logger = logging.getLogger("orthanc_async")

_tasks: set[asyncio.Task[None]] = set()


async def run_step(step: JobStep, coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a step. Whatever happens, the job's thread learns of its end."""
    task = asyncio.current_task()
    assert task is not None
    _tasks.add(task)
    try:
        step.take(await coroutine)
    except asyncio.CancelledError:
        step.cancelled()
    except BaseException as error:  # noqa: BLE001 - also SystemExit ends here
        raised(step, error)
        step.fail()
    finally:
        _tasks.discard(task)


def raised(step: JobStep, error: BaseException) -> None:
    """Log why a job has failed."""
    logger.error("%s raised", step.describe(), exc_info=error)


def tasks() -> set[asyncio.Task[None]]:
    """Return the tasks of the jobs that run."""
    return set(_tasks)
