"""Keep a copy of CT and MR studies in a bucket, each instance an object.

    pip install botocore
    S3_BUCKET=studies orthanc-async run archive_to_s3.py

Credentials are found as Amazon's own tools find them. S3_ENDPOINT names another server that
speaks like S3, such as MinIO.
"""

from __future__ import annotations

import os

from orthanc_async import forward, on_stable_study

archive = forward.to_s3(
    os.environ["S3_BUCKET"],
    "{PatientID}/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
    endpoint=os.environ.get("S3_ENDPOINT"),
    only=forward.modality("CT", "MR"),
)

on_stable_study(archive, durable="archive-to-s3")
