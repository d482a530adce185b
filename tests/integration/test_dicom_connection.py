"""The forms that give the connection, where the header has them (Orthanc 1.12.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.conftest import needs
from integration.dicom_peers import AET, SUCCESS, Client, Receiver

if TYPE_CHECKING:
    from integration.conftest import OrthancFactory

pytestmark = needs("1.12.10")

SCRIPT = """
    import json
    import orthanc

    seen = []
    kept = []

    def note(what, connection):
        kept.append(connection)
        seen.append([
            what,
            connection.GetConnectionRemoteAet(),
            connection.GetConnectionCalledAet(),
            connection.GetConnectionRemoteIp(),
        ])

    async def find(answers, query, connection):
        note("find", connection)

    def worklist(answers, query, connection):
        note("worklist", connection)

    async def create(connection, **request):
        note("move", connection)
        return sorted(request)

    def factory(job, transaction, classes, instances, connection):
        note("commitment", connection)

    orthanc.RegisterFindCallback2(find)
    orthanc.RegisterWorklistCallback2(worklist)
    orthanc.RegisterMoveCallback3(create, len, lambda move: None, seen.append)
    orthanc.RegisterStorageCommitmentScpCallback2(
        factory, lambda *instance: orthanc.StorageCommitmentFailureReason.SUCCESS
    )

    def show(output, uri, **request):
        try:
            kept[-1].GetConnectionRemoteAet()
        except RuntimeError as error:
            seen.append("the call it belongs to has ended" in str(error))
        output.AnswerBuffer(json.dumps(seen), "application/json")

    orthanc.RegisterRestCallback("/seen", show)
"""


def test_connections(orthanc_server: OrthancFactory) -> None:
    """Each handler gets the connection instead of titles, for the time of its call."""
    with Receiver() as receiver:
        config = {"DicomModalities": {"peer": receiver.modality}}
        server = orthanc_server(SCRIPT, dicom_port=0, config=config)
        assert server.dicom_port is not None
        client = Client(server.dicom_port)
        assert client.find(PatientID="x") == (SUCCESS, [])
        assert client.find(worklist=True, PatientID="x") == (SUCCESS, [])
        assert client.move(AET, PatientID="x").status == SUCCESS
        assert client.commit("2.25.1", ["1.2.3"]) == SUCCESS
        assert receiver.report("2.25.1") == {"1.2.3": 0}
        peer = [AET, "ORTHANC", "127.0.0.1"]
        fields = [
            *("AccessionNumber", "Level", "OriginatorID", "PatientID", "SOPInstanceUID"),
            *("SeriesInstanceUID", "StudyInstanceUID", "TargetAET"),
        ]
        assert server.http.get("/seen").json() == [
            ["find", *peer],
            ["worklist", *peer],
            ["move", *peer],
            fields,
            ["commitment", *peer],
            True,
        ]
