"""Sends to one destination at the bidding of the test, and answers what has become of it."""

import json
import os

from orthanc_async import Study, forward, rest

targets: dict[str, forward.Destination] = {}
url = os.environ.get("TARGET", "")
key = "a key for this test only"
if url:
    targets["dicomweb"] = forward.to_dicomweb(f"{url}/dicom-web", batch=3)
    targets["anonymous"] = forward.to_dicomweb(
        f"{url}/dicom-web",
        batch=2,
        transform=forward.anonymize(key=key, keep=["StudyDescription"]),
    )
targets["modality"] = forward.to_modality("target", batch=4)
targets["peer"] = forward.to_peer("target", batch=4)
if "S3" in os.environ:
    targets["s3"] = forward.to_s3(
        "studies",
        endpoint=os.environ["S3"],
        access_key=os.environ["S3_KEY"],
        secret_key=forward.secret_from_env("S3_SECRET"),
        at_once=3,
    )
    targets["anonymous-s3"] = forward.to_s3(
        "studies",
        "{PatientID}/{study}/{SOPInstanceUID}",
        endpoint=os.environ["S3"],
        access_key=os.environ["S3_KEY"],
        secret_key=forward.secret_from_env("S3_SECRET"),
        transform=forward.anonymize(key=key),
    )


@rest.post("/send/{target}/{study}")
async def send(request: rest.Request) -> dict[str, str]:
    try:
        await targets[request.path["target"]](Study(request.path["study"]))
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {}
