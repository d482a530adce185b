"""A webhook: a small signed JSON document that says what has come."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from typing import TYPE_CHECKING, Any

from orthanc_async._durable.attempt import RetryLater
from orthanc_async.forward._http_destination import HttpDestination
from orthanc_async.forward._secrets import Secret, check_secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from orthanc_async.forward._destination import Delivery

_PREFIX = "whsec_"


def to_webhook(url: str, *, secret: Secret | None = None, **common: Any) -> HttpDestination:
    """POST a JSON document about a resource, signed in the manner of Standard Webhooks.

    The document: `{"id", "timestamp", "type", "level", "resource", "uri", "parents",
    "last_update", "tags"}`. The headers: `webhook-id` (also as `Idempotency-Key`:
    the same in each attempt), `webhook-timestamp` (seconds since 1970), `webhook-signature`:
    "v1," and the Base64 of the HMAC-SHA256 of `{id}.{timestamp}.{body}`.

    Args:
        url: Where to.
        secret: With "whsec_" at its beginning, the rest is Base64, as that standard's libraries
            have it; else its UTF-8 bytes are the key. None: no signature.
        common: `auth`, `tls`, `headers`, `only` (sent if it holds for any instance), `retry`,
            `timeout`, `concurrency`, `breaker`, `connect_timeout`, `stall_timeout`.

    Returns:
        The destination: `await destination(study)`.

    Raises:
        TypeError: An argument is of the wrong kind.
        ValueError: An argument makes no sense.
    """
    return _Webhook(url, secret=secret, **common)


class _Webhook(HttpDestination):
    kind = "to_webhook"

    def __init__(
        self,
        url: str,
        *,
        secret: Secret | None,
        clock: Callable[[], float] = time.time,
        **common: Any,
    ) -> None:
        if common.get("transform") is not None:
            raise TypeError("to_webhook sends no files, so there is nothing to transform")
        super().__init__(url, **common)
        if secret is not None:
            check_secret(secret, "to_webhook: secret")
            if isinstance(secret, str):
                _key(secret)
        self._secret = secret
        self._clock = clock

    async def deliver(self, delivery: Delivery) -> None:
        # Its handler goes on with something else, which failed in an earlier attempt.
        if delivery.state.get("done"):
            return
        if self.only is not None and not await self.items(delivery):
            return
        timestamp = int(self._clock())
        body = json.dumps(await _document(delivery, timestamp), ensure_ascii=False).encode()
        key = delivery.key
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(timestamp),
        }
        if self._secret is not None:
            secret = await self.secrets.reveal(self._secret)
            try:
                headers["webhook-signature"] = signature(secret, key, timestamp, body)
            except ValueError as error:  # in a file or a variable, where it can be mended
                raise RetryLater(f"to_webhook: {error}") from None
        await self.ask(delivery, "POST", self.url, headers=headers, body=body)
        delivery.keep({"done": True})


async def _document(delivery: Delivery, timestamp: int) -> dict[str, Any]:
    resource = delivery.resource
    info = await resource.info()
    payload = delivery.attempt.payload
    event = payload if isinstance(payload, dict) else {}
    parents = {
        name.removeprefix("Parent").lower(): value
        for name, value in info.items()
        if name.startswith("Parent")
    }
    return {
        "id": delivery.key,
        "timestamp": timestamp,
        "type": event.get("type"),
        "level": type(resource).__name__,
        "resource": resource.id,
        "uri": resource.uri,
        "parents": parents,
        "last_update": info.get("LastUpdate"),
        "tags": {**info.get("PatientMainDicomTags", {}), **info["MainDicomTags"]},
    }


def signature(secret: str, identifier: str, timestamp: int, body: bytes) -> str:
    """Return the header `webhook-signature` of a document.

    Args:
        secret: As `to_webhook` takes it.
        identifier: The header `webhook-id`.
        timestamp: The header `webhook-timestamp`.
        body: The request's, byte for byte.

    Raises:
        ValueError: The secret is no Base64 after its "whsec_".
    """
    signed = f"{identifier}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        return secret.encode()
    encoded = secret.removeprefix(_PREFIX)
    if not re.fullmatch(r"[A-Za-z0-9+/]+=*", encoded) or len(encoded) % 4:
        raise ValueError("the secret begins with whsec_, but no Base64 follows")
    return base64.b64decode(encoded)
