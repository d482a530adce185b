"""A job that reads every instance of a study, and tells which cannot be read.

    curl -X POST http://localhost:8042/studies/{id}/check
    curl http://localhost:8042/jobs/{job}

Orthanc shows it among its jobs, with its progress; it can be paused, cancelled and resubmitted
there, and goes on after a restart where it was.
"""

from __future__ import annotations

import json

import orthanc
from orthanc_async import jobs, rest


@jobs.job("CheckStudy")
async def check(job: jobs.Job, *, study: str) -> dict[str, object]:
    """Read the study's instances one after another."""
    instances = json.loads(await orthanc.rest_api_get(f"/studies/{study}/instances?expand=false"))
    identifiers = sorted(item if isinstance(item, str) else item["ID"] for item in instances)
    state = job.state or {"done": 0, "bytes": 0, "unreadable": []}
    for identifier in identifiers[state["done"] :]:
        try:
            state["bytes"] += len(await orthanc.get_dicom_for_instance(identifier))
        except orthanc.OrthancException:
            state["unreadable"].append(identifier)
        state["done"] += 1
        job.progress = state["done"] / len(identifiers)
        job.content = {"Study": study, "Checked": state["done"]}
        await job.checkpoint(state)  # what has been done is saved; a paused job waits here
    return {"Bytes": state["bytes"], "Unreadable": state["unreadable"]}


@rest.post("/studies/{study}/check")
async def start(request: rest.Request) -> dict[str, str]:
    """Start the job; answer with its identifier."""
    return {"ID": await jobs.submit(check, study=request.path["study"])}
