"""A destination in trouble does not hold up the others, and gets everything once it is mended."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import ssl
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pydicom.data
import pytest
import trustme
from integration import forward_troubles
from integration.forward_receiver import Receiver
from orthanc_async._server_net import free_port
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARED = Path(__file__).with_name("durable_script.py")
SCRIPT = """
    import os
    from orthanc_async import forward, on_new_instance, rest
    from durable_script import running

    def to(name, **more):
        return forward.to_http(
            os.environ[name], path="/{instance}", stall_timeout=float(os.environ["STALL"]),
            retry=forward.Retry(10**6, forward.Backoff(0.2, 0.5)),
            breaker=forward.Breaker(3, first=0.2, longest=0.5), **more,
        )

    on_new_instance(to("HEALTHY"), durable="healthy")
    if os.environ["OTHER"]:
        tls = forward.TLS(ca=os.environ["CA"]) if os.environ["CA"] else None
        on_new_instance(to("OTHER", tls=tls), durable="other")

    @rest.get("/durations")
    async def durations(request):
        entries = await running().store.entries(queue="healthy", limit=100_000)
        return [e.changed_at - e.created_at for e in entries if e.state == "done"]
"""
COUNT = 30
FAILURES = 3  # after which the breaker opens
MOST = 1.2


@dataclass
class Other:
    """A destination in trouble.

    Attributes:
        url: What the script has.
        error: What is said of it after the URL, as a pattern.
        mend: Ends the trouble, as far as that is the receiver's business.
        receiver: Where everything must arrive in the end.
        restart: What the script needs to have for that, at another start of Orthanc.
    """

    url: str
    error: str
    mend: Callable[[], object] = lambda: None
    receiver: Receiver | None = None
    restart: dict[str, str] | None = None


def refuses(stack: contextlib.ExitStack, _folder: Path) -> Other:
    """Nobody listens."""
    port = free_port()

    def mend() -> None:
        refusing.receiver = stack.enter_context(Receiver(port))

    refusing = Other(f"http://127.0.0.1:{port}", "nobody listens there: check that the", mend)
    return refusing


def certificate(stack: contextlib.ExitStack, folder: Path) -> Other:
    """Nobody here knows who has issued the receiver's certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    receiver = stack.enter_context(Receiver(tls=context))
    return Other(
        receiver.url,
        r"certificate is not accepted: .*tls=forward\.TLS\(ca='",
        receiver=receiver,
        restart={"CA": str(folder / "ca.pem")},
    )


def no_name(stack: contextlib.ExitStack, _folder: Path) -> Other:
    """No host has the name."""
    receiver = stack.enter_context(Receiver())
    return Other(
        f"http://something.invalid:{receiver.port}",
        "the host name 'something.invalid' cannot be found: check the URL",
        receiver=receiver,
        restart={"OTHER": receiver.url},
    )


def behaves(trouble: Callable[..., None], error: str) -> Callable[..., Other]:
    """Give one whose receiver behaves badly until it is mended."""

    def make(stack: contextlib.ExitStack, _folder: Path) -> Other:
        receiver = stack.enter_context(Receiver())
        receiver.trouble = trouble

        def mend() -> None:
            receiver.trouble = None

        return Other(receiver.url, error, mend, receiver)

    return make


NO_ANSWER = "no answer for 1 s, the connection was closed"
TROUBLES = {
    "refuses": refuses,
    "stalls": behaves(forward_troubles.stall, NO_ANSWER),
    "closes-in-mid-body": behaves(
        forward_troubles.close_in_mid_body, "the connection was closed by the receiver"
    ),
    "fails": behaves(forward_troubles.fail, "answers 500"),
    "takes-a-byte-a-second": behaves(forward_troubles.take_slowly, NO_ANSWER),
    "answers-a-byte-a-second": behaves(forward_troubles.answer_slowly, NO_ANSWER),
    "wrong-certificate": certificate,
    "no-such-name": no_name,
}


@pytest.fixture(params=TROUBLES)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Other]:
    """A destination that delivers nothing, each in its own way."""
    with contextlib.ExitStack() as stack:
        yield TROUBLES[request.param](stack, tmp_path)


