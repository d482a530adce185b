"""Settings of destinations that can only fail later: refused at once, and named."""

from __future__ import annotations

import asyncio
import decimal
import sys
import threading
from typing import TYPE_CHECKING, Any

import orthanc
import pytest
from orthanc_async import forward
from orthanc_async.forward import _auth
from orthanc_async.forward._secrets import Secrets

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://pacs.example/x"
NO_NUMBERS: list[Any] = ["5", [], {}, b"x", object, decimal.Decimal(1), True]
OUTSIDE = [-1, float("nan"), float("inf"), 10**400]
NO_URLS: list[Any] = [
    None, 5, b"http://x", "", "pacs.example", "ftp://x/", "http://", "http:///x", "http://[::1/x",
    "http://me:secret@x", "http://me@x", "http:// x", "http://x/a b", "http://x\n/y", "http://x/#y",
    "http://x/{study}", "http://hé/x", "http://x/é", "http://x:99999", "http://x:abc", "http://x:0",
    "http://x:", "http://.x", "http://-x", "http://a..b", "http://*/x", "http://256.1.1.1",
    "http://1.2.3", "http://[::1%25eth0]/", f"http://{'a' * 64}.b", "http://x\\y/z",
]  # fmt: skip


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url(url: Any) -> None:
    """It is refused by all that ask one, and the text does not repeat a password."""
    for name, make in (
        ("to_dicomweb", forward.to_dicomweb),
        ("to_http", forward.to_http),
        ("to_webhook", forward.to_webhook),
        ("to_s3", lambda given: forward.to_s3("bucket", endpoint="?" if given is None else given)),
        ("OAuth2", lambda given: forward.OAuth2ClientCredentials(given, "me", "secret-of-mine")),
    ):
        with pytest.raises((TypeError, ValueError), match=name) as caught:
            make(url)
        assert "secret" not in str(caught.value)


def test_urls() -> None:
    """Addresses, ports, slashes at the end and queries are allowed."""
    for url in ("http://[::1]:80/x", "http://a_b.c-d.e./x", "http://10.0.0.1:65535/a%20b/"):
        assert repr(forward.to_dicomweb(url)) == f"<forward.to_dicomweb {url.rstrip('/')}>"
    assert "key=…" in repr(forward.to_http("http://x/y?key=abc"))


@pytest.mark.parametrize("value", [*NO_NUMBERS, *OUTSIDE, 0])
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("Retry: attempts", forward.Retry),
        ("Backoff: factor", lambda v: forward.Backoff(factor=v)),
        ("Breaker: failures", forward.Breaker),
        ("Breaker: first", lambda v: forward.Breaker(first=v)),
        ("Breaker: longest", lambda v: forward.Breaker(longest=v)),
        ("to_http: timeout", lambda v: forward.to_http(URL, timeout=v)),
        ("to_http: concurrency", lambda v: forward.to_http(URL, concurrency=v)),
        ("to_http: stall_timeout", lambda v: forward.to_http(URL, stall_timeout=v)),
        ("to_http: at_once", lambda v: forward.to_http(URL, at_once=v)),
        ("to_dicomweb: batch", lambda v: forward.to_dicomweb(URL, batch=v)),
        ("to_dicomweb: batch_bytes", lambda v: forward.to_dicomweb(URL, batch_bytes=v)),
        ("to_modality: batch", lambda v: forward.to_modality("x", batch=v)),
        ("to_s3: at_once", lambda v: forward.to_s3("bucket", at_once=v)),
    ],
)
def test_what_is_no_number(name: str, make: Any, value: Any) -> None:
    """A number of the wrong kind, not finite, or out of its limits is refused by its name."""
    with pytest.raises((TypeError, ValueError), match=name):
        make(value)


@pytest.mark.parametrize("value", NO_NUMBERS + OUTSIDE)
def test_what_is_no_time(value: Any) -> None:
    """The times of a backoff, and those that a handler raises, are finite seconds from 0 on."""
    for name in ("first", "longest"):
        with pytest.raises((TypeError, ValueError), match=f"Backoff: {name}"):
            forward.Backoff(**{name: value})
    with pytest.raises((TypeError, ValueError), match="RetryLater: after"):
        forward.RetryLater("busy", after=value)


