"""Forward every stable study to a web service, whatever happens, and tell how far that has come.

    FORWARD_URL=http://127.0.0.1:9000 orthanc-async run forward_stable_studies.py

The service gets POST {FORWARD_URL}/studies/{study}/instances/{instance} with each DICOM file,
then POST {FORWARD_URL}/studies/{study}/summary with a JSON summary. receiver.py is such a one.
GET /forward/status on Orthanc answers at any time, also while files are under way.

It is durable: a study that was received is forwarded, also when Orthanc is killed meanwhile or
the service is away. What has been sent before is not sent again.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

import aiohttp
import orthanc
from orthanc_async import Study, forward, on_stable_study, rest, tasks

FORWARD_URL = os.environ["FORWARD_URL"].rstrip("/")
TIMEOUT = aiohttp.ClientTimeout(total=60)

log = logging.getLogger("forward")
progress: dict[str, tuple[str, tasks.Attempt]] = {}
send_files = forward.to_http(FORWARD_URL, at_once=4)


@on_stable_study(durable="forward", retry=forward.Retry(100))
async def forward_study(study: Study) -> None:
    """Send the files of a study, several at once, and the summary after the last of them."""
    attempt = tasks.current()
    progress[study.id] = "under way", attempt
    try:
        await send_files(study)
        await send_summary(study)
    except BaseException:
        progress[study.id] = "failed", attempt
        raise  # another attempt follows; Orthanc's log gets the reason
    progress[study.id] = "forwarded", attempt
    log.info("Study %s: %d files forwarded to %s", study.id, attempt.progress.done, FORWARD_URL)


async def send_summary(study: Study) -> None:
    """Tell the service what it has got; a refusal is an error."""
    details = await study.info()
    statistics = json.loads(await orthanc.rest_api_get(f"{study.uri}/statistics"))
    summary = {
        "study": study.id,
        "patient": details["PatientMainDicomTags"],
        "tags": details["MainDicomTags"],
        "series": len(details["Series"]),
        "instances": [instance.id for instance in await study.instances()],
        "bytes": int(statistics["DicomUncompressedSize"]),
    }
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as web,
        web.post(f"{FORWARD_URL}{study.uri}/summary", json=summary) as answer,
    ):
        answer.raise_for_status()


@rest.get("/forward/status")
async def status(_request: rest.Request) -> dict[str, Any]:
    """Answer what has become of each study since the start of Orthanc."""
    studies = {
        study: {"state": state, "sent": attempt.progress.done, "files": attempt.progress.total}
        for study, (state, attempt) in progress.items()
    }
    return {"to": FORWARD_URL, "studies": studies}
