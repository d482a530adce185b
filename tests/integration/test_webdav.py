"""WebDAV folders whose content comes from a script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SCRIPT = Path(__file__).with_name("webdav_script.py")
FOLDERS = ("/dav/plain", "/dav/class")
FILE = "/a/%C3%A9%20x.txt"
DEPTH = {"Depth": "1"}  # a folder and what is in it, as clients ask


@pytest.fixture(scope="module")
def server(shared_orthanc: OrthancFactory) -> Orthanc:
    """An Orthanc with WebDAV folders."""
    return shared_orthanc(SCRIPT, errors=["."])


def listed(server: Orthanc, path: str) -> dict[str, tuple[str, str, str]]:
    """List a folder: size, type and time of each entry."""
    answer = server.http.request("PROPFIND", path, headers=DEPTH)
    assert answer.status == 207, answer.text
    found = {}
    for response in ET.fromstring(answer.body).iter("{DAV:}response"):
        href = response.findtext("{DAV:}href") or ""
        texts = [
            response.findtext(f".//{{DAV:}}{name}") or ""
            for name in ("getcontentlength", "getcontenttype", "creationdate")
        ]
        found[unquote(href).rstrip("/").rpartition("/")[2]] = (texts[0], texts[1], texts[2])
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_read(server: Orthanc, folder: str) -> None:
    """A client lists folders and reads files, with their sizes and times."""
    assert "a" in listed(server, folder)
    entries = listed(server, f"{folder}/a")
    assert entries["é x.txt"][0] == "5"
    assert entries["é x.txt"][1] == "text/plain"
    assert entries["é x.txt"][2].startswith("2024-02-01T01:59:58")
    answer = server.http.get(folder + FILE)
    assert (answer.status, answer.body) == (200, b"hello")
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Last-Modified"].startswith("2024-02-01T01:59:58")
    assert server.http.request("PROPFIND", folder + "/nothing", headers=DEPTH).status == 404
    assert server.http.get(folder + "/nothing").status == 404


@pytest.mark.parametrize("folder", FOLDERS)
def test_write(server: Orthanc, folder: str) -> None:
    """A client makes folders, stores and deletes files, and sees what is refused."""
    assert server.http.request("MKCOL", folder + "/new").status == 201
    for content in (b"", b"\0\xff" * 100_000):
        assert server.http.put(folder + "/new/file", content).status == 201
        assert server.http.get(folder + "/new/file").body == content
    assert server.http.put(folder + "/new/no", b"x").status == 403
    assert list(listed(server, folder + "/new")) == ["new", "file"]
    assert server.http.delete(folder + "/new/file").status == 204
    assert server.http.get(folder + "/new/file").status == 404
    assert server.http.delete(folder + "/new").status == 204


def test_read_only(server: Orthanc) -> None:
    """A folder without callbacks for writing refuses what would write."""
    assert server.http.get("/read-only" + FILE).body == b"hello"
    assert server.http.put("/read-only/file", b"x").status == 403
    assert server.http.request("MKCOL", "/read-only/new").status == 403
    assert server.http.delete("/read-only" + FILE).status == 403


@pytest.mark.parametrize(
    ("mode", "method", "path", "logged"),
    [
        ({"plain": "raise"}, "PROPFIND", "/dav/plain", "OSError: broken"),
        ({"plain": "time"}, "PROPFIND", "/dav/plain", "YYYYMMDDTHHMMSS"),
        ({"plain": "str"}, "GET", "/dav/plain" + FILE, "returns bytes, not str"),
        ({"plain": "none"}, "DELETE", "/dav/plain" + FILE, "True or False, not None"),
        ({"class": "nonsense"}, "PROPFIND", "/dav/class", "webdav.File and webdav.Folder"),
        ({"class": "raise"}, "GET", "/dav/class" + FILE, r"Tree\.read \(@webdav.collection\)"),
        ({"class": "slow"}, "GET", "/dav/class" + FILE, "has not answered within 1 s"),
    ],
)
def test_failures(
    server: Orthanc, mode: dict[str, str], method: str, path: str, logged: str
) -> None:
    """A callback that fails is status 500, and the log says why; the next request works."""
    server.http.post("/mode", json.dumps(mode))
    assert server.http.request(method, path, headers=DEPTH).status == 500
    server.wait_log(logged)
    server.http.post("/mode", "{}")
    assert server.http.get("/dav/plain" + FILE).body == b"hello"


def test_registered_late(server: Orthanc) -> None:
    """A folder that Orthanc would not serve any more raises."""
    assert "only while it starts" in server.http.get("/late").text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("'/a', f, f, f, f, f, 3", "argument 7 is a function (def or async def) or None, not int"),
        ("'/a', f, f, None, f, f, f", "argument 4 is a function (def or async def), not NoneType"),
        ("'a', f, f, f, f, f, f", 'the URI is like "/folder", not "a"'),
    ],
)
def test_wrong_registrations(orthanc_server: OrthancFactory, arguments: str, message: str) -> None:
    """What is no collection keeps Orthanc from starting."""
    text = f"import orthanc\ndef f(*a): ...\northanc.RegisterWebDavCollection({arguments})\n"
    assert message in orthanc_server.fails(text).log


@pytest.mark.parametrize("second", ["/a", "/a/b", "/webdav/b"])
def test_one_path_hides_another(orthanc_server: OrthancFactory, second: str) -> None:
    """Two collections in one path are an error; so is one in the folder of Orthanc's own."""
    text = "import orthanc\ndef f(*a): ...\n"
    for uri in ("/a", second):
        text += f"orthanc.RegisterWebDavCollection('{uri}', f, f, f, None, None, None)\n"
    log = orthanc_server.fails(text).log
    assert f'"{second}"' in log
    assert ("hide the other" in log) != ("Orthanc's own" in log)


def test_a_class_without_methods(orthanc_server: OrthancFactory) -> None:
    """The error of the decorator names the method that is missing."""
    text = "from orthanc_async import webdav\nwebdav.collection('/a')(object())\n"
    assert "needs a method list(self, path)" in orthanc_server.fails(text).log
