"""A storage area in the official plugin's style, on our plugin and on the official one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from compatibility.conftest import OFFICIAL, needs_official

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("storage_area_script.py")


@pytest.fixture(scope="module")
def pair(
    shared_orthanc: OrthancFactory, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Orthanc, Orthanc]:
    """Both plugins with the same script; ours first."""
    needs_official()

    def start(plugins: list[Path] | None) -> Orthanc:
        folder = tmp_path_factory.mktemp("area")
        (folder / "my-script.py").write_text(SCRIPT.read_text("utf-8"), "utf-8")
        return shared_orthanc(
            errors=["."],
            exit_code=None if plugins else 0,
            cwd=folder,
            plugins=plugins,
            config={"PythonScript": "my-script.py", "MaximumStorageCacheSize": 0},
        )

    return start(None), start([OFFICIAL])


def test_second_registration(pair: tuple[Orthanc, Orthanc]) -> None:
    """Another registration in the script raises RuntimeError on both."""
    assert [server.http.get("/twice").text for server in pair] == ["refused"] * 2


@pytest.mark.parametrize(
    "mode",
    ["create/usual", "create/raise", "read/raise", "read/str", "read/none", "remove/raise"],
)
def test_a_file_of_its_life(pair: tuple[Orthanc, Orthanc], dicom_file: Path, mode: str) -> None:
    """Storing, reading and deleting give the same statuses, calls and files."""
    seen = []
    for server in pair:
        assert server.http.get(f"/mode/{mode}").text == "ok"
        stored = server.http.post("/instances", dicom_file.read_bytes())
        found = server.http.get("/instances").json()
        statuses = [stored.status, len(found)]
        for instance in found:
            answer = server.http.get(f"/instances/{instance}/file")
            statuses += [answer.status, answer.body == dicom_file.read_bytes()]
            statuses.append(server.http.delete(f"/instances/{instance}").status)
        look = server.http.get("/look").text
        server.http.get(f"/mode/{mode.partition('/')[0]}/usual")
        seen.append((statuses, look))
    assert seen[0] == seen[1]
