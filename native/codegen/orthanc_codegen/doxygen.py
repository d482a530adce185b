"""Doxygen comments as plain parts."""

from __future__ import annotations

import re

from .model import Documentation

_TAG = re.compile(r"^@(\w+)\s*(.*)$")
_MARKUP = (
    (re.compile(r"</?(?:tt|b|i|em|code)>"), "`"),
    (re.compile(r"::(?=Orthanc)"), ""),
    (re.compile(r"@[pac]\s+"), ""),
    (re.compile(r"\\(?=[\"'])"), ""),
)
_SKIPPED = frozenset({"ingroup", "see", "a", "p"})


def _lines(comment: str) -> list[str]:
    text = comment.strip()
    text = re.sub(r"^/\*\*+|\*+/$", "", text)
    return [re.sub(r"^\s*\*?\s?", "", line).rstrip() for line in text.splitlines()]


def _clean(lines: list[str]) -> str:
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            paragraphs[-1].append(line.strip())
        elif paragraphs[-1]:
            paragraphs.append([])
    text = "\n\n".join(" ".join(paragraph) for paragraph in paragraphs if paragraph)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    return text


def parse_comment(comment: str | None) -> Documentation:
    """Split a doxygen comment into brief, details, parameters and the rest."""
    sections: list[tuple[str, list[str]]] = [("", [])]
    for line in _lines(comment or ""):
        match = _TAG.match(line.strip())
        if match:
            sections.append((match[1], [match[2]]))
        elif not line.strip() and sections[-1][0] == "brief":
            sections.append(("", []))
        else:
            sections[-1][1].append(line)
    parameters: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    for tag, lines in sections:
        if tag in _SKIPPED:
            continue
        if tag == "param":
            name, _, first = lines[0].strip().partition(" ")
            parameters[name] = _clean([first, *lines[1:]])
        elif text := _clean(lines):
            texts.setdefault(tag, []).append(text)
    brief = " ".join(texts.get("brief", []))
    details = "\n\n".join(text for text in texts.get("", []) if text != brief)
    return Documentation(
        brief=brief,
        details=details.removeprefix(brief).strip() if brief else details,
        parameters=parameters,
        returns=" ".join(texts.get("return", [])),
        notes=(*texts.get("note", ()), *texts.get("warning", ())),
        deprecated=" ".join(texts.get("deprecated", [])),
    )


def trailing_comment(comment: str | None) -> str:
    """Return the text of a /*!< … */ comment behind a value."""
    return _clean(_lines(re.sub(r"^/\*!<\s*", "/**", (comment or "").strip())))
