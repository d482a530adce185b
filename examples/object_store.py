"""A small object store to try storage_http.py with: each path is a file in a folder.

    python object_store.py --port 9000 --folder objects

PUT stores, GET returns (a range too), DELETE removes. A real one has keys and copies.
"""

from __future__ import annotations

import argparse
import asyncio
import os
from pathlib import Path

from aiohttp import web

FOLDER = web.AppKey("folder", Path)


def file_of(request: web.Request) -> Path:
    """Return the file of an object."""
    return request.app[FOLDER] / request.match_info["bucket"] / request.match_info["key"]


async def put(request: web.Request) -> web.Response:
    """Store an object: whole or not at all."""
    file = file_of(request)
    part = file.with_suffix(".part")
    data = await request.read()

    def write() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(file)

    await asyncio.to_thread(write)
    return web.Response(status=201)


async def get(request: web.Request) -> web.StreamResponse:
    """Return an object, or the part that the header Range asks for."""
    file = file_of(request)
    if not file.is_file():
        raise web.HTTPNotFound
    return web.FileResponse(file)


async def delete(request: web.Request) -> web.Response:
    """Remove an object. One that is not there is no error: the request may be a repeated one."""
    file_of(request).unlink(missing_ok=True)
    return web.Response(status=204)


async def serve(port: int, folder: Path) -> None:
    """Serve on this machine until the task is cancelled."""
    app = web.Application(client_max_size=0)  # no limit
    app[FOLDER] = folder
    path = "/{bucket:[\\w-]+}/{key:[\\w-]+}"
    app.add_routes([web.put(path, put), web.get(path, get), web.delete(path, delete)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
        port = runner.addresses[0][1]
        print(f"Object store on http://127.0.0.1:{port} in {folder}", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the command line and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=9000, help="0: a free one")
    parser.add_argument("--folder", type=Path, default=Path("objects"))
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.port, options.folder.absolute()))
    except KeyboardInterrupt:
        return
    except OSError as error:
        parser.exit(1, f"object store: {os.strerror(error.errno or 0)}: port {options.port}\n")


if __name__ == "__main__":
    main()
