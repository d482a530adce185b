"""A worklist server: modalities ask Orthanc, which asks the appointment service by HTTP.

    WORKLIST_URL=http://127.0.0.1:9000 orthanc-async run worklist.py

The service answers GET {WORKLIST_URL}/appointments?modality=MR&date=20261124&patient=… with a JSON
list of {"patient": {"id", "name", "birth_date", "sex"}, "accession_number", "procedure",
"modality", "station", "start"}, the last one as in "2026-11-24T09:30:00". It may leave filters
out: Orthanc sends only what matches the query. When the service cannot be reached or refuses, the
modality sees a failure, not an empty list. Names go out in Orthanc's "DefaultEncoding": set it to
"Utf8" if they have characters beyond Latin1.
"""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING, Any

import aiohttp
from orthanc_async import dicom

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

WORKLIST_URL = os.environ["WORKLIST_URL"].rstrip("/")
TIMEOUT = aiohttp.ClientTimeout(total=10)


@dicom.worklist(timeout=15)
async def worklist(query: dicom.WorklistQuery) -> AsyncIterator[dicom.Answer]:
    """Fetch the appointments, and answer with one item for each."""
    steps = query.tags.get("ScheduledProcedureStepSequence") or [{}]
    wanted = {
        "modality": steps[0].get("Modality", ""),
        "date": steps[0].get("ScheduledProcedureStepStartDate", ""),
        "patient": query.tags.get("PatientID", ""),
    }
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT, raise_for_status=True) as web,
        web.get(f"{WORKLIST_URL}/appointments", params=wanted) as answer,
    ):
        appointments = await answer.json()
    for appointment in appointments:
        yield item(appointment)


def item(appointment: dict[str, Any]) -> dict[str, Any]:
    """Make the worklist item of an appointment."""
    patient = appointment["patient"]
    start = datetime.datetime.fromisoformat(appointment["start"])
    return {
        "PatientID": patient["id"],
        "PatientName": patient["name"],
        "PatientBirthDate": patient.get("birth_date"),
        "PatientSex": patient.get("sex"),
        "AccessionNumber": appointment["accession_number"],
        "RequestedProcedureDescription": appointment["procedure"],
        "ScheduledProcedureStepSequence": [
            {
                "Modality": appointment["modality"],
                "ScheduledStationAETitle": appointment["station"],
                "ScheduledProcedureStepStartDate": f"{start:%Y%m%d}",
                "ScheduledProcedureStepStartTime": f"{start:%H%M%S}",
                "ScheduledProcedureStepDescription": appointment["procedure"],
            }
        ],
    }
