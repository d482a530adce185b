"""`/async/`: queues and entries as JSON, and what can be done with them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, TypeVar

from orthanc_async import rest
from orthanc_async._durable import records, shown, surface
from orthanc_async._durable.store import FINISHED, Entry, State, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from orthanc_async._durable.surface import EngineLike

    _Act = TypeVar("_Act", bound=Callable[..., Coroutine[Any, Any, Any]])

MOST = 1000  # entries of one page
_PAGE = 100
_ARGUMENTS = ("queue", "state", "before", "limit")
_AGAIN = {"Retry-After": "5"}
_NOT_STARTED = "durable events and tasks have not started yet"
_RETRIED = frozenset({State.WAITING, State.DEAD, State.CANCELLED})
_PURGED = frozenset({State.DONE, State.CANCELLED})  # unless dead letters are asked for by name


def register() -> None:
    """Declare the routes. Below a mounted prefix: one registration in Orthanc for all of them."""
    rest.get("/async")(overview)
    rest.mount("/async")
    rest.get("/async/queues")(queues)
    rest.get("/async/queues/{name}")(queue)
    rest.post("/async/queues/{name}/retry")(retry_queue)
    rest.post("/async/queues/{name}/cancel")(cancel_queue)
    rest.post("/async/queues/{name}/purge")(purge_queue)
    rest.get("/async/entries")(entries)
    rest.get("/async/entries/{id:int}")(entry)
    rest.post("/async/entries/{id:int}/retry")(retry_entry)
    rest.post("/async/entries/{id:int}/cancel")(cancel_entry)


# --- what there is


async def overview(_request: rest.Request) -> rest.Response:
    """Tell where the store is, whether it answers, and how the queues stand."""
    engine = surface.engine()
    problem = store = None
    listed: list[dict[str, Any]] | None = None  # not known: not the same as nothing
    if engine is None:
        problem = _NOT_STARTED
    else:
        try:
            store = engine.store.description
            listed = await shown.queues(engine)
        except StoreError as error:
            problem = str(error)
    totals = None
    if listed is not None:
        totals = {
            state.value: sum(one["States"][state.value] for one in listed) for state in State
        }
    return _fresh(
        {
            "Store": store,
            "Problem": problem,
            "States": totals,
            "Running": len(engine.running()) if engine is not None else 0,
            "Queues": listed,
        }
    )


async def queues(_request: rest.Request) -> rest.Response:
    """List the queues: those of the scripts, and those that only the store still has."""
    with _problems():
        return _fresh(await shown.queues(_engine()))


async def queue(request: rest.Request) -> rest.Response:
    """Show one queue."""
    with _problems():
        return _fresh(await _queue(_engine(), request.path["name"]))


async def entries(request: rest.Request) -> rest.Response:
    """List entries, the newest first, a page at a time."""
    query = request.query
    for name in query:
        if name not in _ARGUMENTS:
            known = ", ".join(_ARGUMENTS)
            raise rest.HTTPError(400, f"there is no argument {name!r}: known are {known}")
    limit = _number(query.get("limit"), "limit", 1, MOST) or _PAGE
    before = _number(query.get("before"), "before", 1, 2**63 - 1)
    states = {_state(text) for item in query.getlist("state") for text in item.split(",") if text}
    with _problems():
        engine = _engine()
        asked = query.get("queue") or None
        if asked is not None and records.printable(asked) != asked:
            raise rest.HTTPError(400, f"{asked!r:.100} is no name of a queue")
        # One more than asked for tells whether another page follows.
        found = await engine.store.entries(
            queue=asked,
            states=states or None,
            before=before,
            limit=limit + 1,
        )
    listed = [shown.entry(engine, one, whole=False) for one in found[:limit]]
    return _fresh({"Entries": listed, "Next": found[limit - 1].id if len(found) > limit else None})


async def entry(request: rest.Request) -> rest.Response:
    """Show one entry, with its payload and what the last attempt has saved."""
    with _problems():
        engine = _engine()
        return _fresh(shown.entry(engine, await _entry(engine, request.path["id"]), whole=True))


# --- what can be done


def _acts(act: _Act) -> _Act:
    """Refuse what a page of another origin makes the user's browser send.

    A browser adds the password that it knows to a form of any page; but it sends no header of
    the page's own choice to another origin without asking there first. Programs that are no
    browsers send no Origin.
    """

    async def checked(request: rest.Request) -> Any:
        if "origin" in request.headers and "x-orthanc-async" not in request.headers:
            raise rest.HTTPError(
                403,
                "a browser sends this from a page that does not name itself: pages have to add "
                'the header "X-Orthanc-Async: 1"',
            )
        with _problems():
            return await act(request)

    checked.__name__ = act.__name__
    checked.__qualname__ = act.__qualname__
    return checked  # type: ignore[return-value]


@_acts
async def retry_entry(request: rest.Request) -> rest.Response:
    """Make an entry due now, with all its attempts before it."""
    engine = _engine()
    found = await _entry(engine, request.path["id"])
    if not await engine.retry([found.id]):
        _refuse(found, "retried", "one that is waiting, dead or cancelled can be")
    return await _changed(engine, found.id)


@_acts
async def cancel_entry(request: rest.Request) -> rest.Response:
    """Cancel an entry, also while it runs."""
    engine = _engine()
    found = await _entry(engine, request.path["id"])
    if not await engine.cancel([found.id]):
        _refuse(found, "cancelled", "one that is waiting or running can be")
    return await _changed(engine, found.id)


@_acts
async def retry_queue(request: rest.Request) -> rest.Response:
    """Retry all dead entries of a queue, or those in the states that the body names."""
    states = _states(_body(request, "States"), frozenset({State.DEAD}), _RETRIED, "retried")
    return await _all(request, "Retried", states, lambda engine, ids: engine.retry(ids))


@_acts
async def cancel_queue(request: rest.Request) -> rest.Response:
    """Cancel all entries of a queue that are not finished, also those that run."""
    unfinished = frozenset(State) - FINISHED
    states = _states(_body(request, "States"), unfinished, unfinished, "cancelled")
    return await _all(request, "Cancelled", states, lambda engine, ids: engine.cancel(ids))


@_acts
async def purge_queue(request: rest.Request) -> rest.Response:
    """Remove finished entries of a queue; those of a subscription are not delivered again."""
    body = _body(request, "States", "OlderThan")
    states = _states(body, _PURGED, FINISHED, "purged")
    older = body.get("OlderThan", 0)
    if isinstance(older, bool) or not isinstance(older, (int, float)) or not 0 <= older < 1e12:
        raise rest.HTTPError(
            400, f'"OlderThan" must be seconds from 0 to 1e12, not {older!r:.100}'
        )
    engine = _engine()
    name = (await _queue(engine, request.path["name"]))["Name"]
    # A queue that no script has is one of a task, or was one of a subscription: of the latter, a
    # key that is forgotten would be delivered again when the script comes back.
    known = engine.queues.get(name)
    keep_keys = known is None or known.kind != shown.TASK
    purged = await engine.store.purge(
        queue=name, states=states, older=float(older), keep_keys=keep_keys
    )
    surface.counts().forget()
    return _fresh({"Purged": purged})


async def _all(
    request: rest.Request,
    word: str,
    states: frozenset[State],
    act: Callable[[EngineLike, list[int]], Coroutine[Any, Any, int]],
) -> rest.Response:
    engine = _engine()
    name = (await _queue(engine, request.path["name"]))["Name"]
    number, before = 0, None
    # Downwards by identifiers: one that dies again meanwhile is not met twice.
    while found := await engine.store.entries(
        queue=name, states=states, before=before, limit=MOST
    ):
        before = found[-1].id
        number += await act(engine, [one.id for one in found])
    surface.counts().forget()
    return _fresh({word: number})


async def _changed(engine: EngineLike, id: int) -> rest.Response:  # noqa: A002
    surface.counts().forget()
    return _fresh(shown.entry(engine, await _entry(engine, id), whole=True))


# --- what both need


def _engine() -> EngineLike:
    engine = surface.engine()
    if engine is None:
        raise rest.HTTPError(503, _NOT_STARTED, headers=_AGAIN)
    return engine


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise rest.HTTPError(503, str(error), headers=_AGAIN) from error


async def _queue(engine: EngineLike, name: str) -> dict[str, Any]:
    for one in await shown.queues(engine):
        if one["Name"] == name:
            return one
    raise rest.HTTPError(404, f"there is no queue {name!r:.100}: /async/queues lists them")


async def _entry(engine: EngineLike, id: int) -> Entry:  # noqa: A002
    found = await engine.store.entry(id)
    if found is None:
        raise rest.HTTPError(404, f"there is no entry {id}: it may have been purged")
    return found


def _refuse(found: Entry, done: str, possible: str) -> None:
    message = f"entry {found.id} cannot be {done}, since it is {found.state.value}: {possible}"
    raise rest.HTTPError(409, message)


def _fresh(body: Any) -> rest.Response:
    # An answer out of a browser's cache would show what was.
    return rest.Response(body, headers={"Cache-Control": "no-store"})


def _number(text: str | None, name: str, least: int, most: int) -> int | None:
    if text is None:
        return None
    # Not int(): it also reads "1_0", and digits of other scripts.
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise rest.HTTPError(400, f"{name} must be a number from {least} to {most}, not {text!r:.100}")


def _state(text: object) -> State:
    if isinstance(text, str):
        with contextlib.suppress(ValueError):
            return State(text)
    known = ", ".join(State)
    raise rest.HTTPError(400, f"there is no state {text!r:.100}: known are {known}")


def _body(request: rest.Request, *known: str) -> dict[str, Any]:
    body = request.json() if request.body.strip() else {}
    if not isinstance(body, dict):
        raise rest.HTTPError(400, "the body must be a JSON object, or empty")
    for name in body:
        if name not in known:
            listed = " and ".join(known)
            raise rest.HTTPError(400, f"the body has a field {name!r:.100}: known are {listed}")
    return body


def _states(
    body: dict[str, Any], usual: frozenset[State], possible: frozenset[State], done: str
) -> frozenset[State]:
    given = body.get("States")
    if given is None:
        return usual
    if not isinstance(given, list) or not given:
        listed = ", ".join(sorted(possible))
        raise rest.HTTPError(400, f'"States" must be a list of some of {listed}')
    states = frozenset(_state(one) for one in given)
    for state in sorted(states - possible):
        listed = ", ".join(sorted(possible))
        message = f"entries that are {state.value} cannot be {done}: only {listed}"
        raise rest.HTTPError(400, message)
    return states
