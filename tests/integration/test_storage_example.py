"""The example of a storage area in an object store, with its small store as the peer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.conftest import OrthancFactory

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A process of the example's object store, its address and its folder."""
    folder = tmp_path / "objects"
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "object_store.py", "--port", "0", "--folder", folder],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        match = re.search(r"http://\S+", line)
        assert match, line
        yield process, match[0] + "/orthanc", folder
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_storage_http(
    orthanc_server: OrthancFactory,
    store: tuple[subprocess.Popen[str], str, Path],
    dicom_files: list[Path],
) -> None:
    """Files are objects of the store, whole and in parts; without the store nothing is stored."""
    process, url, folder = store
    server = orthanc_server(
        EXAMPLES / "storage_http.py",
        config={"MaximumStorageCacheSize": 0},
        environment={"STORE_URL": url},
        errors=["."],
    )
    sent = {server.upload(file)["ID"]: file.read_bytes() for file in dicom_files[:4]}
    objects = [file.read_bytes() for file in (folder / "orthanc").iterdir()]
    assert sorted(objects) == sorted(sent.values())
    for instance, data in sent.items():
        assert server.http.get(f"/instances/{instance}/file").body == data
        tags = server.http.get(f"/instances/{instance}/simplified-tags").json()
        assert tags["PatientName"] == "Doe^Peter"
    for instance in sent:
        assert server.http.delete(f"/instances/{instance}").status == 200
    assert list((folder / "orthanc").iterdir()) == []
    process.terminate()
    process.wait(timeout=20)
    assert server.http.post("/instances", dicom_files[0].read_bytes()).status == 500
    assert server.http.get("/instances").json() == []
    server.wait_log(r"ObjectStore\.create \(@storage\.area\).* raised")
