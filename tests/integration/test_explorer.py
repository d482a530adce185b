"""What several scripts, and orthanc_async itself, add to Orthanc Explorer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orthanc
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from integration.conftest import Orthanc, OrthancFactory

FIRST = """
    import helper_of_explorer
    import orthanc
    from orthanc_async import _explorer, rest

    _explorer.extend("queue", "queue.before()")
    orthanc.ExtendOrthancExplorer("first.before()")
    helper_of_explorer.extend("first.now() // a comment")
    _explorer.extend("queue", "queue.now()")

    @rest.post("/first")
    async def change(request: rest.Request) -> str:
        await orthanc.extend_orthanc_explorer("first.later()")
        return "done"

    @rest.post("/queue")
    async def on_the_loop(request: rest.Request) -> str:
        try:
            _explorer.extend("queue", "never()")
        except RuntimeError as error:
            return str(error)
        return "it has blocked the loop"
"""

SECOND = """
    import helper_of_explorer

    helper_of_explorer.extend("(function () { second() })()")
"""

HELPER = """
import orthanc


def extend(text):
    orthanc.ExtendOrthancExplorer(text)
"""


def explorer(server: Orthanc) -> str:
    """Return what the plugin adds to Orthanc Explorer."""
    text = server.http.get("/plugins/explorer.js").text
    return text[text.index("**/") + 3 :].strip()


def test_several_owners(orthanc_server: OrthancFactory, tmp_path: Path) -> None:
    """The last text of each script and of each part of ours counts, whoever calls for it."""
    (tmp_path / "helper_of_explorer.py").write_text(HELPER)
    server = orthanc_server([FIRST, SECOND])
    second = "(function () { second() })()"
    start = f"queue.now()\n;\nfirst.now() // a comment\n;\n{second}"
    assert explorer(server) == start
    assert server.http.post("/first").text == "done"
    assert explorer(server) == f"queue.now()\n;\nfirst.later()\n;\n{second}"
    assert "extend_orthanc_explorer" in server.http.post("/queue").text
    (tmp_path / "script2.py").write_text("")
    assert server.http.post("/tools/reset", "{}").status == 200
    server.wait_started(2)
    assert explorer(server) == start.removesuffix(f"\n;\n{second}")


def test_one_script_is_taken_literally(orthanc_server: OrthancFactory) -> None:
    """What a single script adds reaches the browser as it is."""
    text = "'use strict'; // \u00e9\n$('#x').live('click', function () {})"
    server = orthanc_server(f"import orthanc\northanc.ExtendOrthancExplorer({text!r})\n")
    assert explorer(server) == text


@pytest.mark.skipif(
    not hasattr(orthanc, "ExtendOrthancExplorer2"), reason="needs the SDK of Orthanc 1.12.4"
)
def test_named_plugins(orthanc_server: OrthancFactory) -> None:
    """The functions that name a plugin mean this one by its own and by the official name."""
    server = orthanc_server(
        """
        import orthanc

        for name in ("orthanc-async", "python"):
            orthanc.ExtendOrthancExplorer2(name, f"by_{name[:6]}()")
            orthanc.SetDescription2(name, f"described as {name}")
            orthanc.SetRootUri2(name, f"the/page/of/{name}")
        orthanc.ExtendOrthancExplorer2("another", "another()")
        """
    )
    assert explorer(server) == "by_python()"
    page = server.http.get("/plugins/orthanc-async").json()
    assert page["Description"] == "described as python"
    assert page["RootUri"].endswith("the/page/of/python")


def test_outside_orthanc() -> None:
    """Outside Orthanc the error says what is missing."""
    from orthanc_async import _explorer

    with pytest.raises(RuntimeError, match="running Orthanc"):
        _explorer.extend("queue", "")
