"""A large study is never in memory."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
from integration.forward_receiver import Receiver
from pydicom.uid import UID

SIZE = 500_000
MOST = 64 * 2**20
SCRIPT = """
import os

from orthanc_async import Study, forward, rest

targets = {
    "dicomweb": forward.to_dicomweb(os.environ["TARGET"]),
    "files": forward.to_http(os.environ["TARGET"]),
}


@rest.post("/send/{target}/{study}")
async def send(request):
    await targets[request.path["target"]](Study(request.path["study"]))
    return {}
"""


def memory(pid: int, name: str) -> int:
    """Return a line of the process's status, in bytes."""
    found = re.search(rf"{name}:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    assert found
    return int(found[1]) * 1024


def upload(server: Any, count: int) -> str:
    """Store a study of so many instances; return its identifier."""
    data = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small.dcm") or "")
    data.Rows, data.Columns = SIZE // 1000, 500
    data.PixelData = bytes(range(250)) * (SIZE // 250)
    for number in range(count):
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = UID(
            f"1.2.3.{number + 1}"
        )
        data.InstanceNumber = number
        buffer = io.BytesIO()
        data.save_as(buffer)
        server.upload(buffer.getvalue())
    (study,) = server.http.get("/studies").json()
    return str(study)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", ["dicomweb", "files"])
def test_memory_stays_flat(orthanc_server: Any, target: str) -> None:
    """A study of 1 GB takes less than 64 MB more memory."""
    with Receiver() as receiver:
        receiver.keep = False
        server = orthanc_server(
            SCRIPT, environment={"TARGET": receiver.url}, config={"StableAge": 9999}
        )
        study = upload(server, 2000)
        before = memory(server.pid, "VmRSS")
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak counts from here
        assert server.http.post(f"/send/{target}/{study}", timeout=500).status == 200
        assert receiver.bytes > 2000 * SIZE
        more = memory(server.pid, "VmHWM") - before
        assert more < MOST, f"{more / 2**20:.0f} MB"
