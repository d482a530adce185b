"""S3 and what speaks like it: each instance an object. Needs botocore."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orthanc_async import _checks
from orthanc_async._durable.attempt import RetryLater
from orthanc_async.forward._errors import check, excerpt, retry_after
from orthanc_async.forward._http_destination import PerFileDestination
from orthanc_async.forward._secrets import Secret, check_secret
from orthanc_async.forward._template import Fields, Template
from orthanc_async.forward._url import check_url

if TYPE_CHECKING:
    from orthanc_async.forward._destination import Delivery
    from orthanc_async.forward._errors import Answer
    from orthanc_async.forward._source import Item

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
# Refusals that pass: the clocks differ, temporary credentials have run out, two at one time.
_PASSING = re.compile(
    rb"<Code>(RequestTimeTooSkewed|ExpiredToken|ExpiredTokenException|RequestTimeout|"
    rb"OperationAborted|ConditionalRequestConflict|SlowDown|BadDigest|IncompleteBody)</Code>"
)
_REFUSED = frozenset({400, 403, 409})


def to_s3(
    bucket: str,
    key: str = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
    *,
    endpoint: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: Secret | None = None,
    session_token: Secret | None = None,
    storage_class: str | None = None,
    at_once: int = 4,
    **common: Any,
) -> PerFileDestination:
    """Store each instance as an object of S3, or of a server that speaks like it.

    Requests are signed by botocore (`pip install botocore`), and each has the SHA-256 of its
    file, which the server compares.

    Args:
        bucket: It must exist.
        key: Of the objects, with fields: Orthanc's `{study}`, `{instance}`, or names of tags.
            With `{instance}` or `{SOPInstanceUID}`, or one object would replace another.
        endpoint: Such as "https://minio.example:9000"; None: Amazon's of the region.
        region: None: what the environment or the profile says, else "us-east-1".
        access_key: With `secret_key`; None: as botocore finds credentials, in the environment, in
            ~/.aws or from the machine's role.
        secret_key: A text, or what `secret_from_env` or `secret_from_file` gives.
        session_token: Of temporary credentials.
        storage_class: Such as "STANDARD_IA".
        at_once: How many files of a delivery are under way at once.
        common: `tls`, `headers`, `only`, `transform`, `retry`, `timeout`, `concurrency`,
            `breaker`, `connect_timeout`, `stall_timeout`, as for all destinations.

    Returns:
        The destination: `await destination(study)`.

    Raises:
        ImportError: botocore is not installed.
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
    """
    if not _BUCKET.fullmatch(_checks.text("to_s3", "bucket", bucket)):
        raise ValueError(f"to_s3: {bucket!r} is no name of a bucket")
    if (access_key is None) != (secret_key is None):
        raise ValueError("to_s3: access_key and secret_key belong together")
    if "auth" in common:
        raise TypeError("to_s3: requests are signed, auth= is not for it")
    for name, given in (
        ("endpoint", endpoint),
        ("region", region),
        ("access_key", access_key),
        ("storage_class", storage_class),
    ):
        if given is not None:
            _check_plain(name, given)
    for name, value in (("secret_key", secret_key), ("session_token", session_token)):
        if value is not None:
            check_secret(value, f"to_s3: {name}")
    try:
        import botocore.session
    except ImportError:
        raise ImportError(
            "to_s3 needs botocore: pip install botocore, in Orthanc's Python environment",
            name="botocore",
        ) from None
    session = botocore.session.Session()
    region = region or session.get_config_variable("region") or "us-east-1"
    if endpoint is not None:
        url = f"{check_url(endpoint, 'to_s3: endpoint')}/{bucket}"
    elif "." in bucket:  # the certificate's wildcard does not cover further dots
        url = f"https://s3.{region}.amazonaws.com/{bucket}"
    else:
        url = f"https://{bucket}.s3.{region}.amazonaws.com"
    signer = _Signer(session, region, access_key, secret_key, session_token)
    return _S3(url, key=key, signer=signer, storage_class=storage_class, at_once=at_once, **common)


def _check_plain(name: str, value: object) -> None:
    text = _checks.text("to_s3", name, value)
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(
            f"to_s3: {name} must be printable ASCII without spaces, not {text!r:.100}"
        )
    if name == "region" and not re.fullmatch(r"[A-Za-z0-9-]+", text):
        raise ValueError(f"to_s3: {text!r:.100} is no region, such as 'eu-central-1'")


class _Signer:
    """Signs requests; finds and renews the credentials."""

    def __init__(
        self,
        session: Any,
        region: str,
        access_key: str | None,
        secret_key: Secret | None,
        session_token: Secret | None,
    ) -> None:
        self._session = session
        self._region = region
        self._access_key = access_key
        self._secret_key = secret_key
        self._session_token = session_token

    def sign(
        self,
        url: str,
        headers: dict[str, str],
        data: memoryview,
        given: tuple[str, str | None] | None,
    ) -> dict[str, str]:
        """Return the headers of a PUT, signed. Blocks: it hashes, and may ask for credentials."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        if given is not None and self._access_key is not None:
            credentials = Credentials(self._access_key, *given)
        else:
            found = self._session.get_credentials()
            if found is None:
                raise RetryLater(
                    "to_s3: there are no credentials: give access_key and secret_key, or set "
                    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in Orthanc's environment"
                )
            credentials = found.get_frozen_credentials()
        request = AWSRequest("PUT", url, headers=headers, data=data)
        # Else a body sent by TLS would not be part of what is signed, nor be compared.
        request.context["payload_signing_enabled"] = True
        S3SigV4Auth(credentials, "s3", self._region).add_auth(request)
        return dict(request.headers.items())

    async def given(self, reveal: Any) -> tuple[str, str | None] | None:
        """Return the secrets that the script has given."""
        if self._secret_key is None:
            return None
        token = await reveal(self._session_token) if self._session_token else None
        return await reveal(self._secret_key), token


class _S3(PerFileDestination):
    kind = "to_s3"

    def __init__(
        self, url: str, *, key: str, signer: _Signer, storage_class: str | None, **common: Any
    ) -> None:
        super().__init__(url, **common)
        self._key = Template(key, "to_s3: key", apart=True)
        self._signer = signer
        self._storage_class = storage_class

    @property
    def place(self) -> str:
        """The template of the keys."""
        return self._key.text

    async def put(self, delivery: Delivery, item: Item, data: bytes, fields: Fields) -> None:
        key = self._key.fill(await fields.of(self._key, item, data))
        # What stands between the fields is encoded here; what they hold already is.
        url = f"{self.url}/{quote(key, safe='/%-_.~')}"
        headers = {"Content-Type": "application/dicom"}
        if self._storage_class:
            headers["x-amz-storage-class"] = self._storage_class
        given = await self._signer.given(self.secrets.reveal)
        # botocore tells by the type whether it can be hashed.
        view = memoryview(data)
        signed = await asyncio.to_thread(self._signer.sign, url, headers, view, given)
        answer = await self.ask(delivery, "PUT", url, headers=signed, accepted=_REFUSED, body=data)
        self._check(answer)

    def _check(self, answer: Answer) -> None:
        if answer.status in _REFUSED and _PASSING.search(answer.body):
            text = excerpt(answer.body, self.secrets)
            raise RetryLater(f"{answer.url} answers {answer.status}{text}",
                             after=retry_after(answer.headers))  # fmt: skip
        check(answer, self.secrets)
