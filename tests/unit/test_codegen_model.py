"""The generator reads the C header into a model, and refuses what it does not understand."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "native" / "codegen"))

from orthanc_codegen import tables
from orthanc_codegen.doxygen import parse_comment
from orthanc_codegen.errors import CodegenError
from orthanc_codegen.naming import member_name, snake_case
from orthanc_codegen.reader import read_header
from orthanc_codegen.render import public_names, python_since, render, version_number
from orthanc_codegen.shapes import build_sdk
from orthanc_codegen.texts import full_text, official

if TYPE_CHECKING:
    from collections.abc import Callable

    from orthanc_codegen.model import Header
    from orthanc_codegen.operations import Operation, Sdk

INSTALLED = Path(os.environ.get("ORTHANC_SDK_DIR", "/usr/include")) / "orthanc/OrthancCPlugin.h"

# What every header begins with, in our own words.
PREAMBLE = """
#include <stdint.h>
#define ORTHANC_PLUGINS_MINIMAL_MAJOR_NUMBER 1
#define ORTHANC_PLUGINS_MINIMAL_MINOR_NUMBER 99
#define ORTHANC_PLUGINS_MINIMAL_REVISION_NUMBER 3
typedef struct _OrthancPluginContext_t OrthancPluginContext;
typedef struct _OrthancPluginImage_t OrthancPluginImage;
typedef struct { void* data; uint32_t size; } OrthancPluginMemoryBuffer;
typedef enum {
  OrthancPluginErrorCode_Success = 0,
  _OrthancPluginErrorCode_INTERNAL = 0x7fffffff
} OrthancPluginErrorCode;
"""


@pytest.fixture(scope="module")
def header() -> Header:
    """Read the installed header."""
    return read_header(INSTALLED)


@pytest.fixture(scope="module")
def sdk(header: Header) -> Sdk:
    """Bind the installed header."""
    return build_sdk(header)


@pytest.fixture
def bind(tmp_path: Path) -> Callable[[str], Sdk]:
    """Return a function that binds a header of a few lines."""

    def bind_text(text: str) -> Sdk:
        path = tmp_path / "OrthancCPlugin.h"
        path.write_text(PREAMBLE + text, encoding="utf-8")
        return build_sdk(read_header(path))

    return bind_text


def operations(sdk: Sdk) -> dict[str, Operation]:
    """Return all operations by their names."""
    everything = [*sdk.functions, *(op for item in sdk.classes for op in item.operations)]
    return {item.name: item for item in everything}


def test_every_function_is_accounted_for(sdk: Sdk) -> None:
    """Generated, hand-written and excluded functions are exactly those of the header."""
    text = INSTALLED.read_text(encoding="utf-8")
    defined = set(re.findall(r"ORTHANC_PLUGIN_INLINE\s[^;{(]*?\bOrthancPlugin(\w+)\s*\(", text))
    generated = set(operations(sdk)) - set(tables.DERIVED)
    parts = (generated, set(sdk.hand_written), set(sdk.excluded))
    assert set.union(*parts) == defined
    assert sum(len(part) for part in parts) == len(defined)


def test_every_exclusion_has_a_reason(sdk: Sdk) -> None:
    """Nothing is left out silently."""
    assert all(sdk.excluded.values())
    assert all(tables.EXCLUDED_CLASSES.values())
    assert all(tables.PURE.values())


def test_names_in_tables_exist_where_the_header_has_all(header: Header, sdk: Sdk) -> None:
    """No function is both left out and bound, and pure functions are no registrations."""
    assert not set(tables.EXCLUDED) & set(tables.HAND_WRITTEN)
    assert not set(tables.EXCLUDED) & set(tables.PURE)
    assert not [name for name in tables.PURE if name.startswith(("Register", "RestApi", "Http"))]
    names = {item.name for item in header.functions}
    assert names >= set(operations(sdk)) - set(tables.DERIVED)


def test_enumerations_have_the_official_names_and_values(header: Header) -> None:
    """Members are spelled and numbered as scripts for the official plugin expect."""
    members = {
        item.name: {member.name: member.value for member in item.members}
        for item in header.enumerations
    }
    assert members["ChangeType"]["COMPLETED_SERIES"] == 0
    assert members["ChangeType"]["NEW_CHILD_INSTANCE"] == 2
    assert members["ChangeType"]["ORTHANC_STARTED"] == 10
    assert members["ChangeType"]["JOB_FAILURE"] == 18
    assert members["ErrorCode"]["INTERNAL_ERROR"] == -1
    assert members["ErrorCode"]["NO_CFIND_HANDLER"] == 2010
    assert members["ErrorCode"]["SQLITE_NOT_OPENED"] == 1000
    assert members["PixelFormat"]["SIGNED_GRAYSCALE16"] == 3
    assert members["PixelFormat"]["RGB24"] == 4
    assert members["InstanceOrigin"]["WEB_DAV"] == 6
    assert members["StorageCommitmentFailureReason"]["REFERENCED_SOPCLASS_NOT_SUPPORTED"] == 4
    assert all(0x7FFFFFFF not in values.values() for values in members.values())


def test_official_functions_and_methods(sdk: Sdk) -> None:
    """The functions and methods of the official plugin are bound as such."""
    names = set(public_names(sdk))
    assert names >= {"RestApiGet", "rest_api_get", "CreateImageFromBuffer", "LookupDictionary"}
    assert names >= {"RegisterRestCallback", "OrthancException", "ErrorCode", "Image", "Peers"}
    found = operations(sdk)
    assert found["ConvertPixelFormat"].class_name == "Image"
    assert found["GetPeerName"].class_name == "Peers"
    assert found["AnswerBuffer"].class_name == "RestOutput"
    assert found["CreateDicom"].class_name == ""
    assert found["CreateDicom"].arguments[1].python_type == "Image | None"


@pytest.mark.parametrize(
    ("name", "types", "result"),
    [
        ("RestApiGet", ["str"], "bytes"),
        ("RestApiPost", ["str", "Data"], "bytes"),
        ("RestApiDelete", ["str"], "None"),
        ("LookupPatient", ["str"], "str"),
        ("GetPeerUserProperty", ["int", "str"], "str | None"),
        ("GetImagePixelFormat", [], "PixelFormat"),
        ("HttpGet", ["str", "str | None", "str | None"], "bytes"),
        ("SetMetricsValue", ["str", "float", "MetricsType | int"], "None"),
        (
            "CallRestApi",
            ["HttpMethod | int", "str", "dict[str, str] | None", "Data", "int"],
            "tuple[int, dict[str, str], bytes]",
        ),
    ],
)
def test_shapes(sdk: Sdk, name: str, types: list[str], result: str) -> None:
    """Buffers, sizes, headers and results turn into Python's types."""
    operation = operations(sdk)[name]
    assert [item.python_type for item in operation.arguments] == types
    assert operation.python_result == result


