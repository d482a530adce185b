"""Two WebDAV folders in memory: one by the SDK's function with `def`s, one by the decorator."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orthanc
from orthanc_async import rest, webdav

Path = tuple[str, ...]
tree: dict[Path, bytes | None] = {(): None, ("a",): None, ("a", "é x.txt"): b"hello"}
mode: dict[str, str] = {}
TIME = datetime(2024, 1, 31, 23, 59, 58, tzinfo=timezone(timedelta(hours=-2)))
SAME = "20240201T015958"


def children(path: Path) -> dict[str, bytes | None] | None:
    if tree.get(path, b"") is not None:
        return None
    return {name[-1]: content for name, content in tree.items() if name and name[:-1] == path}


def is_folder(path: list[str]) -> bool:
    return tree.get(tuple(path), b"") is None


def list_folder(path: list[str]) -> Any:
    if mode.get("plain") == "time":
        return [("a", "yesterday")]
    if mode.get("plain") == "raise":
        raise OSError("broken")
    found = children(tuple(path))
    if found is None:
        return None
    return [
        (name, SAME) if content is None else (name, len(content), "", SAME)
        for name, content in found.items()
    ]


def retrieve(path: list[str]) -> Any:
    content = tree.get(tuple(path))
    if mode.get("plain") == "str":
        return ("text", "", SAME)
    return None if content is None else (memoryview(content), "text/plain", SAME)


def store(path: list[str], content: bytes) -> bool:
    if path[-1].startswith("no"):
        return False
    tree[tuple(path)] = content
    return True


def create(path: list[str]) -> bool:
    tree[tuple(path)] = None
    return True


def remove(path: list[str]) -> Any:
    if mode.get("plain") == "none":
        return None
    del tree[tuple(path)]
    return True


orthanc.RegisterWebDavCollection(
    "/dav/plain", is_folder, list_folder, retrieve, store, create, remove
)
orthanc.RegisterWebDavCollection("/read-only", is_folder, list_folder, retrieve, None, None, None)


@webdav.collection("/dav/class", timeout=1)
class Tree:
    """The same with coroutines."""

    async def list(self, path: Path) -> Any:
        await asyncio.sleep(0)
        if mode.get("class") == "nonsense":
            return ["a name"]
        found = children(path)
        if found is None:
            return None
        return [
            webdav.Folder(name, TIME)
            if content is None
            else webdav.File(name, len(content), "text/plain", TIME)
            for name, content in found.items()
        ]

    async def read(self, path: Path) -> Any:
        if mode.get("class") == "slow":
            await asyncio.sleep(3600)
        if mode.get("class") == "raise":
            raise OSError("broken")
        content = tree.get(path)
        return None if content is None else webdav.Content(content, "text/plain", TIME)

    async def write(self, path: Path, data: bytes) -> Any:
        if path[-1].startswith("no"):
            return False
        tree[path] = data
        return None

    async def create_folder(self, path: Path) -> None:
        tree[path] = None

    async def delete(self, path: Path) -> None:
        del tree[path]


assert datetime.now(UTC) > TIME


@rest.post("/mode")
async def set_mode(request: rest.Request) -> None:
    mode.clear()
    mode.update(request.json())


@rest.get("/late")
def late(_request: rest.Request) -> str:
    try:
        orthanc.RegisterWebDavCollection(
            "/later", is_folder, list_folder, retrieve, None, None, None
        )
    except RuntimeError as error:
        return str(error)
    return "registered"
