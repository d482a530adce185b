"""examples/worklist.py, with an appointment service and a modality."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.dicom_peers import SUCCESS, Client
from pydicom.dataset import Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import OrthancFactory

EXAMPLE = Path(__file__).absolute().parents[2] / "examples" / "worklist.py"


def appointment(number: int, modality: str) -> dict[str, Any]:
    """Return what the service knows of one appointment."""
    return {
        "patient": {"id": f"P{number}", "name": f"Jiří^{number}", "birth_date": "19800101"},
        "accession_number": f"A{number}",
        "procedure": "Head",
        "modality": modality,
        "station": "PEER",
        "start": "2026-11-24T09:30:00",
    }


class Service(BaseHTTPRequestHandler):
    """Answers with all appointments, without filtering; 503 if the patient is "down"."""

    def do_GET(self) -> None:
        """Answer."""
        body = json.dumps([appointment(1, "MR"), appointment(2, "CT"), appointment(3, "MR")])
        self.send_response(503 if "patient=down" in self.path else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Be quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    """Run the service; give its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_worklist_example(orthanc_server: OrthancFactory, service: str) -> None:
    """A modality gets its own appointments, and a failure when the service fails."""
    server = orthanc_server(
        EXAMPLE,
        dicom_port=0,
        errors=["raised", "C-FIND request handler has failed"],
        config={"DicomAlwaysAllowFindWorklist": True, "DefaultEncoding": "Utf8"},
        environment={"WORKLIST_URL": service},
    )
    assert server.dicom_port is not None
    client = Client(server.dicom_port)
    step = Dataset()
    step.Modality = "MR"
    step.ScheduledProcedureStepStartDate = ""
    wanted = {"PatientName": "", "AccessionNumber": "", "ScheduledProcedureStepSequence": [step]}
    status, items = client.find(worklist=True, PatientID="", **wanted)
    assert status == SUCCESS
    assert [str(item.PatientName) for item in items] == ["Jiří^1", "Jiří^3"]
    assert items[0].ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate == "20261124"
    assert client.find(worklist=True, PatientID="down", **wanted)[0] & 0xF000 == 0xC000