@pytest.mark.parametrize("value", [5, "x", [], object])
def test_what_is_of_another_kind(value: Any) -> None:
    """Objects of a wrong kind are refused by the name of their argument."""
    for name in ("retry", "breaker", "auth", "tls"):
        with pytest.raises(TypeError, match=f"to_http: {name}"):
            forward.to_http(URL, **{name: value})
    for name in ("only", "transform"):
        with pytest.raises(TypeError, match=rf"^{name}="):
            forward.to_http(URL, **{name: value})
    with pytest.raises(TypeError, match="Retry: backoff"):
        forward.Retry(backoff=value)
    with pytest.raises(TypeError, match="keep_private"):
        forward.anonymize(key="k" * 16, keep_private=value)
    with pytest.raises(TypeError, match="OAuth2ClientCredentials: tls"):
        forward.OAuth2ClientCredentials(URL, "me", "secret", tls=value)


@pytest.mark.parametrize(
    "headers",
    [
        {"X": "a\r\nY: b"}, {"X": "a\0"}, {"X": "é"}, {"X": ""}, {"X": 5}, {"X\nY": "b"},
        {"": "b"}, {"X Y": "b"}, {"X:": "b"}, {5: "b"}, {"é": "b"}, {"X": "a", "x": "b"},
        {"content-TYPE": "b"}, {"Idempotency-Key": "b"}, {"Expect": "100-continue"},
        "X: y", [("X", "y")], 5,
    ],
)  # fmt: skip
def test_what_is_no_header(headers: Any) -> None:
    """No value makes a second header, and none replaces what the destination sets."""
    with pytest.raises((TypeError, ValueError), match=r"to_http: .*header"):
        forward.to_http(URL, headers=headers)


async def test_a_secret_that_no_header_can_hold(tmp_path: Path) -> None:
    """A file with two lines ends the attempt, named; it can be mended, so another follows."""
    file = tmp_path / "token"
    file.write_text("first line\nsecond line\n")
    secret = forward.secret_from_file(file)
    send: Any = forward.to_webhook(URL, auth=forward.Bearer(secret), headers={"X-Key": secret})
    with pytest.raises(forward.RetryLater, match=r"header X-Key") as caught:
        await send._revealed("X-Key")
    assert "line\n" not in str(caught.value)
    with pytest.raises(forward.RetryLater, match=str(file)) as caught:
        await send.http._auth.header(send.secrets)
    assert "second line" not in str(caught.value)
    with pytest.raises(ValueError, match="Bearer: token"):
        forward.Bearer("two\nlines")


