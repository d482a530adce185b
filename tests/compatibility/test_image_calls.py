"""Images in the official plugin's style, on our plugin and on the official one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.conftest import Orthanc

SCRIPT = Path(__file__).with_name("image_calls_script.py")


@pytest.fixture(scope="module")
def pair(
    ours: Callable[[str], Orthanc], official: Callable[[str], Orthanc]
) -> tuple[Orthanc, Orthanc]:
    """Both plugins with the same script; ours first."""
    text = SCRIPT.read_text("utf-8")
    return ours(text), official(text)


def test_images(pair: tuple[Orthanc, Orthanc]) -> None:
    """Images are made, converted, compressed and read alike, and their pixels are bytes."""
    ours, official = (server.http.get("/images") for server in pair)
    assert ours.status == official.status == 200
    assert ours.json() == official.json()
    assert ours.json()["made"]["buffer"] == ["bytes", bytes(range(48)).hex()]


def test_decoded_frame(pair: tuple[Orthanc, Orthanc], dicom_file: Path) -> None:
    """A decoded frame has the same pixels."""
    answers = []
    for server in pair:
        instance = server.upload(dicom_file)["ID"]
        answers.append(server.http.get(f"/decoded/{instance}"))
    assert answers[0].status == 200
    assert answers[0].json() == answers[1].json()
    assert answers[0].json()["buffer"][0] == "bytes"
