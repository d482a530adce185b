"""Storage areas in the official plugin's style, on our plugin and on the official one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter
    from compatibility.known_failures import KnownFailures

FIRST = "storage_area_script.py"
THIRD = "storage_area_3_script.py"


@pytest.fixture(scope="module", params=[FIRST, THIRD], ids=["first", "third"])
def pair(
    ours: Starter, official: Starter, known: KnownFailures, request: pytest.FixtureRequest
) -> Pair:
    """Both plugins with the same script; ours first."""
    if request.param == THIRD and known.version in {"4.0", "5.0"}:
        pytest.skip(f"the official plugin {known.version} does not have RegisterStorageArea3")
    text = Path(__file__).with_name(request.param).read_text("utf-8")
    settings: dict[str, Any] = {"config": {"MaximumStorageCacheSize": 0}}
    return ours(text, **settings), official(text, **settings)


def test_second_registration(pair: Pair) -> None:
    """Another registration in the script raises RuntimeError on both."""
    assert [server.http.get("/twice").text for server in pair] == ["refused"] * 2


@pytest.mark.parametrize(
    "mode",
    [
        *("create/usual", "create/raise", "create/error", "remove/raise"),
        *("read/raise", "read/str", "read/none", "read/error", "read/short"),
    ],
)
def test_a_file_of_its_life(pair: Pair, dicom_file: Path, mode: str) -> None:
    """Storing, reading and deleting give the same statuses, calls and files."""
    seen = []
    for server in pair:
        assert server.http.get(f"/mode/{mode}").text == "ok"
        stored = server.http.post("/instances", dicom_file.read_bytes())
        found = server.http.get("/instances").json()
        statuses: list[object] = [stored.status, len(found)]
        for instance in found:
            answer = server.http.get(f"/instances/{instance}/file")
            statuses += [answer.status, answer.body == dicom_file.read_bytes()]
            # Read as a range where Orthanc can.
            pixels = server.http.get(f"/instances/{instance}/frames/0/raw")
            statuses += [pixels.status, pixels.status == 200 and pixels.body]
            statuses.append(server.http.delete(f"/instances/{instance}").status)
        look = server.http.get("/look").text
        server.http.get(f"/mode/{mode.partition('/')[0]}/usual")
        seen.append((statuses, look))
    assert seen[0] == seen[1]
