"""Scripts that work by themselves: routing, clocks, processes, stores; on both plugins."""

from __future__ import annotations

import io
import venv
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.data
import pydicom.uid
import pytest
from waiting import wait_until

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("automation_script.py")
# The environment with the script's bigger packages: the one that runs these tests.
PACKAGES = str(Path(pydicom.__file__).parents[1])
REST_API, DICOM = 3, 1  # values of InstanceOrigin


def dicom(patient: str) -> bytes:
    """Give a CT image of pydicom's with another patient and identifiers."""
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("CT_small.dcm") or "")
    dataset.PatientID = dataset.PatientName = patient
    for level in ("Study", "Series", "SOP"):
        identifier = pydicom.uid.generate_uid(entropy_srcs=[level, patient])
        setattr(dataset, f"{level}InstanceUID", identifier)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


@pytest.fixture(scope="module")
def archive(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc without scripts that others send to."""
    return shared_orthanc(
        plugins=[],
        dicom_port=0,
        config={"DicomAet": "ARCHIVE", "DicomAlwaysAllowStore": True},
    )


@pytest.fixture(scope="module")
def pair(
    ours: Starter,
    official: Starter,
    known: KnownFailures,
    archive: Orthanc,
    tmp_path_factory: pytest.TempPathFactory,
) -> Pair:
    """Both plugins with the same script, a virtual environment, and the archive as peer."""
    root = tmp_path_factory.mktemp("environment")
    venv.create(root, symlinks=True, with_pip=False)
    [packages] = root.glob("lib/python3*/site-packages")
    (packages / "more").mkdir()
    (packages / "more.pth").write_text("more\n")
    (packages / "more" / "only_in_the_environment.py").write_text("ANSWER = 42\n")
    settings: dict[str, Any] = {
        "environment": {
            "ENVIRONMENT_OF_THE_SCRIPT": str(packages),
            "PACKAGES_OF_THE_SCRIPT": PACKAGES,
        },
        "config": {
            "StableAge": 1,
            "OrthancPeers": {"second": [f"{archive.url}/"]},
            "DicomModalities": {"archive": ["ARCHIVE", "127.0.0.1", archive.dicom_port]},
            "SynchronousCMove": True,
        },
    }
    text = SCRIPT.read_text("utf-8")
    return ours(text, **settings), official(known.with_fork(text), **settings)


def test_environment(pair: Pair) -> None:
    """A script reaches the packages of its virtual environment, .pth files counted."""
    for server in pair:
        state = server.http.get("/state").json()
        assert (state["environment"], state["its file"]) == (42, "only_in_the_environment.py")


def test_new_instance(pair: Pair) -> None:
    """What the script notes of a new instance, by Orthanc and by pydicom, is the same."""
    found = []
    for server in pair:
        instance = server.upload(dicom("plain"))["ID"]
        note = server.http.get(f"/instances/{instance}/metadata/1200").text
        found.append((note, server.http.get("/state").json()["seen"][instance]))
    assert found[0] == found[1]
    note, seen = found[0]
    assert (note, seen["agree"], seen["modality"]) == ("plain CT", True, "CT")


def test_pydicom(pair: Pair) -> None:
    """A file changed by pydicom is stored as another instance, with the handler called inside."""
    found = []
    for server in pair:
        original = server.upload(dicom("original"))["ID"]
        changed = server.http.get(f"/anonymised/{original}").json()
        tags = server.http.get(f"/instances/{changed['ID']}/simplified-tags").json()
        seen = server.http.get("/state").json()["seen"]
        found.append((changed["ID"], changed["Status"], tags["PatientName"], seen[changed["ID"]]))
        assert changed["ID"] != original
    assert found[0] == found[1]
    assert found[0][1:3] == ("Success", "Nobody")


def test_process_pool(pair: Pair) -> None:
    """A pool made at import computes for a route."""
    mine, other = (
        server.http.get(f"/summary/{server.upload(dicom('plain'))['ID']}").json()
        for server in pair
    )
    assert mine == other
    assert mine["elsewhere"]
    assert mine["shape"] == [128, 128]
    assert mine["least"] < mine["most"]


def received(archive: Orthanc, patient: str) -> list[str]:
    """Give the studies of a patient that the archive has, and empty it."""
    found: list[str] = [
        study["ID"]
        for study in archive.http.get("/studies?expand").json()
        if study["PatientMainDicomTags"]["PatientID"] == patient
    ]
    for study in found:
        archive.http.delete(f"/studies/{study}")
    return found


def test_route_at_once(pair: Pair, archive: Orthanc) -> None:
    """The handler of new instances sends one by C-STORE while its sender still waits."""
    for server in pair:
        stored = server.upload(dicom("route me at once"))
        assert ["instance", stored["ID"]] in server.http.get("/state").json()["routed"]
        assert received(archive, "route me at once") == [stored["ParentStudy"]]


@pytest.mark.parametrize(
    ("patient", "where"), [("route to the peer", "peer"), ("route to the archive", "modality")]
)
def test_route_when_stable(pair: Pair, archive: Orthanc, patient: str, where: str) -> None:
    """A study that is complete is sent on, by C-STORE or to a peer, and those of others stay."""

    def routed(server: Orthanc, study: str) -> list[list[Any]]:
        state = server.http.get("/state").json()
        return [line for line in state["routed"] if line[1] == study]

    for server in pair:
        server.upload(dicom("stays here"))
        study = server.upload(dicom(patient))["ParentStudy"]
        found = wait_until(partial(routed, server, study), "a stable study to be sent")
        assert found == [["study", study, where, 1]]
        assert received(archive, patient) == [study]
        assert received(archive, "stays here") == []


def test_periodic(pair: Pair) -> None:
    """A timer started in ORTHANC_STARTED looks at Orthanc again and again."""

    def ticks(server: Orthanc, least: int, count: int) -> bool:
        turns, last = server.http.get("/state").json()["ticks"]
        return bool(turns >= least and last == [count])

    for server in pair:
        server.upload(dicom("counted"))
        count = server.http.get("/statistics").json()["CountInstances"]
        turns, _ = server.http.get("/state").json()["ticks"]
        wait_until(partial(ticks, server, turns + 3, count), "the clock to tick")


def test_stores(pair: Pair) -> None:
    """Key-value stores and queues give the same values, where SDK and Orthanc have them."""
    mine, other = (server.http.get("/keep") for server in pair)
    assert (mine.status, other.status) == (200, 200), mine.text
    if other.json()["there"]:
        assert mine.json() == other.json()
        assert mine.json()["pairs"] == [["a", ["bytes", "b'again'"]]]
        assert mine.json()["size"] == 3


def test_stable_status(pair: Pair) -> None:
    """A study is declared stable by a route, where SDK and Orthanc have that.

    The result is a pair: the code of no error, and whether the status has changed.
    """
    found = []
    for server in pair:
        study = server.upload(dicom("declared"))["ParentStudy"]
        found.append(server.http.get(f"/settle/{study}"))
    assert [answer.status for answer in found] == [200, 200], found[0].text
    mine, other = (answer.json() for answer in found)
    if mine["there"]:
        assert mine["changed"] == [[0, 1], [0, 0]]
    if other["there"]:
        assert mine["changed"] == other["changed"]


def test_clock_stops(pair: Pair) -> None:
    """The timer is cancelled in ORTHANC_STOPPED; neither it nor the pool holds Orthanc up."""
    for server in pair:
        server.stop()
        assert "the clock has stopped" in server.log_text()
        wait_until(server.processes, "the end of the pool", done=lambda left: not left)
