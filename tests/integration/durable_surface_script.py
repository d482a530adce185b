# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""The surface of the durable part on a stand-in for engine and store that tests command."""

import asyncio
import dataclasses
import time

from orthanc_async import rest
from orthanc_async._durable import figures, store, surface
from orthanc_async._durable.attempt import Attempt, Policy, Retry
from orthanc_async._durable.store import FINISHED, Entry, Progress, QueueCounts, State


class Store:
    """Entries in memory, as far as the surface asks for them."""

    description = "SQLite: /var/lib/orthanc/orthanc-async.db"

    def __init__(self):
        self.all = {}
        self.problem = None
        self.asked = {"counts": 0}
        self.kept = set()

    def put(self, **fields):
        number = len(self.all) + 1
        now = time.time()
        usual = {
            "queue": "to-archive",
            "key": f"Study/{number}",
            "payload": {"id": number},
            "resource": None,
            "state": State.WAITING,
            "attempts": 0,
            "interruptions": 0,
            "created_at": now,
            "changed_at": now,
            "due_in": 0.0,
            "reason": None,
            "error": None,
            "resume": None,
            "progress": Progress(),
            "server": "here",
        }
        if "progress" in fields:
            fields["progress"] = Progress(*fields["progress"])
        if "state" in fields:
            fields["state"] = State(fields["state"])
        self.all[number] = Entry(id=number, **(usual | fields))
        return number

    def change(self, number, **fields):
        self.all[number] = dataclasses.replace(self.all[number], changed_at=time.time(), **fields)

    def check(self):
        if self.problem:
            raise store.StoreError(self.problem)

    async def counts(self):
        self.check()
        self.asked["counts"] += 1
        found = {}
        for one in self.all.values():
            states = found.setdefault(one.queue, {})
            states[one.state] = states.get(one.state, 0) + 1
        return {
            name: QueueCounts(states, 12.5 if states.keys() - FINISHED else None)
            for name, states in found.items()
        }

    async def entry(self, id):
        self.check()
        return self.all.get(id)

    async def entries(self, *, queue=None, states=None, before=None, limit=100):
        self.check()
        found = [
            one
            for number, one in reversed(self.all.items())
            if (before is None or number < before)
            and queue in (None, one.queue)
            and (states is None or one.state in states)
        ]
        return found[:limit]

    async def purge(self, *, queue, states, older, keep_keys):
        self.check()
        gone = [
            one.id
            for one in self.all.values()
            if one.queue == queue and one.state in states and time.time() - one.changed_at >= older
        ]
        for number in gone:
            if keep_keys:
                self.kept.add(self.all[number].key)
            del self.all[number]
        return len(gone)


@dataclasses.dataclass
class Queue:
    name: str
    kind: str
    place: str
    policy: Policy
    call: object


@dataclasses.dataclass
class Running:
    entry_id: int
    queue: str
    attempt: Attempt


class Gate:
    state = "closed"

    def free(self, wanted):
        raise AssertionError("asking this may let an attempt through")

    def wait(self):
        return 30.0 if self.state == "open" else 0.0


async def call(resource):
    pass


async def own_job(resource):
    pass


own_job.__durable_shows_job__ = True
gate = Gate()


class Engine:
    def __init__(self):
        self.store = Store()
        self.queues = {
            name: Queue(name, kind, "script.py:1", policy, function)
            for name, kind, policy, function in [
                ("to-archive", "subscription", Policy(gate=gate), call),
                ("to-modality", "subscription", Policy(), own_job),
                ("thumbnails", "task", Policy(Retry(attempts=3), timeout=60.0), call),
            ]
        }
        self.now = {}

    def running(self):
        return list(self.now.values())

    def start(self, number):
        entry = self.store.all[number]

        async def save(resume, progress):
            pass

        attempt = Attempt(
            id=number, queue=entry.queue, key=entry.key, number=1, resume=None, save=save
        )
        self.store.change(number, state=State.RUNNING)
        self.now[number] = Running(number, entry.queue, attempt)
        return attempt

    def end(self, number, outcome=None, **fields):
        running = self.now.pop(number)
        progress = running.attempt.progress
        self.store.change(number, progress=progress, **fields)
        figures.attempt_ended(running.queue, outcome, 2.5, progress.bytes)

    async def cancel(self, ids):
        self.store.check()
        ids = [one for one in ids if self.store.all[one].state not in FINISHED]
        for number in ids:
            self.now.pop(number, None)
            self.store.change(number, state=State.CANCELLED)
        return len(ids)

    async def retry(self, ids):
        self.store.check()
        possible = (State.WAITING, State.DEAD, State.CANCELLED)
        ids = [one for one in ids if self.store.all[one].state in possible]
        for number in ids:
            self.store.change(number, state=State.WAITING, attempts=0, due_in=0.0)
        return len(ids)


engine = Engine()
started = {"it": True}
surface.register(lambda: engine if started["it"] else None)
surface.register(lambda: None)  # a second durable thing changes nothing


@rest.post("/test/put")
async def put(request):
    """Add entries."""
    return [engine.store.put(**fields) for fields in request.json()]


@rest.post("/test/fill/{number:int}")
async def fill(request):
    """Start anew, with so many entries."""
    engine.store.all.clear()
    engine.now.clear()
    engine.store.problem = None
    states = list(State)
    for number in range(request.path["number"]):
        engine.store.put(state=states[number % 5])
    surface.counts().forget()


@rest.post("/test/start/{number:int}")
async def start(request):
    """Begin an attempt."""
    engine.start(request.path["number"])


@rest.post("/test/advance/{number:int}")
async def advance(request):
    """Let an attempt come further."""
    engine.now[request.path["number"]].attempt.advance(**request.json())


@rest.post("/test/end/{number:int}")
async def end(request):
    """End an attempt."""
    fields = request.json()
    state = State(fields.pop("state"))
    outcome = {
        State.DONE: store.Done(),
        State.WAITING: store.Again(5.0, "failed"),
        State.DEAD: store.Dead("refused", "failed"),
    }[state]
    engine.end(request.path["number"], outcome, state=state, **fields)


@rest.post("/test/mode")
async def mode(request):
    """Break something, or mend it."""
    fields = request.json()
    engine.store.problem = fields.get("problem")
    started["it"] = fields.get("started", True)
    gate.state = fields.get("gate", "closed")
    surface.counts().forget()
    await asyncio.sleep(0)
    time.sleep(fields.get("block", 0))  # noqa


@rest.get("/test/seen")
async def seen(_request):
    """Tell what the stand-in has been asked for."""
    return {"kept": sorted(engine.store.kept), **engine.store.asked}
