"""Forward every stable study to a web service, and tell over HTTP how far that has come.

    FORWARD_URL=http://127.0.0.1:9000 orthanc-async run forward_stable_studies.py

The service gets POST {FORWARD_URL}/studies/{study}/instances/{instance} with each DICOM file,
then POST {FORWARD_URL}/studies/{study}/summary with a JSON summary. receiver.py is such a one.
GET /forward/status on Orthanc answers at any time, also while files are under way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import Any

import aiohttp
import orthanc
from orthanc_async import Study, on_stable_study, rest

FORWARD_URL = os.environ["FORWARD_URL"].rstrip("/")
FILES_AT_ONCE = 4
TIMEOUT = aiohttp.ClientTimeout(total=60)

log = logging.getLogger("forward")
progress: dict[str, dict[str, Any]] = {}


@on_stable_study
async def forward(study: Study) -> None:
    """Send the files of a study, several at once, and the summary after the last of them."""
    details = json.loads(await orthanc.rest_api_get(f"/studies/{study.id}"))
    instances = [instance.id for instance in await study.instances()]
    state = progress[study.id] = {"state": "under way", "sent": 0, "files": len(instances)}
    free = asyncio.Semaphore(FILES_AT_ONCE)
    try:
        async with aiohttp.ClientSession(timeout=TIMEOUT) as web:

            async def send(instance: str) -> int:
                async with free:
                    dicom = await orthanc.rest_api_get(f"/instances/{instance}/file")
                    await post(web, f"/studies/{study.id}/instances/{instance}", data=dicom)
                state["sent"] += 1
                return len(dicom)

            async with asyncio.TaskGroup() as group:
                sending = [group.create_task(send(instance)) for instance in instances]
            summary = {
                "study": study.id,
                "patient": details["PatientMainDicomTags"],
                "tags": details["MainDicomTags"],
                "series": len(details["Series"]),
                "instances": instances,
                "bytes": sum(task.result() for task in sending),
            }
            await post(web, f"/studies/{study.id}/summary", json=summary)
    except BaseException:
        state["state"] = "failed"
        raise  # Orthanc's log gets the traceback
    state["state"] = "forwarded"
    log.info("Study %s: %d files forwarded to %s", study.id, len(instances), FORWARD_URL)


async def post(web: aiohttp.ClientSession, path: str, **body: Any) -> None:
    """Send one thing to the service; a refusal is an error."""
    async with web.post(FORWARD_URL + path, **body) as answer:
        answer.raise_for_status()


@rest.get("/forward/status")
async def status(_request: rest.Request) -> dict[str, Any]:
    """Answer what has become of each study."""
    return {"to": FORWARD_URL, "studies": progress}