def start(
    orthanc_server: Any, folder: Path, healthy: str, other: str, *, stall: int, **more: str
) -> Any:
    """Start an Orthanc that sends what it gets to both, or to the healthy one alone."""
    folder.mkdir(exist_ok=True)
    shutil.copy(SHARED, folder)
    server = orthanc_server(
        [folder / SHARED.name, SCRIPT],
        environment={"HEALTHY": healthy, "OTHER": other, "STALL": str(stall), "CA": "", **more},
        cwd=folder,
        storage=folder / "storage",
        config={"StableAge": 9999, "OverwriteInstances": True},
    )
    server.wait_json("/subscribed", lambda _: True)
    return server


def upload(server: Any, count: int, first: int = 0) -> dict[str, bytes]:
    """Store so many instances of one series; return the files by the paths that they get."""
    file = pydicom.data.get_testdata_file("MR_small.dcm")
    data = pydicom.dcmread(str(file))
    files = {}
    for number in range(first, first + count):
        uid = pydicom.uid.UID(f"1.2.3.{number + 1}")
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = uid
        buffer = io.BytesIO()
        data.save_as(buffer)
        files[f"/{server.upload(buffer.getvalue())['ID']}"] = buffer.getvalue()
    return files


def test_ends_as_documented(orthanc_server: Any, tmp_path: Path, other: Other) -> None:
    """What is for the others arrives; what is for this one waits, says why, and is not lost."""
    with Receiver() as receiver:
        server = start(orthanc_server, tmp_path, receiver.url, other.url, stall=1)
        files = upload(server, COUNT)
        wait_until(lambda: len(receiver.files) >= COUNT, "all files", timeout=30)

        def failed(entries: list[dict[str, Any]]) -> bool:
            done = [one for one in entries if one["state"] == "done"]
            return len(done) == COUNT and sum(one["attempts"] for one in entries) > FAILURES

        entries = server.wait_json("/entries", failed, timeout=30)
        left = {one["key"]: one for one in entries if one["queue"] == "other"}
        assert len(left) == COUNT
        assert {one["state"] for one in left.values()} <= {"waiting", "running"}
        for one in left.values():
            assert bool(one["error"]) == bool(one["attempts"])
            if one["error"]:
                assert re.match(f"{re.escape(other.url)}/.*{other.error}", one["error"]), one
        other.mend()
        if other.restart is not None:
            server.stop()
            new = {"OTHER": other.url, **other.restart}
            server = start(
                orthanc_server, tmp_path, receiver.url, new.pop("OTHER"), stall=1, **new
            )

        def all_done(entries: list[dict[str, Any]]) -> bool:
            return [one["state"] for one in entries] == ["done"] * 2 * COUNT

        entries = server.wait_json("/entries", all_done, timeout=30)
        assert all(
            one["attempts"] >= left[one["key"]]["attempts"]
            for one in entries
            if one["queue"] == "other"
        )
        assert other.receiver is not None
        assert other.receiver.files == files == receiver.files


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_others_are_as_quick(orthanc_server: Any, tmp_path: Path, other: Other) -> None:
    """The healthy one's median delivery takes at most 1.2 times of what it takes alone."""
    alone: list[float] = []
    beside: list[float] = []
    with Receiver() as receiver:
        receiver.keep = False
        # In turns, so that what else the machine does counts for both.
        for turn in range(6):
            for found, url in ((alone, ""), (beside, other.url)):
                folder = tmp_path / f"{turn}{'other' if url else ''}"
                server = start(orthanc_server, folder, receiver.url, url, stall=600)
                for number in range(50):  # one at a time: not how deep a queue is
                    upload(server, 1, number)
                    server.wait_json("/durations", lambda all_, n=number: len(all_) > n)
                found.extend(server.http.get("/durations").json()[:-5])  # not the first ones
                server.stop()
    ratio = statistics.median(beside) / statistics.median(alone)
    figures = [f"{1000 * statistics.median(some):.1f} ms" for some in (alone, beside)]
    print(f"alone {figures[0]}, beside {figures[1]}, {len(alone)} deliveries each: {ratio:.2f}")
    assert ratio <= MOST
