"""The examples that send somewhere, as a user runs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pydicom
from integration.forward_receiver import Receiver
from integration.forward_s3 import client, make_user, moto
from pynetdicom import AE
from waiting import wait_until

EXAMPLES = Path(__file__).absolute().parents[2] / "examples"
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
CONFIG = {"StableAge": 1}


def test_webhook(orthanc_server: Any, dicom_file: Path) -> None:
    """The service gets one signed document for a stable study."""
    with Receiver() as receiver:
        server = orthanc_server(
            EXAMPLES / "webhook_on_stable.py",
            config=CONFIG,
            environment={"HOOK_URL": f"{receiver.url}/hook", "HOOK_SECRET": "a shared secret"},
        )
        server.upload(dicom_file)
        body = wait_until(lambda: receiver.files.get("/hook"), "the webhook", timeout=30)
        assert body is not None
        (headers,) = receiver.headers
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(b"a shared secret", signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    document = json.loads(body)
    (study,) = server.http.get("/studies?expand").json()
    assert document["type"] == "StableStudy"
    assert document["resource"] == study["ID"]
    assert document["tags"]["PatientName"] == "Doe^Peter"
    assert headers["webhook-id"] == f"notify/Study/{study['ID']}/{study['LastUpdate']}"


def test_s3(orthanc_server: Any, dicom_files: list[Path]) -> None:
    """Each instance becomes an object, with botocore's own way to find credentials."""
    with moto() as url:
        keys = make_user(url)
        bucket = client(url, "s3", keys)
        bucket.create_bucket(Bucket="studies")
        server = orthanc_server(
            EXAMPLES / "archive_to_s3.py",
            config=CONFIG,
            environment={
                "S3_BUCKET": "studies",
                "S3_ENDPOINT": url,
                "AWS_ACCESS_KEY_ID": keys["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": keys["SecretAccessKey"],
            },
        )
        for file in dicom_files:
            server.upload(file)

        def objects() -> list[dict[str, Any]]:
            return list(bucket.list_objects_v2(Bucket="studies").get("Contents", ()))

        listed = wait_until(objects, "objects", done=lambda all_: len(all_) == 11, timeout=30)
    assert all(one["Key"].startswith("98890234/1.3.6.1.4.1.") for one in listed)


def test_anonymized(orthanc_server: Any, dicom_files: list[Path]) -> None:
    """What was sent to RESEARCH arrives without its name; what was uploaded does not."""
    target = orthanc_server(plugins=[DICOMWEB])
    server = orthanc_server(
        EXAMPLES / "anonymize_to_dicomweb.py",
        config={**CONFIG, "DicomAlwaysAllowStore": True, "DicomCheckModalityHost": False},
        dicom_port=0,
        environment={"DICOMWEB_URL": f"{target.url}/dicom-web", "RESEARCH_KEY": "k" * 20},
    )
    server.upload(dicom_files[0])
    entity = AE("SCANNER")
    data = pydicom.dcmread(dicom_files[1])
    entity.add_requested_context(data.SOPClassUID, data.file_meta.TransferSyntaxUID)
    association = entity.associate("127.0.0.1", server.dicom_port, ae_title="RESEARCH")
    assert association.is_established
    assert association.send_c_store(data).Status == 0
    association.release()
    (instance,) = target.wait_json("/instances", bool, timeout=30)
    tags = target.http.get(f"/instances/{instance}/simplified-tags").json()
    assert tags["StudyDescription"] == data.StudyDescription
    assert tags["PatientIdentityRemoved"] == "YES"
    assert tags["PatientID"] == tags["PatientName"] != data.PatientID
    assert tags["StudyInstanceUID"].startswith("2.25.")
