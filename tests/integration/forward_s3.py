"""moto's server, which speaks like Amazon's and verifies signatures."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import botocore.session
from orthanc_async._server_net import free_port
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FREE = 3  # requests of `make_user`, before which there is nobody whose signature could be right
_POLICY = """{"Version": "2012-10-17",
 "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"""


@contextlib.contextmanager
def moto() -> Iterator[str]:
    """Run the server; give its address."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_FREE)},
    )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(url), "moto to serve", timeout=60)
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/moto-api/", timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def client(url: str, service: str, keys: Mapping[str, str]) -> Any:
    """Make a client of botocore."""
    return botocore.session.get_session().create_client(
        service,
        "us-east-1",
        endpoint_url=url,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
    )


def make_user(url: str) -> dict[str, str]:
    """Make somebody who may do everything; return the keys."""
    iam = client(url, "iam", {"AccessKeyId": "x", "SecretAccessKey": "y"})
    iam.create_user(UserName="me")
    iam.put_user_policy(UserName="me", PolicyName="all", PolicyDocument=_POLICY)
    keys: dict[str, str] = iam.create_access_key(UserName="me")["AccessKey"]
    return keys
