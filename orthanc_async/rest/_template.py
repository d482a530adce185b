"""Path templates and regular expressions: from what a script writes to what Orthanc matches.

Orthanc matches a route with Boost's Perl syntax against the whole path, which comes decoded,
without its query and without a slash at its end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NAMED_GROUP = re.compile(
    r"(\\.|\[(?:\\.|\^\]|\]|[^\]\\])(?:\\.|[^\]\\])*\])|\(\?P<\w+>", re.DOTALL
)
_NAMED_BACKREFERENCE = re.compile(r"(\\.)|\(\?P=(\w+)\)", re.DOTALL)

# A quoted letter, <, >, ` or ' means something of its own to Boost, so only these are quoted.
_SPECIAL = re.compile(r"[.\[\]{}()\\*+?|^$]")

# Convertor: its regular expression, how its text becomes a value (None: stays text), and a
# sample that shows whether another template would take the same requests. 18 digits are the
# most that surely fit 64 bits.
_CONVERTORS: dict[str, tuple[str, Callable[[str], Any] | None, str]] = {
    "str": ("[^/]+", None, "\N{BLACK SQUARE}"),
    "int": ("[0-9]{1,18}", int, "7"),
    "path": (".+", None, "\N{BLACK SQUARE}/\N{BLACK SQUARE}"),
}


class Pattern:
    """A path that a route serves, compiled for Orthanc and for Python.

    Made by `rest.regex(…)`; path templates become one when they are declared.
    """

    __slots__ = ("_compiled", "convertors", "names", "native", "sample", "source")

    def __init__(
        self,
        source: str,
        native: str,
        names: tuple[tuple[str, int], ...],
        convertors: Mapping[str, Callable[[str], Any]],
        sample: str | None,
    ) -> None:
        self.source = source
        self.native = native
        self.names = names
        self.convertors = convertors
        self.sample = sample
        self._compiled: re.Pattern[str] | None = None

    def __repr__(self) -> str:
        return f"<path {self.source}>"

    def match(self, uri: str) -> tuple[str, ...] | None:
        """Return the groups of a path that matches as a whole, else None."""
        if self._compiled is None:
            self._compiled = re.compile(self.native, re.DOTALL)
        match = self._compiled.fullmatch(uri)
        return None if match is None else tuple(group or "" for group in match.groups())

    def values(self, groups: tuple[str, ...]) -> dict[str, Any]:
        """Return the path parameters by their names, converted."""
        values: dict[str, Any] = {name: groups[index] for name, index in self.names}
        for name, convert in self.convertors.items():
            values[name] = convert(values[name])
        return values

    def is_below(self, prefix: str) -> bool:
        """Tell whether every path of this pattern begins with `prefix` and a slash."""
        if self.sample is None and "|" in self.native:
            return False  # one of the alternatives may lie elsewhere
        return self.native.startswith(quote(prefix) + "/")


def quote(literal: str) -> str:
    """Quote a literal text for Boost's Perl syntax and for Python's."""
    return _SPECIAL.sub(r"\\\g<0>", literal)


def regex(pattern: str) -> Pattern:
    r"""Make a path from a regular expression, where a template does not suffice.

    Args:
        pattern: A regular expression for the whole path, such as
            `r"/frames/(?P<number>\d+)(\.png)?"`. Named groups become `request.path`, all groups
            are in `request.groups`. Keep to what Python and Perl share.

    Returns:
        A path for `rest.get` and its like.

    Raises:
        TypeError: It is no text.
        ValueError: It does not compile, or can match no path.
    """
    _require_text(pattern, "a route's regular expression must be text")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        message = f"the route's regular expression {pattern!r} is wrong: {error}"
        raise ValueError(message) from None
    _refuse_nul(pattern)
    pattern = pattern.removeprefix("^")
    if not pattern.startswith(("/", "(", ".", "[", "\\")):
        message = (
            f"the route's regular expression {pattern!r} matches no path: paths begin with '/', "
            f"so write {'/' + pattern!r}"
        )
        raise ValueError(message)
    native = _NAMED_GROUP.sub(lambda found: found[1] or "(", pattern)
    native = _NAMED_BACKREFERENCE.sub(
        lambda found: found[1] or f"(?:\\{compiled.groupindex[found[2]]})", native
    )
    names = tuple((name, index - 1) for name, index in compiled.groupindex.items())
    return Pattern(pattern, native, names, {}, None)


def template(path: object) -> Pattern:
    """Make a path from a template such as `/studies/{study}/frames/{n:int}`.

    Args:
        path: The template. `{name}` takes one part of the path, `{name:int}` digits (an `int`
            in `request.path`), `{name:path}` the whole remainder.

    Raises:
        TypeError: It is no text.
        ValueError: It is no template; the text says what to write instead.
    """
    if callable(path):
        message = "the decorator needs the path: write @rest.get('/path')"
        raise TypeError(message)
    path = _require_text(path, "a route's path must be text such as '/studies/{study}'")
    _check_form(path)
    native: list[str] = []
    sample: list[str] = []
    names: list[tuple[str, int]] = []
    convertors: dict[str, Callable[[str], Any]] = {}
    position = 0
    for found in _PLACEHOLDER.finditer(path):
        literal = path[position : found.start()]
        position = found.end()
        if names and not literal:
            message = f"the path {path!r} has two parameters side by side: put a text between them"
            raise ValueError(message)
        name, expression, convert, example = _parameter(path, found[1])
        if any(name == known for known, _ in names):
            message = f"the path {path!r} names the parameter {name!r} twice: rename one"
            raise ValueError(message)
        if convert is not None:
            convertors[name] = convert
        names.append((name, len(names)))
        native += [_literal(path, literal), f"({expression})"]
        sample += [literal, example]
    native.append(_literal(path, path[position:]))
    sample.append(path[position:])
    return Pattern(path, "".join(native), tuple(names), convertors, "".join(sample))


def prefix(path: str) -> str:
    """Check the prefix of `rest.mount`: a literal path that is not the root.

    Raises:
        TypeError: It is no text.
        ValueError: It is no such path.
    """
    _require_text(path, "a prefix must be text such as '/reports'")
    _check_form(path)
    if path == "/":
        message = "mounting '/' would hide Orthanc's whole REST API: mount a path such as '/my'"
        raise ValueError(message)
    if "{" in path or "}" in path:
        message = f"the prefix {path!r} cannot hold parameters: mount the text before them"
        raise ValueError(message)
    return path


def _require_text(value: object, rule: str) -> str:
    if isinstance(value, str):
        return value
    message = f"{rule}, not {type(value).__name__}"
    raise TypeError(message)


def _check_form(path: str) -> None:
    _refuse_nul(path)
    if not path.startswith("/"):
        message = f"the path {path!r} must begin with '/': write {'/' + path!r}"
        raise ValueError(message)
    if "?" in path or "#" in path:
        message = f"the path {path!r} holds a query: leave it out and read request.query"
        raise ValueError(message)
    if path != "/" and (path.endswith("/") or "//" in path):
        mended = "/" + "/".join(part for part in path.split("/") if part)
        message = (
            f"the path {path!r} would never be asked for: Orthanc drops empty parts of a path, "
            f"so write {mended!r}"
        )
        raise ValueError(message)


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        message = f"the path {text!r} holds a NUL character, which Orthanc cannot match"
        raise ValueError(message)


def _literal(path: str, literal: str) -> str:
    if "{" in literal or "}" in literal:
        message = f"the path {path!r} has a brace without its partner: parameters are '{{name}}'"
        raise ValueError(message)
    return quote(literal)


def _parameter(path: str, text: str) -> tuple[str, str, Callable[[str], Any] | None, str]:
    name, separator, convertor = text.partition(":")
    if not name.isidentifier():
        message = (
            f"the path {path!r} has the parameter {{{text}}}, whose name is no Python name: "
            f"write '{{name}}' or '{{name:int}}'"
        )
        raise ValueError(message)
    if not separator:
        convertor = "str"
    if convertor not in _CONVERTORS:
        known = ", ".join(_CONVERTORS)
        message = f"the path {path!r} asks for {convertor!r} in {{{text}}}: known are {known}"
        raise ValueError(message)
    return name, *_CONVERTORS[convertor]
