"""Which instances a destination gets: filters, alone and composed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from orthanc_async import Instance, forward
from orthanc_async.forward._destination import Delivery
from unit.forward_fakes import FakeOrthanc

if TYPE_CHECKING:
    from orthanc_async.forward._source import Item


async def chosen(fake: FakeOrthanc, only: Any) -> str:
    """Return the names of the instances that a filter lets through."""
    send = forward.to_modality("x", only=only)
    kept: list[Item] = []

    async def deliver(delivery: Any) -> None:
        kept.extend(await send.items(delivery))

    send.deliver = deliver  # type: ignore[method-assign]
    await send(fake.study)
    return "".join(item.instance[-1] for item in kept)


async def test_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modality, titles, tags and functions, also composed, choose among instances."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"", series="a", Modality="CT", BodyPartExamined="HEAD")
    fake.add("2", b"", series="b", Modality="SR")
    fake.add("3", b"", series="c", Modality="MR")
    for name, called in (("1", "STORE"), ("2", "STORE"), ("3", "RESEARCH")):
        metadata = {"CalledAET": called, "RemoteAET": f"SCANNER{name}"}
        fake.more[f"/instances/instance-{name}/metadata?expand"] = metadata
        tags = {"ImageType": "ORIGINAL\\PRIMARY" if name == "3" else "DERIVED"}
        fake.more[f"/instances/instance-{name}/simplified-tags"] = tags
    ct = forward.modality("CT")
    assert await chosen(fake, ct) == "1"
    assert await chosen(fake, ~ct) == "23"
    assert await chosen(fake, forward.modality("CT", "MR")) == "13"
    assert await chosen(fake, forward.called_aet("STORE") & ~forward.modality("SR")) == "1"
    assert await chosen(fake, forward.calling_aet("SCANNER2") | ct) == "12"
    assert await chosen(fake, forward.tag("PatientID", "P/*")) == "123"
    assert await chosen(fake, forward.tag("BodyPartExamined", "HEAD")) == "1"
    assert await chosen(fake, forward.tag("ImageType", "PRIMARY")) == "3"
    assert await chosen(fake, ~forward.tag("Nothing", "")) == ""
    assert await chosen(fake, lambda instance: instance.id == "instance-2") == "2"
    assert await chosen(fake, ct | (lambda instance: instance.id == "instance-2")) == "12"

    async def third(instance: Instance) -> bool:
        return instance.id == "instance-3"

    assert await chosen(fake, third) == "3"
    assert repr(ct & ~forward.tag("A", "b")) == "(modality('CT') & ~tag('A', 'b'))"


def test_filters_are_checked() -> None:
    """What can only fail later is refused when the script is loaded."""
    with pytest.raises(TypeError, match="modality"):
        forward.modality()
    with pytest.raises(TypeError, match="is called with"):
        forward.to_modality("x", only=lambda: True)


async def test_filters_look_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patient, study and series are asked for once for all instances."""
    fake = FakeOrthanc(monkeypatch)
    for number in range(20):
        fake.add(str(number), b"", Modality="CT ")
    only = forward.modality("CT") & forward.tag("PatientName", "Doe*")
    send = forward.to_modality("x", only=only)
    kept = await send.items(Delivery(send, fake.study))
    assert len(kept) == 20
    assert len(fake.asked) == len(set(fake.asked)) == 3


async def test_functions_as_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function may stand first; a `def` runs in a thread."""
    fake = FakeOrthanc(monkeypatch)
    fake.add("1", b"")
    fake.add("2", b"", series="b", Modality="SR")
    threads = []

    def first(instance: Instance) -> bool:
        threads.append(threading.current_thread())
        return instance.id == "instance-1"

    assert await chosen(fake, first & forward.modality("CT", "SR")) == "1"
    assert await chosen(fake, first | forward.modality("SR")) == "12"
    assert threading.main_thread() not in threads
    assert await chosen(fake, forward.tag("Modality", "ct")) == ""
