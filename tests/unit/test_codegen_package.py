"""The generated package `orthanc`, outside Orthanc and with a native module that stands in."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CODEGEN = Path(__file__).parents[2] / "native" / "codegen"
INSTALLED = Path(os.environ.get("ORTHANC_SDK_DIR", "/usr/include")) / "orthanc/OrthancCPlugin.h"


def call_codegen(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the generator as the build does."""
    return subprocess.run(
        [sys.executable, str(CODEGEN), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate from the installed header."""
    folder = tmp_path_factory.mktemp("generated")
    done = call_codegen("--header", str(INSTALLED), "--output", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def package(generated: Path) -> Path:
    """Return the folder of the generated package."""
    return generated / "orthanc"


def run(folder: Path, code: str) -> str:
    """Run Python code that finds the generated package first, and return what it printed."""
    script = folder / "probe.py"
    script.write_text(textwrap.dedent(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_listed_outputs_are_what_is_written(generated: Path) -> None:
    """The names that the build waits for are those that are written."""
    listed = call_codegen("--list-outputs").stdout.split()
    written = {
        str(path.relative_to(generated))
        for path in generated.rglob("*")
        if path.is_file() and path.name != "probe.py" and "__pycache__" not in path.parts
    }
    assert set(listed) == written


def test_errors_are_one_line_and_a_code(tmp_path: Path) -> None:
    """A header that is not there ends the generator with its name and no traceback."""
    done = call_codegen("--header", str(tmp_path / "none.h"), "--output", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"codegen: no header {tmp_path / 'none.h'}")
    assert "Traceback" not in done.stderr


def test_all_is_exact(generated: Path) -> None:
    """`__all__` names everything public, once, and nothing else."""
    output = run(
        generated,
        """
        import json, orthanc
        public = [name for name in vars(orthanc) if not name.startswith("_")]
        print(json.dumps([sorted(set(public) - {"annotations"}), list(orthanc.__all__)]))
        """,
    )
    public, declared = json.loads(output)
    assert declared == public


def test_dir_shows_what_is_public(generated: Path) -> None:
    """`dir()` lists what is meant for scripts, and the module's own special names."""
    printed = run(
        generated,
        """
        import orthanc
        print([name for name in dir(orthanc) if name not in orthanc.__all__ and name[:2] != "__"])
        print("RestApiGet" in dir(orthanc), "__doc__" in dir(orthanc))
        """,
    )
    assert printed == "[]\nTrue True\n"


def test_stub_has_the_same_names(generated: Path, package: Path) -> None:
    """Type checkers see what is there, with positional-only parameters and documentation."""
    tree = ast.parse((package / "__init__.pyi").read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in tree.body if isinstance(node, kinds)]
    declared = json.loads(
        run(generated, "import json, orthanc; print(json.dumps(orthanc.__all__))")
    )
    assert sorted({node.name for node in found}) == declared  # overloads share a name
    assert all(ast.get_docstring(node) for node in found)
    functions = [node for node in found if not isinstance(node, ast.ClassDef)]
    assert not [node.name for node in functions if node.args.args or node.args.kwonlyargs]


def test_dict_of_an_enumeration_can_be_inverted(generated: Path) -> None:
    """Turned around, `__dict__` gives the member's name for every value."""
    run(
        generated,
        """
        import enum, orthanc
        for name in orthanc.__all__:
            kind = getattr(orthanc, name)
            if not (isinstance(kind, type) and issubclass(kind, enum.IntEnum)):
                continue
            names = {value: key for key, value in kind.__dict__.items()}
            for member in kind:
                assert names[member] == names[member.value] == member.name, (name, member)
            assert vars(kind) == kind.__dict__
            assert set(kind.__members__) == {k for k in kind.__dict__ if k[0] != "_"}
        """,
    )


def test_members_are_numbers(generated: Path) -> None:
    """Members print, format, hash, compare, serialise and pickle as scripts expect."""
    run(
        generated,
        """
        import copy, json, pickle, orthanc
        new = orthanc.ChangeType.NEW_STUDY
        assert "%s %d" % (new, new) == "6 6" and f"{new}" == str(new) == format(new) == "6"
        assert json.dumps({"change": new}) == '{"change": 6}'
        assert hash(new) == hash(6) and new == 6 and {6: "x"}[new] == "x"
        assert pickle.loads(pickle.dumps(new)) is new and copy.deepcopy(new) is new
        assert type(new).__module__ == "orthanc" and orthanc.ChangeType(6) is new
        try:
            orthanc.ChangeType.NEW_STUDY = 7
        except AttributeError as error:
            assert "NEW_STUDY" in str(error)
        else:
            raise AssertionError
        """,
    )


def test_exception_has_number_text_and_code(generated: Path) -> None:
    """The exception is a plain one with (number, text), and survives pickling."""
    run(
        generated,
        """
        import pickle, orthanc
        error = pickle.loads(pickle.dumps(orthanc.OrthancException(17, "Unknown resource")))
        assert error.args == (17, "Unknown resource")
        assert error.code is orthanc.ErrorCode.UNKNOWN_RESOURCE
        assert error.args[0] == orthanc.ErrorCode.UNKNOWN_RESOURCE
        assert orthanc.OrthancException(123456, "x").code == 123456
        assert orthanc.OrthancException.__module__ == "orthanc"
        assert orthanc.OrthancException.__mro__[1] is Exception
        """,
    )


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("orthanc.RestApiGet('/x')", "orthanc.RestApiGet()"),
        ("asyncio.run(orthanc.rest_api_get('/x'))", "orthanc.rest_api_get()"),
        ("orthanc.Image()", "orthanc.Image()"),
        ("orthanc.Image.GetImageWidth(None)", "orthanc.Image.GetImageWidth()"),
        ("asyncio.run(orthanc.Peers.get_peers_count(None))", "orthanc.Peers.get_peers_count()"),
        ("orthanc.RegisterRestCallback('/x', print)", "orthanc.RegisterRestCallback()"),
    ],
)
def test_outside_calls_say_what_to_do(generated: Path, call: str, name: str) -> None:
    """Without Orthanc a call raises, naming the function and how to start."""
    output = run(
        generated,
        f"""
        import asyncio, orthanc
        try:
            {call}
        except RuntimeError as error:
            print(error)
        """,
    )
    assert output.startswith(f"{name} needs a running Orthanc: ")
    assert "orthanc-async run" in output


