"""The web page at `/async/app/`, as files of this folder, and the way to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from orthanc_async import _explorer, _registry, rest

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER = Path(__file__).parent
_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "api.js": "text/javascript; charset=utf-8",
    "format.js": "text/javascript; charset=utf-8",
    "views.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "vendor/htm-preact.js": "text/javascript; charset=utf-8",
}
_HEADERS: Mapping[str, str] = {
    # Nothing from another server, no script or style inside the page, in no other site's frame.
    "Content-Security-Policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_cache: dict[str, bytes] = {}


@_registry.on_clear
def _clear() -> None:
    _cache.clear()  # at a reset, an upgrade may have replaced the files


def register() -> None:
    """Declare the page's routes, and put a way to it into Orthanc Explorer."""
    rest.get("/async/app")(_to_index)
    rest.get("/async/app/app/index.html")(_to_index_above)
    rest.get("/async/app/{file:path}")(_file)
    script = (_FOLDER / "explorer.js").read_text("utf-8")
    _explorer.extend("durable", script)


# Orthanc hands over "/async/app/" without its last slash, so relative addresses in the page
# could mean two things. Absolute ones would miss the prefix that a proxy may have: hence a page
# whose address has no such slash, and relative redirections to it from both.


async def _to_index(_request: rest.Request) -> rest.Response:
    return rest.Response(status=302, headers={"Location": "app/index.html"})


async def _to_index_above(_request: rest.Request) -> rest.Response:
    # What the browser makes of the above when it comes from "/async/app/".
    return rest.Response(status=302, headers={"Location": "../index.html"})


async def _file(request: rest.Request) -> rest.Response:
    name = request.path["file"]
    media_type = _TYPES.get(name)
    if media_type is None:
        raise rest.HTTPError(404, "the page has no such file")
    body = _cache.get(name)
    if body is None:
        body = _cache[name] = await asyncio.to_thread((_FOLDER / name).read_bytes)
    return rest.Response(body, media_type=media_type, headers=_HEADERS)
