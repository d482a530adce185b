"""An Orthanc of dictionaries, web servers in the test's loop, and attempts that are recorded."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import orthanc
from aiohttp import web
from orthanc_async import Study
from orthanc_async._durable import attempt as attempts

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

    import pytest

STUDY = "11111111-study"


def gone(path: str) -> orthanc.OrthancException:
    """Make the error of a resource that is not there."""
    return orthanc.OrthancException(int(orthanc.ErrorCode.UNKNOWN_RESOURCE), path)


class FakeOrthanc:
    """One study; its instances are added by `add`.

    Attributes:
        asked: The paths of all GETs, in order.
        reading: How many files are in memory that were read and not let go (by the reader).
        posts: What POSTs are answered by: a function of path and parsed body.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.files: dict[str, bytes] = {}
        self.listed: dict[str, dict[str, Any]] = {}
        self.series: dict[str, dict[str, str]] = {}
        self.more: dict[str, Any] = {}
        self.asked: list[str] = []
        self.post: Callable[[str, Any], Any] = lambda path, _body: gone(path)
        self.before_file: Callable[[str], Awaitable[None]] | None = None
        patch.setattr(orthanc, "rest_api_get", self._get)
        patch.setattr(orthanc, "get_dicom_for_instance", self._file)
        patch.setattr(orthanc, "without_copy", lambda function, *given: function(*given))
        patch.setattr(orthanc, "rest_api_post", self._post)

    def add(
        self, name: str, data: bytes, *, series: str = "a", number: int = 1, **tags: str
    ) -> None:
        """Add an instance, or overwrite it."""
        identifier = f"instance-{name}"
        known = self.listed.get(identifier)
        version = 1 + int(known["FileUuid"]) if known else 1
        self.files[identifier] = data
        self.series.setdefault(f"series-{series}-0123456789", {"Modality": "CT", **tags})
        self.listed[identifier] = {
            "ID": identifier,
            "ParentSeries": f"series-{series}-0123456789",
            "MainDicomTags": {"SOPInstanceUID": f"1.2.{name}", "InstanceNumber": str(number)},
            "FileSize": len(data),
            "FileUuid": str(version),
        }

    def remove(self, name: str) -> None:
        """Delete an instance."""
        del self.files[f"instance-{name}"], self.listed[f"instance-{name}"]

    @property
    def study(self) -> Study:
        """The study."""
        return Study(STUDY)

    async def _get(self, path: str) -> bytes:
        self.asked.append(path)
        await asyncio.sleep(0)
        parts = path.partition("?")[0].split("/")[1:]
        if path in self.more:
            return json.dumps(self.more[path]).encode()
        if parts == ["studies", STUDY, "instances"]:
            return json.dumps(list(self.listed.values())[::-1]).encode()
        if parts == ["studies", STUDY]:
            return json.dumps(
                {
                    "ID": STUDY,
                    "ParentPatient": "the-patient",
                    "LastUpdate": "20260101T000000",
                    "MainDicomTags": {"StudyInstanceUID": "1.2.3"},
                    "PatientMainDicomTags": {"PatientID": "P/1", "PatientName": "Doe^Jane"},
                }
            ).encode()
        if parts[0] == "patients":
            return json.dumps({"ID": parts[1], "MainDicomTags": {"PatientID": "P/1"}}).encode()
        if parts[0] == "series" and parts[1] in self.series:
            tags = {"SeriesInstanceUID": f"1.2.{parts[1]}", **self.series[parts[1]]}
            return json.dumps(
                {"ID": parts[1], "ParentStudy": STUDY, "MainDicomTags": tags}
            ).encode()
        raise gone(path)

    async def _file(self, identifier: str) -> bytes:
        self.asked.append(f"/instances/{identifier}/file")
        await asyncio.sleep(0)
        if self.before_file is not None:
            await self.before_file(identifier)
        if identifier not in self.files:
            raise gone(identifier)
        return self.files[identifier]

    async def _post(self, path: str, body: bytes) -> bytes:
        await asyncio.sleep(0)
        answer = self.post(path, json.loads(body or b"null"))
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def study_of_four(patch: pytest.MonkeyPatch) -> FakeOrthanc:
    """Make an Orthanc with a study of four instances of 300 kB in two series."""
    fake = FakeOrthanc(patch)
    for number, (name, series) in enumerate((("1", "a"), ("2", "a"), ("3", "b"), ("4", "b"))):
        fake.add(name, bytes([number]) * 300_000, series=series, number=number)
    return fake


@contextlib.asynccontextmanager
async def served(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Serve one handler for all paths; give the URL."""
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


class Attempts:
    """Calls a destination as the engine does: what an attempt has kept, the next one gets.

    Attributes:
        resume: As JSON has it between two attempts.
        saved: What was written with `save`.
        progress: Of the last attempt.
    """

    def __init__(self, key: str = "Study/1/2026", payload: Any = None) -> None:
        self.resume: Any = None
        self.saved: list[Any] = []
        self.number = 0
        self.progress: Any = None
        self._key = key
        self._payload = payload

    async def run(self, call: Callable[[], Awaitable[None]]) -> None:
        """Run one attempt."""
        self.number += 1

        async def save(resume: Any, _progress: Any) -> None:
            self.saved.append(json.loads(json.dumps(resume)))

        attempt = attempts.Attempt(
            id=1,
            queue="archive",
            key=self._key,
            number=self.number,
            resume=self.resume,
            save=save,
            payload=self._payload,
        )
        token = attempts._current.set(attempt)
        try:
            await call()
        finally:
            attempts._current.reset(token)
            self.resume = json.loads(json.dumps(attempt.resume))
            self.progress = attempt.progress
