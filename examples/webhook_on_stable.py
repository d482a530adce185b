"""Tell a web service of every stable study by a signed webhook.

    HOOK_URL=https://hooks.example/orthanc HOOK_SECRET=… orthanc-async run webhook_on_stable.py

docs/forwarding.md shows how the service checks the signature.
"""

from __future__ import annotations

import os

from orthanc_async import forward, on_stable_study

notify = forward.to_webhook(
    os.environ["HOOK_URL"],
    secret=forward.secret_from_env("HOOK_SECRET"),
)

on_stable_study(notify, durable="notify")