async def test_a_token_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that hangs ends the attempt, is named, and is not called a second time."""
    monkeypatch.setattr(_auth, "_LONGEST", 0.05)
    go_on = threading.Event()
    calls = []

    def hang() -> str:
        calls.append(1)
        go_on.wait(20)
        return "a-token"

    async def hang_on_loop() -> str:
        await asyncio.Event().wait()
        return ""

    auth = forward.Bearer(hang)
    for one in (auth, auth, forward.Bearer(hang_on_loop)):
        with pytest.raises(forward.RetryLater, match=r"hang.*not given a token"):
            await one.header(Secrets())
    monkeypatch.setattr(_auth, "_LONGEST", 20)
    go_on.set()
    assert await auth.header(Secrets()) == "Bearer a-token"
    assert calls == [1]


@pytest.mark.parametrize(
    "given", [None, 5, b"x", "", ("a", 1, 2), ("a", "b"), ("a", float("nan")), ("a", -1), "a\nb"]
)
async def test_what_is_no_token(given: Any) -> None:
    """What a function gives instead of a token is an error that names the function."""
    with pytest.raises((TypeError, ValueError), match=r"lambda.*Bearer"):
        await forward.Bearer(lambda: given).header(Secrets())


@pytest.mark.parametrize(
    "make",
    [
        lambda: forward.to_s3("bucket", "{StudyInstanceUID}.dcm"),
        lambda: forward.to_s3("bucket", ""),
        lambda: forward.to_http(URL, method="PUT", path="/{study}"),
        lambda: forward.to_http(URL, form="zip", names="{InstanceNumber}.dcm"),
    ],
)
def test_names_that_instances_would_share(make: Any) -> None:
    """A name without a field of the instance is refused: one file would replace another."""
    with pytest.raises(ValueError, match="SOPInstanceUID"):
        make()


@pytest.mark.parametrize(
    "path", ["x/{study}", ".evil.example/{study}", "/../{study}", "/{study}/.", "/a b", "/é",
             "/{study}?x=y", "/{study}#x", "/a\\b", 5, b"/x"],
)  # fmt: skip
def test_paths_that_change_the_url(path: Any) -> None:
    """What is added to a URL cannot be another host, another folder, or a query."""
    with pytest.raises((TypeError, ValueError), match="to_http: path"):
        forward.to_http(URL, path=path)


@pytest.mark.parametrize(
    "more",
    [
        {"region": "eu west"}, {"region": 5}, {"region": "x.evil.example/"}, {"access_key": 5},
        {"storage_class": "A\nB"}, {"storage_class": []}, {"key": 5}, {"key": "../{instance}"},
    ],
)  # fmt: skip
def test_settings_of_s3(more: dict[str, Any]) -> None:
    """What would become part of a host's name or a header is looked at."""
    if "access_key" in more:
        more = {**more, "secret_key": "x"}
    with pytest.raises((TypeError, ValueError), match="to_s3"):
        forward.to_s3("bucket", **more)
    with pytest.raises(TypeError, match="to_s3: bucket"):
        forward.to_s3(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "é", "a.b", 5, b"x", None])
def test_names_of_modalities_and_peers(name: Any) -> None:
    """A name that Orthanc's configuration cannot have is refused."""
    for make in (forward.to_modality, forward.to_peer):
        with pytest.raises((TypeError, ValueError), match=r"name of one of"):
            make(name)
    with pytest.raises(TypeError, match="options"):
        forward.to_modality("x", options=5)  # type: ignore[arg-type]


def test_filters_are_no_booleans() -> None:
    """`a or b` would be a alone: it is an error that names what joins filters."""
    with pytest.raises(TypeError, match="&"):
        assert forward.modality("CT") or forward.modality("MR")
    with pytest.raises(TypeError, match="~"):
        assert not forward.modality("CT")


def test_tags_that_orthanc_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt tag would never have a value: inside Orthanc its dictionary is asked."""

    def look_up(name: str) -> dict[str, Any]:
        if name not in {"PatientID", "StudyDate", "SOPInstanceUID", "ReferencedSeriesSequence"}:
            raise orthanc.OrthancException(orthanc.ErrorCode.UNKNOWN_DICOM_TAG, "unknown")
        return {}

    forward.tag("PatinetID", "x")  # outside nobody can tell
    monkeypatch.setattr(orthanc, "LookupDictionary", look_up)
    for make in (
        lambda: forward.tag("PatinetID", "x"),
        lambda: forward.to_http(URL, path="/{PatinetID}/{instance}"),
        lambda: forward.anonymize(key="k" * 16, keep=["PatinetID"]),
        lambda: forward.anonymize(key="k" * 16, replace={"PatinetID": "x"}),
        lambda: forward.anonymize(key="k" * 16, remove=["ReferencedSeriesSequence[0].PatinetID"]),
    ):
        with pytest.raises(ValueError, match="PatinetID"):
            make()
    for make in (
        lambda: forward.tag("0010,0020", "x"),
        lambda: forward.anonymize(key="k" * 16, keep=["0010,0020"]),
    ):
        with pytest.raises(ValueError, match="number"):
            make()
    forward.tag("Private thing", "x")
    forward.anonymize(key="k" * 16, keep=["StudyDate"], remove=["ReferencedSeriesSequence[*]"])


def test_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without botocore the text names the package, however this one was installed."""
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ImportError, match="pip install botocore"):
        forward.to_s3("bucket")
