"""Destinations: where studies go, streamed, resumed after a failure, and never lost.

    archive = forward.to_dicomweb("https://pacs.example/dicom-web", auth=forward.Basic(…))
    on_stable_study(archive, durable="archive")

A destination is called with a patient, study, series or instance. docs/forwarding.md tells what
is promised.
"""

from __future__ import annotations

from orthanc_async._durable.attempt import Backoff, GiveUp, Retry, RetryLater
from orthanc_async.forward._anonymize import anonymize
from orthanc_async.forward._auth import TLS, Basic, Bearer, OAuth2ClientCredentials
from orthanc_async.forward._breaker import Breaker
from orthanc_async.forward._destination import Destination
from orthanc_async.forward._dicomweb import to_dicomweb
from orthanc_async.forward._files import to_http
from orthanc_async.forward._filters import Filter, called_aet, calling_aet, modality, tag
from orthanc_async.forward._jobs import to_modality, to_peer
from orthanc_async.forward._s3 import to_s3
from orthanc_async.forward._secrets import secret_from_env, secret_from_file
from orthanc_async.forward._webhook import to_webhook

__all__ = [
    "TLS",
    "Backoff",
    "Basic",
    "Bearer",
    "Breaker",
    "Destination",
    "Filter",
    "GiveUp",
    "OAuth2ClientCredentials",
    "Retry",
    "RetryLater",
    "anonymize",
    "called_aet",
    "calling_aet",
    "modality",
    "secret_from_env",
    "secret_from_file",
    "tag",
    "to_dicomweb",
    "to_http",
    "to_modality",
    "to_peer",
    "to_s3",
    "to_webhook",
]
