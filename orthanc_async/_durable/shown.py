"""Queues and entries as the REST API shows them."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from orthanc_async._durable import job, surface
from orthanc_async._durable.store import QueueCounts, State

if TYPE_CHECKING:
    from orthanc_async._durable.attempt import Policy
    from orthanc_async._durable.store import Entry
    from orthanc_async._durable.surface import EngineLike

TASK = "task"  # the kind of a queue of tasks
_SHORT = 300  # characters of an error in a list


async def queues(engine: EngineLike) -> list[dict[str, Any]]:
    """Describe all queues, by their names: those of scripts, and those that the store has."""
    counts = await surface.counts().get(engine)
    names = sorted({*engine.queues, *counts})
    return [_queue(engine, name, counts.get(name) or QueueCounts()) for name in names]


def _queue(engine: EngineLike, name: str, counts: QueueCounts) -> dict[str, Any]:
    known = engine.queues.get(name)
    running = [one for one in engine.running() if one.queue == name]
    return {
        "Name": name,
        "Kind": str(known.kind) if known is not None else None,
        # False: no script declares it any more, so nothing is tried. Its entries are kept.
        "Declared": known is not None,
        "Place": known.place if known is not None else None,
        "States": {state.value: counts.states.get(state, 0) for state in State},
        "Oldest": round(counts.oldest, 3) if counts.oldest is not None else None,
        "Running": len(running),
        "Gate": _gate(known.policy) if known is not None else None,
        "Policy": _policy(known.policy) if known is not None else None,
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "Attempts": policy.retry.attempts,
        "Timeout": policy.timeout,
        "Concurrency": policy.concurrency,
    }


def _gate(policy: Policy) -> dict[str, Any] | None:
    # Gate.free is not asked: a breaker may take that for the attempt that tries it out.
    state = getattr(policy.gate, "state", None)
    if state is None:
        return None
    wait = policy.gate.wait() if policy.gate is not None else 0.0
    return {"State": str(getattr(state, "value", state)), "Wait": round(max(wait, 0.0), 3)}


def entry(engine: EngineLike, one: Entry, *, whole: bool) -> dict[str, Any]:
    """Describe one entry.

    Args:
        engine: Which knows how far a running one has come.
        one: The entry.
        whole: With what may be long: payload, saved state, the whole error.
    """
    progress = one.progress
    running = next((run for run in engine.running() if run.entry_id == one.id), None)
    if running is not None:
        progress = running.attempt.progress
    error = one.error
    if error is not None and not whole and len(error) > _SHORT:
        error = error[:_SHORT] + "…"
    fields: dict[str, Any] = {
        "ID": one.id,
        "Queue": one.queue,
        "Key": one.key,
        "Resource": one.resource,
        "State": one.state.value,
        "Attempts": one.attempts,
        "Interruptions": one.interruptions,
        "Created": _time(one.created_at),
        "Changed": _time(one.changed_at),
        "DueIn": round(max(one.due_in, 0.0), 3) if one.state is State.WAITING else None,
        "Reason": one.reason,
        "Error": error,
        "Progress": {"Done": progress.done, "Total": progress.total, "Bytes": progress.bytes},
        "Server": one.server,
        "Job": job.of(one.id),
    }
    if whole:
        fields["Payload"] = one.payload
        fields["Resume"] = one.resume
    return fields


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
