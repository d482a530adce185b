"""Connections that are cut in mid-body, for destinations of other kinds than `to_http`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from integration import forward_troubles
from integration.forward_proxy import Proxy
from integration.forward_receiver import Receiver
from integration.forward_s3 import client, make_user, moto

if TYPE_CHECKING:
    from integration.conftest import Orthanc, OrthancFactory

SHARED = Path(__file__).with_name("durable_script.py")
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SCRIPT = """
    import os
    from orthanc_async import forward, on_stable_study

    url = os.environ["TARGET"]
    settings = dict(
        retry=forward.Retry(10**6, forward.Backoff(0.2, 0.5)),
        breaker=forward.Breaker(3, first=0.2, longest=0.5),
    )
    if os.environ["KIND"] == "dicomweb":
        target = forward.to_dicomweb(f"{url}/dicom-web", batch=3, **settings)
    elif os.environ["KIND"] == "webhook":
        target = forward.to_webhook(f"{url}/hook", secret="the key", **settings)
    else:
        target = forward.to_s3(
            "studies", "{instance}", endpoint=url, access_key=os.environ["S3_KEY"],
            secret_key=forward.secret_from_env("S3_SECRET"), at_once=1, **settings,
        )
    on_stable_study(target, durable="archive")
"""


def start(
    orthanc_server: OrthancFactory, files: list[Path], kind: str, target: str, **more: str
) -> Orthanc:
    """Start an Orthanc and give it a study."""
    server = orthanc_server(
        [SHARED, SCRIPT],
        config={"StableAge": 1},
        environment={"KIND": kind, "TARGET": target, **more},
    )
    server.wait_json("/subscribed", lambda _: True)
    for file in files:
        server.upload(file)
    return server


def waits(server: Orthanc, url: str) -> dict[str, Any]:
    """Wait until the delivery has failed twice; check what is said of that."""
    [entry] = server.wait_json(
        "/entries", lambda all_: len(all_) == 1 and all_[0]["attempts"] >= 2, timeout=30
    )
    assert entry["state"] in ("waiting", "running")
    assert entry["reason"] is None
    assert entry["error"].startswith(url)
    assert "the connection was closed by the receiver before its answer" in entry["error"]
    return dict(entry)


def delivered(server: Orthanc, before: dict[str, Any]) -> None:
    """Wait until it is done."""
    [entry] = server.wait_json(
        "/entries", lambda all_: [one["state"] for one in all_] == ["done"], timeout=30
    )
    assert entry["attempts"] >= before["attempts"]


def held(server: Orthanc) -> dict[str, bytes]:
    """Return all files of an Orthanc by their identifiers."""
    found = server.http.get("/instances").json()
    return {name: server.http.get(f"/instances/{name}/file").body for name in found}


def cut_after(files: list[Path], share: float) -> int:
    """Return so much of a study's bytes."""
    return int(sum(file.stat().st_size for file in files) * share)


def test_dicomweb(orthanc_server: OrthancFactory, dicom_files: list[Path]) -> None:
    """What a DICOMweb server has named as stored before the cut is not sent again."""
    target = orthanc_server(plugins=[DICOMWEB], errors=[".*"])
    with Proxy(target.http_port, cut_after(dicom_files, 0.4)) as proxy:
        server = start(orthanc_server, dicom_files, "dicomweb", proxy.url)
        entry = waits(server, f"{proxy.url}/dicom-web/studies")
        assert proxy.cut >= 2
        before, proxy.most = proxy.passed, None
        delivered(server, entry)
        assert proxy.passed - before < cut_after(dicom_files, 0.9)
        assert held(target) == held(server)
        assert len(held(target)) == 11


def test_s3(orthanc_server: OrthancFactory, dicom_files: list[Path]) -> None:
    """No half of an object is stored, and those that were before the cut are not sent again."""
    with moto() as url:
        keys = make_user(url)
        bucket = client(url, "s3", keys)
        bucket.create_bucket(Bucket="studies")
        bucket.put_bucket_versioning(
            Bucket="studies", VersioningConfiguration={"Status": "Enabled"}
        )
        with Proxy(int(urlsplit(url).port or 0), cut_after(dicom_files, 0.4)) as proxy:
            server = start(
                orthanc_server,
                dicom_files,
                "s3",
                proxy.url,
                S3_KEY=keys["AccessKeyId"],
                S3_SECRET=keys["SecretAccessKey"],
            )
            entry = waits(server, f"{proxy.url}/studies/")
            assert proxy.cut >= 2
            assert bucket.list_objects_v2(Bucket="studies")["KeyCount"] > 0
            proxy.most = None
            delivered(server, entry)
        stored = [one["Key"] for one in bucket.list_object_versions(Bucket="studies")["Versions"]]
        wanted = held(server)
        assert sorted(stored) == sorted(wanted)
        for name, data in wanted.items():
            assert bucket.get_object(Bucket="studies", Key=name)["Body"].read() == data


def test_webhook(orthanc_server: OrthancFactory, dicom_files: list[Path]) -> None:
    """A webhook comes whole in the end, with the same identifier and its signature."""
    with Receiver() as receiver:
        receiver.trouble = forward_troubles.close_in_mid_body
        server = start(orthanc_server, dicom_files[:1], "webhook", receiver.url)
        entry = waits(server, f"{receiver.url}/hook")
        receiver.trouble = None
        delivered(server, entry)
    [body], [headers] = receiver.files.values(), receiver.headers
    assert json.loads(body)["id"] == headers["webhook-id"] == f"archive/{entry['key']}"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(b"the key", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