def test_registering_in_a_worker_process_does_nothing(generated: Path) -> None:
    """A worker process that imports the script registers nothing, silently."""
    output = run(
        generated,
        """
        import multiprocessing, orthanc

        def work(number):
            orthanc.RegisterRestCallback("/x", print)
            return orthanc.ChangeType(number)

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print(repr(pool.apply(work, (6,))))
        """,
    )
    assert output.strip() == "<ChangeType.NEW_STUDY: 6>"


def test_twins_are_coroutine_functions(generated: Path) -> None:
    """Twins are real coroutine functions that hand positional arguments to the native module."""
    run(
        generated,
        """
        import asyncio, inspect, sys, orthanc

        def completed(value):
            future = asyncio.get_running_loop().create_future()
            future.set_result(value)
            return future

        native = orthanc._native
        native.rest_api_post = lambda *arguments: completed(arguments)
        native.Image.get_image_width = lambda self: completed(42)
        native.Image.__init__ = object.__init__
        sys.modules["_orthanc"] = native
        del sys.modules["orthanc"]
        import orthanc

        assert inspect.iscoroutinefunction(orthanc.rest_api_post)
        assert str(inspect.signature(orthanc.rest_api_post)) == "(uri, body, /)"
        assert orthanc.rest_api_post.__doc__.startswith("Make a POST call")
        assert inspect.iscoroutinefunction(orthanc.Image.get_image_width)
        assert orthanc.Image.get_image_width.__qualname__ == "Image.get_image_width"

        async def main():
            assert await orthanc.rest_api_post("/x", b"") == ("/x", b"")
            assert await orthanc.Image().get_image_width() == 42

        asyncio.run(main())
        """,
    )


def test_short_names_of_methods(generated: Path) -> None:
    """A method that is named after its class has a short name too, and no other one has."""
    printed = run(
        generated,
        """
        import orthanc

        matcher, query = orthanc.FindMatcher, orthanc.WorklistQuery
        assert matcher.IsMatch is matcher.FindMatcherIsMatch
        assert matcher.is_match is matcher.find_matcher_is_match
        print(sorted(name for name in vars(query) if name.endswith("IsMatch")))
        """,
    )
    assert printed == "['WorklistIsMatch']\n"


def test_what_is_missing_says_why(generated: Path) -> None:
    """A function that is not bound gives its reason, a wrong name the usual words."""
    output = run(
        generated,
        """
        import orthanc
        for name in ("FreeString", "NoSuchFunction"):
            try:
                getattr(orthanc, name)
            except AttributeError as error:
                print(error)
        """,
    )
    assert output.splitlines() == [
        "module 'orthanc' has no attribute 'FreeString': called when the Python object goes away",
        "module 'orthanc' has no attribute 'NoSuchFunction'",
    ]


def test_page_lists_every_function(tmp_path: Path) -> None:
    """docs/sdk.md has each function of the installed header, as the generator would write it."""
    docs = Path(__file__).parents[2] / "docs"
    shutil.copytree(docs, tmp_path / "docs")
    done = call_codegen("--header", str(INSTALLED), "--page", str(tmp_path / "docs"))
    assert done.returncode == 0, done.stderr

    def rows(folder: Path) -> dict[str, list[str]]:
        lines = (folder / "sdk.md").read_text(encoding="utf-8").splitlines()
        cells = [line.split(" | ") for line in lines if line.startswith("| OrthancPlugin")]
        # Since when there is a function is told by newer headers only.
        return {row[0]: row[1:3] + row[4:] for row in cells}

    written, wanted = rows(docs), rows(tmp_path / "docs")
    assert len(wanted) > 150
    again = "python native/codegen --header (the newest) --page docs"
    assert {name: written.get(name) for name in wanted} == wanted, f"out of date: {again}"
