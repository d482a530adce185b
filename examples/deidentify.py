"""Take the patient out of what arrives, and let in only whom a web service allows.

    AUTHORIZE_URL=http://127.0.0.1:9000/authorize orthanc-async run deidentify.py

Each instance is stored without the names listed below. When that fails, for whatever reason, it is
not stored at all, and its sender sees a failure. The service is asked for each HTTP request: GET
{AUTHORIZE_URL}?uri=…&method=…, with the client's Authorization header; status 200 allows. Its
answers are remembered for a minute.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import aiohttp
from orthanc_async import (
    Discard,
    FilteredRequest,
    ReceivedInstance,
    c_store_filter,
    http_filter,
    on_received_instance,
)

if TYPE_CHECKING:
    import orthanc
    from pydicom import Dataset

AUTHORIZE_URL = os.environ["AUTHORIZE_URL"]
NAMES = ("PatientName", "PatientBirthDate", "PatientAddress", "ReferringPhysicianName")
REMEMBERED = 60.0  # seconds
TIMEOUT = aiohttp.ClientTimeout(total=5)
NOT_AUTHORIZED = 0x0124

_allowed: dict[tuple[str, str, str], float] = {}


@c_store_filter
def known_sender(dicom: orthanc.DicomInstance) -> int | None:
    """Refuse senders whose name does not begin as ours do."""
    known = (dicom.GetInstanceRemoteAet() or "").startswith("HOSPITAL")
    return None if known else NOT_AUTHORIZED


@on_received_instance
def deidentify(instance: ReceivedInstance) -> Dataset | Discard:
    """Empty what names the patient. A `def`, because parsing takes time that the loop needs."""
    dataset = instance.dataset()
    if dataset.Modality == "SR":
        return Discard()  # reports name the patient in their text
    for name in NAMES:
        if name in dataset:
            setattr(dataset, name, "")
    return dataset


@http_filter(timeout=10)
async def authorize(request: FilteredRequest) -> bool:
    """Ask the service; while it thinks, other requests go on."""
    token = request.headers.get("Authorization", "")
    key = (token, request.method, request.uri)
    if _allowed.get(key, 0.0) > time.monotonic():
        return True
    async with (
        aiohttp.ClientSession(timeout=TIMEOUT) as web,
        web.get(
            AUTHORIZE_URL,
            params={"uri": request.uri, "method": request.method},
            headers={"Authorization": token},
        ) as answer,
    ):
        if answer.status == 200:
            _allowed[key] = time.monotonic() + REMEMBERED
        return answer.status == 200
