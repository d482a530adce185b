"""The other side of forward_stable_studies.py: a web service that stores what it gets.

    python receiver.py --port 9000 --folder received

Each study becomes a folder with a file per instance and a summary.json.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from pathlib import Path

from aiohttp import web

MAX_BYTES = 2**30
FOLDER = web.AppKey("FOLDER", Path)
DELAY = web.AppKey("DELAY", float)
# What Orthanc's identifiers look like; nothing else becomes a file's name.
IDENTIFIER = re.compile(r"[0-9a-f-]{44}")

routes = web.RouteTableDef()


@routes.post("/studies/{study}/instances/{instance}")
async def receive_file(request: web.Request) -> web.Response:
    """Store one DICOM file."""
    await body_of(request)  # kept by aiohttp, also when the sender ends meanwhile
    await asyncio.sleep(request.app[DELAY])
    return await store(request, f"{identifier(request, 'instance')}.dcm")


@routes.post("/studies/{study}/summary")
async def receive_summary(request: web.Request) -> web.Response:
    """Store the summary, the last thing to come of a study."""
    return await store(request, "summary.json")


@routes.get("/studies")
async def studies(request: web.Request) -> web.Response:
    """List the studies that came whole, with the number of their files."""
    found = request.app[FOLDER].glob("*/summary.json")
    return web.json_response({f.parent.name: len(list(f.parent.glob("*.dcm"))) for f in found})


def identifier(request: web.Request, name: str) -> str:
    """Return an identifier of the path, or refuse it."""
    value = request.match_info[name]
    if not IDENTIFIER.fullmatch(value):
        raise web.HTTPBadRequest(text=f"{value!r} is no identifier of Orthanc\n")
    return value


async def body_of(request: web.Request) -> bytes:
    """Return the whole body; a sender that ends before that is no error of ours."""
    try:
        return await request.read()
    except ConnectionError:
        raise web.HTTPBadRequest(text="the body broke off\n") from None


async def store(request: web.Request, name: str) -> web.Response:
    """Write the body to a file that is there whole or not at all."""
    folder = request.app[FOLDER] / identifier(request, "study")
    body = await body_of(request)

    def write() -> None:
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.part"
        part.write_bytes(body)
        part.replace(folder / name)

    await asyncio.to_thread(write)
    return web.json_response({"stored": len(body)}, status=201)


async def serve(port: int, folder: Path, delay: float) -> None:
    """Serve on this machine until the task is cancelled."""
    app = web.Application(client_max_size=MAX_BYTES)
    app[FOLDER], app[DELAY] = folder, delay
    app.add_routes(routes)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    try:
        await site.start()
        port = runner.addresses[0][1]
        print(f"Receiver on http://127.0.0.1:{port} stores in {folder}", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> None:
    """Read the command line and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=9000, help="0: a free one")
    parser.add_argument("--folder", type=Path, default=Path("received"))
    parser.add_argument("--delay", type=float, default=0.0, help="seconds a file takes longer")
    options = parser.parse_args()
    try:
        asyncio.run(serve(options.port, options.folder.absolute(), options.delay))
    except KeyboardInterrupt:
        return
    except OSError as error:
        parser.exit(1, f"receiver: {os.strerror(error.errno or 0)}: port {options.port}\n")


if __name__ == "__main__":
    main()
