"""Path templates, regular expressions and prefixes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from orthanc_async import rest
from orthanc_async.rest import _template


@pytest.mark.parametrize(
    ("template", "native", "uri", "values"),
    [
        ("/hello", "/hello", "/hello", {}),
        ("/", "/", "/", {}),
        ("/s/{study}/sum", "/s/([^/]+)/sum", "/s/a-b/sum", {"study": "a-b"}),
        ("/n/{n:int}", "/n/([0-9]{1,18})", "/n/007", {"n": 7}),
        ("/f/{rest:path}", "/f/(.+)", "/f/a/b c", {"rest": "a/b c"}),
        ("/a.b+c(d)", r"/a\.b\+c\(d\)", "/a.b+c(d)", {}),
        ("/x/{a}.{b:str}", r"/x/([^/]+)\.([^/]+)", "/x/one.png", {"a": "one", "b": "png"}),
        ("/größe/{ä}", "/größe/([^/]+)", "/größe/\udcff", {"ä": "\udcff"}),
    ],
)
def test_template(template: str, native: str, uri: str, values: dict[str, object]) -> None:
    """A template becomes a regular expression, and what it takes becomes named values."""
    pattern = _template.template(template)
    assert pattern.native == native
    groups = pattern.match(uri)
    assert groups is not None
    assert pattern.values(groups) == values


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("/a/{x}", "/a/b/c"),
        ("/a/{x}", "/a"),
        ("/n/{n:int}", "/n/x"),
        ("/n/{n:int}", "/n/" + "1" * 19),
        ("/n/{n:int}", "/n/\N{ARABIC-INDIC DIGIT ONE}"),
        ("/a.b", "/axb"),
    ],
)
def test_template_refuses(template: str, uri: str) -> None:
    """A path that a template does not mean is not taken by it."""
    assert _template.template(template).match(uri) is None


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("hello", "must begin with '/': write '/hello'"),
        ("/a/", "write '/a'"),
        ("/a//b", "write '/a/b'"),
        ("/a?b=1", "request.query"),
        ("/{a", "brace without its partner"),
        ("/a}", "brace without its partner"),
        ("/{}", "no Python name"),
        ("/{1a}", "no Python name"),
        ("/{a:float}", "known are str, int, path"),
        ("/{a}/{a}", "'a' twice"),
        ("/{a}{b}", "side by side"),
        ("/a\0", "NUL"),
    ],
)
def test_bad_template(template: str, text: str) -> None:
    """A template that could never work is refused where it is declared, with what to write."""
    with pytest.raises(ValueError, match=re.escape(text)):
        rest.get(template)


def test_template_of_another_type() -> None:
    """A decorator without its path, or with something else, says how it is written."""
    with pytest.raises(TypeError, match=re.escape("@rest.get('/path')")):
        rest.get(lambda _: None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not int"):
        rest.get(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a path or pattern="):
        rest.get()
    with pytest.raises(TypeError, match="a path or pattern="):
        rest.get("/a", pattern="/b")


def test_regex_groups() -> None:
    """Named groups of a regular expression reach Orthanc as plain ones, and keep their names."""
    pattern = rest.regex(r"^/(?P<kind>a|b)/([^/]*)/(?P<n>\d+)/(?P=kind)(\.png)?")
    assert pattern.native == r"/(a|b)/([^/]*)/(\d+)/(?:\1)(\.png)?"
    groups = pattern.match("/a/x/12/a")
    assert groups == ("a", "x", "12", "")
    assert pattern.values(groups) == {"kind": "a", "n": "12"}
    assert pattern.match("/a/x/12/b") is None


def test_regex_leaves_literals_alone() -> None:
    """What only looks like a named group, quoted or in a class, stays as it is."""
    assert rest.regex(r"/\(\?P<a>x").native == r"/\(\?P<a>x"
    assert rest.regex(r"/[(?P<a>]x").native == r"/[(?P<a>]x"


@pytest.mark.parametrize(
    ("pattern", "text"), [("/(", "is wrong"), ("hello", "write '/hello'"), ("/\0", "NUL")]
)
def test_bad_regex(pattern: str, text: str) -> None:
    """A regular expression that does not compile or matches no path is refused."""
    with pytest.raises(ValueError, match=re.escape(text)):
        rest.regex(pattern)


@pytest.mark.parametrize(
    ("prefix", "text"),
    [("/", "hide Orthanc's whole"), ("/a/{b}", "parameters"), ("/a/", "write '/a'")],
)
def test_bad_prefix(prefix: str, text: str) -> None:
    """A prefix that is no literal path, or hides all of Orthanc, is refused."""
    with pytest.raises(ValueError, match=re.escape(text)):
        rest.mount(prefix)


@pytest.mark.parametrize("declare", [rest.regex, rest.mount])
def test_no_text(declare: Any) -> None:
    """A path that is no text is refused with its type."""
    with pytest.raises(TypeError, match=r"must be text.*, not int"):
        declare(3)