def test_passwords_are_hidden(sdk: Sdk) -> None:
    """A password does not get into the text of an error."""
    hidden = {item.name for item in operations(sdk)["HttpClient"].arguments if item.hidden}
    assert hidden == {"password", "certificateKeyPassword"}


def test_only_pure_functions_are_allowed_on_the_loop(sdk: Sdk) -> None:
    """What takes a core lock or waits for the network is not pure."""
    found = operations(sdk)
    assert found["LogInfo"].pure
    assert found["GenerateUuid"].pure
    for name in ("RestApiGet", "HttpGet", "GetInstanceDecodedFrame", "LookupStudy", "ReadFile"):
        assert not found[name].pure


def test_new_function_of_a_known_shape(bind: Callable[[str], Sdk]) -> None:
    """A function that a newer header adds is bound without a word in the tables."""
    sdk = bind(
        """
        /** @brief Do it. @param name The name. */
        static inline OrthancPluginErrorCode OrthancPluginBrandNew(
            OrthancPluginContext* context, OrthancPluginMemoryBuffer* target, const char* name,
            const void* body, uint32_t bodySize) { return OrthancPluginErrorCode_Success; }
        """
    )
    operation = operations(sdk)["BrandNew"]
    assert operation.awaitable == "brand_new"
    assert [item.name for item in operation.arguments] == ["name", "body"]
    assert operation.python_result == "bytes"
    assert not operation.pure
    assert sdk.version == "1.99.3"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            (
                "typedef void (*OrthancPluginHook)(int);"
                "static inline void OrthancPluginSetHook(OrthancPluginContext* context,"
                " OrthancPluginHook hook) {}"
            ),
            r"OrthancPluginSetHook\(\): callback 'hook'",
        ),
        (
            (
                "static inline void OrthancPluginPeek(OrthancPluginContext* context,"
                " const void* at) {}"
            ),
            r"OrthancPluginPeek\(\): memory 'at' without a size",
        ),
        (
            "static inline void OrthancPluginOdd(OrthancPluginContext* context, int** odd) {}",
            r"OrthancPluginOdd\(\): argument 'odd' of type int\*\*",
        ),
        (
            (
                "static inline long double OrthancPluginPi(OrthancPluginContext* context)"
                " { return 3; }"
            ),
            r"OrthancPluginPi\(\): return type long double",
        ),
        (
            "static inline void OrthancPluginLost(int context) {}",
            r"OrthancPluginLost\(\) does not begin with the context",
        ),
    ],
)
def test_unknown_shape_fails_with_the_name(
    bind: Callable[[str], Sdk], text: str, what: str
) -> None:
    """A shape that the generator does not know stops the build and names the function."""
    with pytest.raises(CodegenError, match=what):
        bind(text)


