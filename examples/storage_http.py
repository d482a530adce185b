"""Keep Orthanc's files in an object store: a web service where PUT, GET and DELETE of a path work.

    STORE_URL=http://127.0.0.1:9000/orthanc orthanc-async run storage_http.py

object_store.py is such a service to try it with. Reads ask for a range, so that Orthanc gets the
header of a large file without its pixels. What the service refuses is refused to the sender; an
answer that was lost is asked for again, as PUT, GET and DELETE may be repeated.
"""

from __future__ import annotations

import asyncio
import os

import aiohttp
import orthanc
from orthanc_async import on_shutdown, storage

STORE_URL = os.environ.get("STORE_URL", "http://127.0.0.1:9000/orthanc").rstrip("/")
ATTEMPTS = 3
# Less than the time that Orthanc waits for a method: 30 s.
TIMEOUT = aiohttp.ClientTimeout(total=9)


@storage.area
class ObjectStore:
    """One object for each file, named by its UUID."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        on_shutdown(self.close)

    async def create(self, uuid: str, content_type: orthanc.ContentType, data: bytes) -> None:
        """Store a file."""
        is_dicom = content_type == orthanc.ContentType.DICOM
        media_type = "application/dicom" if is_dicom else "application/octet-stream"
        await self._request("PUT", uuid, data=data, headers={"Content-Type": media_type})

    async def read(self, uuid: str, _content_type: orthanc.ContentType) -> bytes:
        """Return a whole file."""
        return await self._request("GET", uuid)

    async def read_range(
        self, uuid: str, _content_type: orthanc.ContentType, start: int, size: int
    ) -> bytes:
        """Return a part of a file."""
        headers = {"Range": f"bytes={start}-{start + size - 1}"}
        return await self._request("GET", uuid, headers=headers)

    async def remove(self, uuid: str, _content_type: orthanc.ContentType) -> None:
        """Delete a file."""
        await self._request("DELETE", uuid)

    async def close(self) -> None:
        """Close the connections when Orthanc stops."""
        if self._session is not None:
            await self._session.close()

    async def _request(
        self,
        method: str,
        uuid: str,
        *,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        # Orthanc may ask before on_startup, and after on_shutdown: a session is made when needed.
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT, raise_for_status=True)
        url = f"{STORE_URL}/{uuid}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._session.request(
                    method, url, data=data, headers=headers
                ) as answer:
                    return await answer.read()
            except aiohttp.ClientResponseError as error:
                if error.status < 500 or attempt == ATTEMPTS:
                    raise
            except (aiohttp.ClientConnectionError, TimeoutError):
                if attempt == ATTEMPTS:
                    raise
            await asyncio.sleep(0.1 * attempt)
        raise AssertionError
