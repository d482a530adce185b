"""What the official plugin's module holds, ours holds too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from compatibility.conftest import Pair, Starter

SCRIPT = """
import inspect
import json
import pydoc

import orthanc


def kind(thing):
    if inspect.isclass(thing):
        return "class"
    return "function" if callable(thing) else type(thing).__name__


def answer(output, value):
    output.AnswerBuffer(json.dumps(value), "application/json")


def names(output, uri, **request):
    found = {name: kind(getattr(orthanc, name)) for name in dir(orthanc)}
    answer(output, {name: kind for name, kind in found.items() if not name.startswith("_")})


def members(output, uri, **request):
    answer(
        output,
        {
            name: {
                member: int(value) if isinstance(value, int) else kind(value)
                for member, value in inspect.getmembers(thing)
                if not member.startswith("_")
            }
            for name, thing in vars(orthanc).items()
            if inspect.isclass(thing) and not name.startswith("_")
        },
    )


def manual(output, uri, **request):
    things = {"": orthanc}
    for name in ("RestApiGet", "RestOutput", "ChangeType"):
        things[name] = getattr(orthanc, name)
    answer(
        output,
        {
            name: pydoc.render_doc(thing, renderer=pydoc.plaintext)
            for name, thing in things.items()
        },
    )


orthanc.RegisterRestCallback("/names", names)
orthanc.RegisterRestCallback("/members", members)
orthanc.RegisterRestCallback("/manual", manual)
"""
# Classes of the official plugin of which nothing there makes an object, and which no function
# takes.
WITHOUT_USE = {"DicomWebNode", "Job", "ServerChunkedRequestReader"}
WITHOUT_USE |= {"StorageArea", "WebDavCollection"}


@pytest.fixture(scope="module")
def pair(ours: Starter, official: Starter) -> Pair:
    """Both plugins with the same script; ours first."""
    return ours(SCRIPT), official(SCRIPT)


def test_names(pair: Pair) -> None:
    """`dir(orthanc)` has every official name, of the same kind, but for classes without use."""
    mine, other = (server.http.get("/names").json() for server in pair)
    assert len(other) > 100
    assert other.keys() - mine.keys() <= WITHOUT_USE
    for name in other.keys() & mine.keys():
        assert (name, mine[name]) == (name, other[name])


def test_members(pair: Pair) -> None:
    """Each class has every official method, each enumeration every value."""
    mine, other = (server.http.get("/members").json() for server in pair)
    for name in other.keys() - WITHOUT_USE:
        assert len(other[name]) >= 1
        for member, value in other[name].items():
            assert (name, member, mine[name].get(member)) == (name, member, value)


def test_manual(pair: Pair) -> None:
    """`help()` explains the module, a function, a class and an enumeration."""
    mine, other = (server.http.get("/manual").json() for server in pair)
    assert mine.keys() == other.keys()
    for name in ("RestApiGet", "RestOutput", "ChangeType"):
        assert name in mine[name]
        assert name in mine[""]
    assert "uri" in mine["RestApiGet"]
    assert "AnswerBuffer" in mine["RestOutput"]
    assert "NEW_STUDY" in mine["ChangeType"]