def test_official_result(bind: Callable[[str], Sdk]) -> None:
    """Where the official plugin gives something of its own, the CamelCase form does, too."""
    sdk = bind(
        """
        static inline OrthancPluginErrorCode OrthancPluginSetStableStatus(
            OrthancPluginContext* context, uint8_t* changed, const char* resourceId)
            { return OrthancPluginErrorCode_Success; }
        """
    )
    operation = operations(sdk)["SetStableStatus"]
    assert operation.python_result == "bool"
    assert official(operation).python_result == "tuple[int, int]"
    assert "0, and whether" in full_text(official(operation))
    ops = render(sdk)["sdk_ops.hpp"]
    assert (
        "official_result() { return py::make_tuple(0, static_cast<int>(changed_.get())); }" in ops
    )
    stub = render(sdk)["orthanc/__init__.pyi"]
    assert "def SetStableStatus(resourceId: str, /) -> tuple[int, int]:" in stub
    assert "async def set_stable_status(resourceId: str, /) -> bool:" in stub


def test_names_of_plugins(bind: Callable[[str], Sdk]) -> None:
    """What names a plugin may be the official one's name, and only that argument."""
    sdk = bind(
        """
        static inline void OrthancPluginSetRootUri2(
            OrthancPluginContext* context, const char* plugin, const char* uri) {}
        """
    )
    types = [item.cpp_type for item in operations(sdk)["SetRootUri2"].arguments]
    assert types == ["PluginNameArgument", "StringArgument"]


def test_class_without_a_free_function_fails(bind: Callable[[str], Sdk]) -> None:
    """An object that Python could never free stops the build."""
    with pytest.raises(CodegenError, match="OrthancPluginImage has no function that frees it"):
        bind(
            "static inline OrthancPluginImage* OrthancPluginMake(OrthancPluginContext* context)"
            " { return 0; }"
        )


def test_header_that_does_not_compile(bind: Callable[[str], Sdk]) -> None:
    """The compiler's own text is shown."""
    with pytest.raises(CodegenError, match="unknown type name 'nonsense'"):
        bind("nonsense OrthancPluginBroken(OrthancPluginContext* context);")


def test_missing_and_foreign_headers(tmp_path: Path) -> None:
    """A header that is not there or is not Orthanc's is named, with what to install."""
    with pytest.raises(CodegenError, match="orthanc-dev"):
        read_header(tmp_path / "absent.h")
    (tmp_path / "other.h").write_text("int x;\n", encoding="utf-8")
    with pytest.raises(CodegenError, match=r"is it OrthancCPlugin\.h"):
        read_header(tmp_path / "other.h")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RestApiGet", "rest_api_get"),
        ("RestApiGet2", "rest_api_get2"),
        ("ComputeMd5", "compute_md5"),
        ("DicomInstanceToJson", "dicom_instance_to_json"),
    ],
)
def test_snake_case(name: str, expected: str) -> None:
    """Awaitable twins have predictable names."""
    assert snake_case(name) == expected


def test_member_names() -> None:
    """Members lose their prefix and any underscore before it."""
    assert member_name("ChangeType", "OrthancPluginChangeType_NewStudy") == "NEW_STUDY"
    assert member_name("Odd", "_OrthancPluginOdd_OneTwo") == "ONE_TWO"
    assert member_name("Odd", "OrthancPluginOdd_Rgb24Bit") == "RGB24BIT"


def test_comments_are_cut_into_parts() -> None:
    """Doxygen's tags become parts of a docstring."""
    documentation = parse_comment(
        """/**
         * @brief Do something.
         *
         * It does <tt>something</tt> with
         * ::OrthancPluginThing().
         *
         * @param first The first
         * of all.
         * @param second The second.
         * @return Nothing.
         * @note Take care.
         * @deprecated Use another.
         * @ingroup Toolbox
         **/"""
    )
    assert documentation.brief == "Do something."
    assert documentation.details == "It does `something` with OrthancPluginThing()."
    assert documentation.parameters == {"first": "The first of all.", "second": "The second."}
    assert documentation.returns == "Nothing."
    assert documentation.notes == ("Take care.",)
    assert documentation.deprecated == "Use another."


# The oldest supported Orthanc: what its header has needs no version.
OLDEST = "1.10.1"


def test_later_functions_are_those_of_the_header(header: Header, sdk: Sdk) -> None:
    """The table of versions has all that the header marks as later, with the same versions."""
    marked = {
        item.name: item.since
        for item in header.functions
        if item.since and version_number(item.since) > version_number(OLDEST)
    }
    marked = {name: since for name, since in marked.items() if name not in sdk.excluded}
    classes = {op.name: op.full_name for item in sdk.classes for op in item.operations}
    marked = {classes.get(name, name): since for name, since in marked.items()}
    assert {name: tables.LATER.get(name) for name in marked} == marked


def test_later_functions_are_known_by_their_python_names(sdk: Sdk) -> None:
    """Whatever the header, doctor is told the CamelCase names that scripts use."""
    since = python_since(sdk)
    assert since["RegisterMoveCallback3"] == "1.12.10"
    assert "RegisterMoveCallback2" not in since
    assert since["RestOutput.StartStreamAnswer"] == "1.12.6"
    assert since["StoreKeyValue"] == "1.12.8"
    assert not [name for name in since if name.startswith("OrthancPlugin") or name.islower()]
    assert set(since) >= {name for names in tables.FEATURES.values() for name in names}
