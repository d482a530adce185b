# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Jobs and routes for test_jobs.py."""

import asyncio
import json
import time

import orthanc
from orthanc_async import jobs, rest

seen = {"cancelled": 0, "stopped": [], "reset": 0, "first": 0, "number": 0, "finalized": 0}


@jobs.job("Count")
async def count(job, *, until, delay=0.01, fail_at=None):
    start = job.state or 0
    seen["started"] = start
    try:
        for number in range(start, until):
            await asyncio.sleep(delay)
            if number == fail_at:
                raise ValueError("no further")
            seen["number"] = number + 1
            job.progress = (number + 1) / until
            job.content = {**job.content, "Started": start, "Number": number + 1}
            await job.checkpoint(number + 1)
    except asyncio.CancelledError:
        seen["cancelled"] += 1
        raise
    return {"Counted": until, "Progress": job.progress}


@jobs.job("Unsaved", saved=False)
async def unsaved(job):
    await asyncio.sleep(3600)


@jobs.job("Strange")
async def strange(job, kind):
    if kind == "result":
        return object()
    if kind == "progress":
        job.progress = 2
    elif kind == "content":
        job.content = ["no dict"]
    elif kind == "cancelled":
        raise asyncio.CancelledError
    elif kind == "exit":
        raise SystemExit(3)


@rest.post("/jobs-of/{type}")
async def submit(request):
    fields = request.json()
    priority = fields.pop("priority", 0)
    try:
        return {"ID": await jobs.submit(request.path["type"], priority=priority, **fields)}
    except (LookupError, TypeError) as error:
        return {"Error": f"{type(error).__name__}: {error}"}


@rest.get("/seen")
def get_seen(request):
    return seen


# The functions of the SDK, as a script without decorators uses them.


class Steps:
    """Three steps, each a call."""

    def __init__(self, kind):
        self.kind = kind
        self.steps = 0

    def __del__(self):
        seen["finalized"] += 1

    def step(self, job):
        if self.kind == "raises":
            raise ValueError("a step that fails")
        if self.kind == "nonsense":
            return "more"
        if self.kind == "endless":
            job.SetSerialized('{"Kind": "endless"}')
            time.sleep(0.01)
            return orthanc.JobStepStatus.CONTINUE
        self.steps += 1
        job.SetProgress(self.steps / 3)
        job.SetContent(json.dumps({"Steps": self.steps}))
        job.SetSerialized(json.dumps({"Kind": self.kind, "Steps": self.steps}))
        return orthanc.JobStepStatus.SUCCESS if self.steps == 3 else orthanc.JobStepStatus.CONTINUE

    async def step_async(self, job):
        await asyncio.sleep(0.01)
        return self.step(job)

    def stop(self, job, reason):
        seen["stopped"].append(f"{job.type} {reason!r}")

    async def reset(self, job):
        await asyncio.sleep(0)
        self.steps = 0
        seen["reset"] += 1


def make(kind):
    steps = Steps(kind)
    step = steps.step_async if kind == "async" else steps.step
    return orthanc.CreateJob("Plain", step, steps.stop, steps.reset)


def create(output, uri, **request):
    job = make(request["groups"][0])
    identifier = job.SubmitJob(int(request["get"].get("priority", "0")))
    try:
        job.SubmitJob(0)
    except RuntimeError as error:
        again = str(error)
    output.AnswerBuffer(json.dumps({"ID": identifier, "Again": again}), "application/json")


orthanc.RegisterRestCallback("/create/(.*)", create)


def other_unserializer(type_, serialized):
    seen["asked"] = type_
    return None


async def unserializer(type_, serialized):
    await asyncio.sleep(0)
    return make(json.loads(serialized)["Kind"]) if type_ == "Plain" else None


orthanc.RegisterJobsUnserializer(other_unserializer)
orthanc.RegisterJobsUnserializer(unserializer)


@rest.get("/refused")
async def refused(request):
    def attempt(function, *arguments):
        try:
            return function(*arguments)
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    job = make("three")
    return {
        "blocking": attempt(job.SubmitJob, 0),
        "progress": attempt(job.SetProgress, float("nan")),
        "content": attempt(job.SetContent, "[]"),
        "serialized": attempt(job.SetSerialized, '{"Type": 1}'),
        "step": attempt(orthanc.CreateJob, "X", None),
        "function": attempt(orthanc.CreateJob, "X", 3),
        "keyword": attempt(lambda: orthanc.CreateJob(type="X", step=print)),
    }
