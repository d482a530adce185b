"""The page of the documentation that lists every SDK function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .handwritten import all_stubs
from .naming import PREFIX
from .tables import LATER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .model import Function, Header
    from .operations import Operation, Sdk

_HEAD = """# Every function of the SDK

This page is generated: `python native/codegen --header OrthancCPlugin.h --page docs`.
It was made from the header of Orthanc {version}: {functions} functions, of which {generated} are
generated, {by_hand} are bound by hand, and {excluded} are left out, with the reason.
What an older header does not have, a plugin that was built with it does not have either; the
column "since" names the first Orthanc with the function, where the header tells.
[sdk-use.md](sdk-use.md) says what the two forms are.

| SDK function | blocking | awaitable | since | described in |
| --- | --- | --- | --- | --- |
"""


def _since(function: Function) -> str:
    later = {name.rpartition(".")[2]: since for name, since in LATER.items()}
    return function.since or later.get(function.name, "")


def _link(name: str, docs: Path) -> str:
    page = f"{name}.md"
    return f"[{page}]({page})" if (docs / page).exists() else "[sdk-use.md](sdk-use.md)"


def _generated(operation: Operation) -> tuple[str, str]:
    return f"`{operation.full_name}`", f"`{operation.full_awaitable}`"


def _by_hand(function: str) -> tuple[str, str, str]:
    """Return the CamelCase names, the others, and the family."""
    stubs = [item for item in all_stubs() if function in item.functions]
    camel = [f"`{item.name}`" for item in stubs if item.name[0].isupper()]
    snake = [f"`{item.name}`" for item in stubs if not item.name[0].isupper()]
    return ", ".join(camel), ", ".join(snake), stubs[0].family


def _rows(header: Header, sdk: Sdk, docs: Path) -> Iterator[str]:
    operations = {item.name: item for item in sdk.functions}
    for kind in sdk.classes:
        operations |= {item.name: item for item in kind.operations}
    for function in sorted(header.functions, key=lambda item: item.name):
        name = function.name
        if name in sdk.excluded:
            blocking, awaitable, where = "–", "–", sdk.excluded[name]
        elif name in operations:
            operation = operations[name]
            blocking, awaitable = _generated(operation)
            where = _link("images" if operation.class_name == "Image" else "sdk-use", docs)
        elif name == "SendHttpStatus":
            blocking, awaitable = "`RestOutput.SendHttpStatus`", "`RestOutput.send_http_status`"
            where = _link("rest", docs)
        else:
            blocking, awaitable, family = _by_hand(name)
            where = _link(family, docs)
        yield f"| {PREFIX}{name} | {blocking} | {awaitable} | {_since(function)} | {where} |\n"


def page(header: Header, sdk: Sdk, docs: Path) -> str:
    """Return the text of the page.

    Args:
        header: What was read.
        sdk: What was made of it.
        docs: The folder of the other pages, to which it links.

    """
    by_hand, excluded = len(sdk.hand_written), len(sdk.excluded)
    head = _HEAD.format(
        version=header.version,
        functions=len(header.functions),
        generated=len(header.functions) - by_hand - excluded,
        by_hand=by_hand,
        excluded=excluded,
    )
    return head + "".join(_rows(header, sdk, docs))
