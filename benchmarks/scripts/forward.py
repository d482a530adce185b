"""What orthanc-async runs for the row `forward`: one delivery, timed inside the server."""

from __future__ import annotations

import time
from typing import Any

from orthanc_async import Study, forward, rest


@rest.post("/bench/forward")
async def send(request: rest.Request) -> dict[str, Any]:
    """Send a study to a URL."""
    asked = request.json()
    destination = forward.to_dicomweb(asked["url"])
    start = time.monotonic()
    await destination(Study(asked["study"]))
    return {"seconds": time.monotonic() - start}
