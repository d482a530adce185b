# ruff: noqa: D102 - what the fake one does is said by Orthanc
"""An Orthanc that a test makes up, for the reader of /changes and the sweep."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import orthanc
import orthanc_async as oa
from orthanc_async._durable import reader
from orthanc_async._durable.engine import Engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest
    from unit.durable.memory_store import MemoryStore


class FakeOrthanc:
    """Changes and studies; times are seconds of one hour."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self.studies: dict[str, dict[str, Any]] = {}
        self.now = 0
        self.last: int | None = None
        self.backend: str | None = None
        self.asked: list[str] = []

    @classmethod
    def put(cls, patch: pytest.MonkeyPatch) -> FakeOrthanc:
        fake = cls()
        patch.setattr(orthanc, "rest_api_get", fake.rest_api_get)
        patch.setattr(orthanc, "GetConfiguration", lambda: '{"StableAge": 10}')
        patch.setattr(orthanc, "RegisterOnChangeCallback", lambda _: None)
        patch.setattr(reader, "SETTLE", 0.0)
        # Its times do not go on by themselves: what is there was there a second before the start.
        patch.setattr(reader, "elapsed", lambda: -1)
        return fake

    def text(self, seconds: int) -> str:
        return (dt.datetime(2026, 3, 29, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)).strftime(
            "%Y%m%dT%H%M%S"
        )

    def change(self, type_: str, id_: str, *, seq: int | None = None) -> int:
        level = "Instance" if type_.endswith("Instance") else "Study"
        seq = seq or max((item["Seq"] for item in self.changes), default=0) + 1
        folder = {"Instance": "instances", "Study": "studies"}[level]
        self.changes.append(
            {
                "ChangeType": type_, "ResourceType": level, "ID": id_, "Seq": seq,
                "Date": self.text(self.now), "Path": f"/{folder}/{id_}",
            }
        )  # fmt: skip
        self.changes.sort(key=lambda item: item["Seq"])
        return seq

    def study(self, id_: str, *, stable: bool = True) -> None:
        self.studies[id_] = {
            "ID": id_, "LastUpdate": self.text(self.now), "IsStable": stable,
        }  # fmt: skip

    async def rest_api_get(self, uri: str) -> bytes:
        self.asked.append(uri)
        await asyncio.sleep(0)
        parts = urlsplit(uri)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return json.dumps(self.answer(parts.path, parts.query, query)).encode().strip(b'"')

    def answer(self, path: str, whole: str, query: dict[str, str]) -> Any:
        if path == "/system":
            return {"DatabaseBackendPlugin": self.backend}
        if path == "/tools/now":
            return self.text(self.now)
        if path == "/changes":
            return self.page(whole, query)
        if path == "/studies":
            start = int(query["since"])
            return list(self.studies.values())[start : start + int(query["limit"])]
        id_ = path.rpartition("/")[2]
        if id_ not in self.studies:
            raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_RESOURCE, "Unknown resource")
        return self.studies[id_]

    def page(self, whole: str, query: dict[str, str]) -> dict[str, Any]:
        if whole == "last":
            found, done = self.changes[-1:], True
        else:
            after = [item for item in self.changes if item["Seq"] > int(query["since"])]
            found = after[: int(query["limit"])]
            done = len(found) == len(after)
        top = max((item["Seq"] for item in self.changes), default=0)
        last = found[-1]["Seq"] if found else self.last or top
        return {"Changes": found, "Done": done, "Last": last}


@contextlib.asynccontextmanager
async def running(store: MemoryStore) -> AsyncIterator[Engine]:
    engine = Engine(lambda: store)
    await engine.start()
    try:
        await until(lambda: reader._readers and all(r._positions for r in reader._readers))
        yield engine
    finally:
        await engine.stop(asyncio.get_running_loop().time() + 5)
        await engine.close()


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def caught_up(store: MemoryStore, fake: FakeOrthanc) -> None:
    top = max((item["Seq"] for item in fake.changes), default=0)
    reader.wake()
    await until(lambda: all(known.cursor >= top for known in store.known.values()))


def subscribe_instances(**options: Any) -> list[str]:
    got: list[str] = []

    @oa.on_new_instance(durable="instances", **options)
    async def handler(instance: oa.Instance) -> None:
        got.append(instance.id)

    return got


def subscribe_studies(**options: Any) -> list[str]:
    got: list[str] = []

    @oa.on_stable_study(durable="studies", **options)
    async def handler(study: oa.Study) -> None:
        got.append(study.id)

    return got


def keys(store: MemoryStore) -> list[str]:
    return [row.key for row in store.rows.values()]
