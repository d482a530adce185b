"""A web service that keeps every file it is sent: PORT FOLDER as arguments.

POST or PUT to any path keeps the body as FOLDER/<the path, with underscores>, and answers 200
only once the file is there under its name.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

from aiohttp import web


def main(port: int, folder: Path) -> None:
    """Serve until a signal."""

    async def keep(request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.Response(text="ready")
        unfinished = folder / f".{uuid.uuid4()}"
        with unfinished.open("wb") as file:
            async for chunk in request.content.iter_chunked(1 << 16):
                file.write(chunk)
        unfinished.rename(folder / request.path.strip("/").replace("/", "_"))
        return web.Response()

    app = web.Application(client_max_size=1 << 40)
    app.router.add_route("*", "/{path:.*}", keep)
    web.run_app(app, host="127.0.0.1", port=port, print=lambda *_: None, access_log=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
