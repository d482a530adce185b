"""Recognises the shapes of C functions; the one place that knows the SDK's conventions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from . import tables
from .errors import CodegenError
from .handwritten import stubs_for
from .model import Documentation, Function, Header, Parameter
from .naming import PREFIX
from .operations import Argument, HandleClass, Operation, Output, Sdk

_INTEGERS = {
    "int": "std::int32_t",
    "int32_t": "std::int32_t",
    "int64_t": "std::int64_t",
    "uint8_t": "std::uint8_t",
    "uint16_t": "std::uint16_t",
    "uint32_t": "std::uint32_t",
    "uint64_t": "std::uint64_t",
}
_BUFFERS = {
    f"{PREFIX}MemoryBuffer*": "MemoryBufferResult",
    f"{PREFIX}MemoryBuffer64*": "MemoryBuffer64Result",
}
_POINTER = re.compile(rf"^(const )?{PREFIX}(\w+)\*$")
_SIZE = re.compile(r"size$", re.IGNORECASE)
_COUNT = re.compile(r"count$", re.IGNORECASE)
_PIXELS = ("format", "width", "height", "pitch")
_ANSWER = ("answerBody", "answerHeaders", "httpStatus")
_SECRET = re.compile(r"password", re.IGNORECASE)
# Where the header forgets to say that NULL is allowed.
_NULLABLE = frozenset(
    {
        ("CreateDicom", "pixelData"),
        ("CreateDicom2", "pixelData"),
        ("CreateDicom2", "privateCreator"),
    }
)
# Where the header forgets to say that NULL is a proper answer.
_MAY_BE_NULL = frozenset({"GetInstanceMetadata", "GetPeerUserProperty"})
_BYTES = "Data"
_RESERVED = "tuple[bytes, int] | tuple[None, None]"
_BINARY_TAGS = (
    "A `def` that Orthanc calls in place for each binary tag, with its node, the sequences around "
    "it as [(group, element, index), …], its group, element and value representation. What it "
    "raises is raised here. None: no binary tag is written."
)
# The Python types of callbacks, and how they are called.
_CALLBACKS = {
    f"{PREFIX}DicomWebBinaryCallback": ("_BinaryTags | None", _BINARY_TAGS),
    f"{PREFIX}DicomWebBinaryCallback2": ("_BinaryTags | None", _BINARY_TAGS),
}


@dataclass
class _Builder:
    """Collects an operation while its parameters are read from left to right."""

    header: Header
    function: Function
    enumerations: frozenset[str]
    by_hand: bool = False  # the C++ of the operation; only the arguments are read here
    class_name: str = ""
    self_type: str = ""
    arguments: list[Argument] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    # The C++ members carry an underscore: an argument may be called `name`.
    call: list[str] = field(default_factory=lambda: ["context"])

    def fail(self, what: str) -> CodegenError:
        return CodegenError(
            f"{PREFIX}{self.function.name}(): {what} is a shape the generator does not know; "
            "teach it in shapes.py, or name the function in tables.py with the reason"
        )

    def doc(self, name: str) -> str:
        return self.function.documentation.parameters.get(name, "")

    def nullable(self, parameter: Parameter) -> bool:
        return (
            "NULL" in self.doc(parameter.name) or (self.function.name, parameter.name) in _NULLABLE
        )

    def add(self, parameter: Parameter, cpp: str, python: str, parse: str = "") -> None:
        self.arguments.append(
            Argument(
                parameter.name,
                cpp,
                python,
                self.doc(parameter.name),
                parse,
                bool(_SECRET.search(parameter.name)),
            )
        )

    def parameters(self) -> None:
        rest = list(self.function.parameters)
        while rest:
            del rest[: self.take(rest)]

    def take(self, rest: list[Parameter]) -> int:
        """Bind the parameters at the front and return how many they were."""
        first = rest[0]
        types = [item.type for item in rest[:3]]
        if first.is_callback and first.type in _CALLBACKS and self.by_hand:
            self.arguments.append(Argument(first.name, "", *_CALLBACKS[first.type]))
        elif first.is_callback:
            raise self.fail(f"callback '{first.name}'")
        elif first.type in _BUFFERS:
            self.outputs.append(Output(first.name, _BUFFERS[first.type]))
            self.call.append(f"{first.name}_.out(context)")
        elif first.type == "uint8_t*":
            self.outputs.append(Output(first.name, "FlagResult"))
            self.call.append(f"{first.name}_.out()")
        elif first.type.endswith("*") and first.type[:-1] in _INTEGERS:
            cpp = f"NumberResult<{_INTEGERS[first.type[:-1]]}>"
            self.outputs.append(Output(first.name, cpp))
            self.call.append(f"{first.name}_.out()")
        elif (name := first.type.removeprefix(PREFIX).removesuffix("*")) in self.enumerations and (
            first.type.endswith("*")
        ):
            self.outputs.append(Output(first.name, f"EnumResult<{PREFIX}{name}>", f'"{name}"'))
            self.call.append(f"{first.name}_.out()")
        elif _COUNT.search(first.name) and types[1:] == ["const char*const*"] * 2:
            return self.take_headers(first)
        elif first.type == "const void*":
            return self.take_bytes(rest)
        else:
            self.take_value(first)
        return 1

    def take_headers(self, count: Parameter) -> int:
        name = _COUNT.sub("", count.name)
        self.arguments.append(
            Argument(name, "HeadersArgument", "dict[str, str] | None", "HTTP headers, or None.")
        )
        self.call += [f"{name}_.count()", f"{name}_.keys()", f"{name}_.values()"]
        return 3

    def take_bytes(self, rest: list[Parameter]) -> int:
        data = rest[0]
        if len(rest) > 1 and rest[1].type in _INTEGERS and _SIZE.search(rest[1].name):
            cpp = _INTEGERS[rest[1].type]
            self.add(data, "BytesArgument", _BYTES, f"std::numeric_limits<{cpp}>::max()")
            self.call += [f"{data.name}_.data()", f"{data.name}_.size<{cpp}>()"]
            return 2
        names = tuple(item.name for item in self.arguments)
        if names[-4:] == _PIXELS:
            parse = ", ".join(f"{name}_.get()" for name in _PIXELS)
            self.add(data, "PixelsArgument", _BYTES, parse)
            self.call.append(f"{data.name}_.data()")
            return 1
        raise self.fail(f"memory '{data.name}' without a size")

    def take_value(self, item: Parameter) -> None:
        match = _POINTER.match(item.type)
        bare = item.type.removeprefix(PREFIX)
        call = f"{item.name}_.get()"
        if item.type == "const char*":
            if self.nullable(item):
                self.add(item, "OptionalStringArgument", "str | None")
            elif not self.arguments and self.function.name in tables.NAME_A_PLUGIN:
                self.add(item, "PluginNameArgument", "str")
            else:
                self.add(item, "StringArgument", "str")
        elif item.type in _INTEGERS:
            self.add(item, f"NumberArgument<{_INTEGERS[item.type]}>", "int")
        elif item.type in ("float", "double"):
            self.add(item, f"NumberArgument<{item.type}>", "float")
        elif bare in self.enumerations:
            self.add(item, f"EnumArgument<{item.type}>", f"{bare} | int")
        elif match and match[2] in self.header.handles:
            if not self.arguments and not self.class_name:
                self.class_name = match[2]
                self.self_type = item.type[:-1]
                call = "self"
            elif self.nullable(item):
                cpp = f"OptionalHandleArgument<{PREFIX}{match[2]}>"
                self.add(item, cpp, f"{match[2]} | None")
            else:
                self.add(item, f"HandleArgument<{PREFIX}{match[2]}>", match[2])
        else:
            raise self.fail(f"argument '{item.name}' of type {item.type}")
        self.call.append(call)

    def finish(self) -> Operation:
        statement, python, result = self.results()
        name = self.function.name
        official = tables.OFFICIAL_RESULTS.get(name, ("", "", ""))
        return Operation(
            name=name,
            class_name=self.class_name,
            self_type=self.self_type,
            arguments=tuple(self.arguments),
            outputs=tuple(self.outputs),
            statement=statement,
            result=result,
            python_result=python,
            documentation=self.function.documentation,
            pure=name in tables.PURE,
            since=self.function.since,
            official_python=official[0],
            official_result=official[1].format(*(item.name for item in self.outputs)),
            official_returns=official[2],
        )

    def results(self) -> tuple[str, str, str]:
        call = f"{PREFIX}{self.function.name}({', '.join(self.call)})"
        returns = self.function.returns
        if returns == f"{PREFIX}ErrorCode":
            return f"return {call};", *self.from_outputs()
        if self.outputs:
            raise self.fail(f"results beside a return value of type {returns}")
        if returns == "void":
            return f"{call};\nreturn OrthancPluginErrorCode_Success;", "None", "py::none()"
        bare = returns.removeprefix(PREFIX)
        match = _POINTER.match(returns)
        value, initial = call, ""
        if returns == "char*":
            cpp, python, value = "StringResult", "str", f"context, {call}"
        elif returns == "const char*":
            text = self.function.documentation.returns
            optional = "NULL" in text or self.function.name in _MAY_BE_NULL
            cpp, python = "BorrowedStringResult", "str | None" if optional else "str"
        elif returns in _INTEGERS:
            cpp, python = f"NumberResult<{_INTEGERS[returns]}>", "int"
        elif bare in self.enumerations:
            cpp, python, initial = f"EnumResult<{returns}>", bare, f'"{bare}"'
        elif match and match[2] in self.header.handles and not match[1]:
            cpp, python = f"HandleResult<{PREFIX}{match[2]}>", match[2]
        else:
            raise self.fail(f"return type {returns}")
        self.outputs.append(Output("outcome", cpp, initial))
        return f"return outcome_.set({value});", python, "outcome_.take()"

    def from_outputs(self) -> tuple[str, str]:
        names = tuple(item.name for item in self.outputs)
        types = tuple(item.cpp_type for item in self.outputs)
        if not names:
            return "None", "py::none()"
        if names == _ANSWER:
            result = f"http_answer({', '.join(f'{name}_' for name in names)})"
            return "tuple[int, dict[str, str], bytes]", result
        if len(names) == 1:
            python = "bytes" if types[0] in _BUFFERS.values() else "int"
            if types[0] == "FlagResult":
                python = "bool"
            return python, f"{names[0]}_.take()"
        if types == ("FlagResult", "MemoryBufferResult"):
            flag, target = names
            return "bytes | None", f"{flag}_.get() ? {target}_.take() : py::object(py::none())"
        if types[:2] == ("FlagResult", "MemoryBufferResult"):
            flag, *found = (f"{name}_" for name in names)
            pair = f"py::object(py::make_tuple({', '.join(f'{name}.take()' for name in found)}))"
            # None for each, as in the official plugin.
            nothing = f"py::object(py::make_tuple({', '.join(['py::none()'] * len(found))}))"
            return _RESERVED, f"{flag}.get() ? {pair} : {nothing}"
        if self.function.name in tables.TUPLES:
            members, takes = tables.TUPLES[self.function.name]
            results = (f"{name}_.{take}()" for name, take in zip(names, takes, strict=True))
            return f"tuple[{', '.join(members)}]", f"py::make_tuple({', '.join(results)})"
        raise self.fail(f"results {', '.join(names)}")


def _by_hand(operation: Operation) -> Operation:
    python = {
        "CreateImageAccessor": "Image",
        "ExtendOrthancExplorer": "None",
        "ExtendOrthancExplorer2": "None",
        "GetImageBuffer": "bytes",
        "GetInstanceData": "bytes",
        "LookupDictionary": "dict[str, int]",
    }
    result = python.get(operation.name, "str")
    return replace(operation, python_result=result, hand_written=True)


def _create_image_from_buffer(header: Header) -> list[Operation]:
    """Describe the one function of the official plugin that the header does not have."""
    found = [item for item in header.functions if item.name == "CompressPngImage"]
    if not found:
        return []
    function = found[0]
    parameters = function.documentation.parameters
    documentation = Documentation(
        brief="Create an image from pixels.",
        details="The pixels are copied.",
        parameters={name: parameters.get(name, "") for name in (*_PIXELS, "buffer")},
        returns="The new image.",
    )
    builder = _Builder(
        header,
        replace(
            function,
            name="CreateImageFromBuffer",
            returns=f"{PREFIX}Image*",
            parameters=function.parameters[1:],
            documentation=documentation,
        ),
        frozenset(item.name for item in header.enumerations),
    )
    builder.parameters()
    return [replace(builder.finish(), hand_written=True)]


def _find_query_tag(header: Header, operations: list[Operation]) -> list[Operation]:
    """Describe the two methods of the official plugin that share one function of the header."""
    if all(item.name != "GetFindQueryTag" for item in header.functions):
        return []
    found = [item for item in operations if item.name == "GetFindQueryValue"]
    return [
        replace(
            value,
            name=f"GetFindQueryTag{half}",
            outputs=(
                Output("group", "NumberResult<std::uint16_t>"),
                Output("element", "NumberResult<std::uint16_t>"),
            ),
            statement=(
                f"return {PREFIX}GetFindQueryTag(context, group_.out(), element_.out(), self, "
                "index_.get());"
            ),
            result=f"{half.lower()}_.take()",
            python_result="int",
            documentation=replace(
                value.documentation,
                brief=f"Get the {half.lower()} of one tag in a C-Find query.",
                details="",
                returns=f"The {half.lower()}'s number.",
            ),
        )
        for value in found
        for half in ("Group", "Element")
    ]


def _operation(header: Header, function: Function, enumerations: frozenset[str]) -> Operation:
    by_hand = function.name in tables.HAND_WRITTEN_OPERATIONS
    if by_hand:
        # Its pointers mean what the header's types do not tell: only the inputs are read.
        outputs = {f"{PREFIX}DictionaryEntry*"}
        if any(item.is_callback for item in function.parameters):
            outputs.add("void*")  # what the callback is handed
        inputs = tuple(
            replace(item, type="const void*") if item.type == "void*" else item
            for item in function.parameters
            if item.type not in outputs
        )
        function = replace(function, parameters=inputs, returns="void")
    builder = _Builder(header, function, enumerations, by_hand)
    builder.parameters()
    operation = builder.finish()
    return _by_hand(operation) if by_hand else operation


def _excluded(header: Header, function: Function) -> str:
    """Return why a function is left out, or an empty string."""
    if function.name in tables.EXCLUDED:
        return tables.EXCLUDED[function.name]
    pointers = (_POINTER.match(item.type) for item in function.parameters)
    handle = next((item[2] for item in pointers if item and item[2] in header.handles), "")
    return tables.EXCLUDED_CLASSES.get(handle, "")


def _classes(header: Header, operations: list[Operation]) -> tuple[HandleClass, ...]:
    functions = {item.name for item in header.functions}
    classes = []
    used = {item.class_name for item in operations} | {item.python_result for item in operations}
    for name in sorted(header.handles & used):
        free = f"Free{name}" if f"Free{name}" in functions else ""
        methods = tuple(item for item in operations if item.class_name == name)
        by_hand = name in tables.HAND_WRITTEN_CLASSES
        if not free and not by_hand and name not in tables.BORROWED_CLASSES:
            msg = (
                f"{PREFIX}{name} has no function that frees it: name it in tables.py, among "
                "EXCLUDED_CLASSES, BORROWED_CLASSES or HAND_WRITTEN_CLASSES"
            )
            raise CodegenError(msg)
        classes.append(HandleClass(name, free, methods, by_hand))
    return tuple(classes)


def build_sdk(header: Header) -> Sdk:
    """Turn a header into operations.

    Raises:
        CodegenError: A function has a shape that is not known; its name is in the text.

    """
    enumerations = frozenset(item.name for item in header.enumerations)
    operations: list[Operation] = []
    excluded: dict[str, str] = {}
    stubs = stubs_for(frozenset(item.name for item in header.functions))
    by_hand = {name for item in stubs for name in item.functions} | set(tables.HAND_WRITTEN)
    hand_written: list[str] = []
    for function in header.functions:
        if function.name in by_hand:
            hand_written.append(function.name)
        elif reason := _excluded(header, function):
            excluded[function.name] = reason
        else:
            operations.append(_operation(header, function, enumerations))
    operations += _create_image_from_buffer(header)
    operations += _find_query_tag(header, operations)
    return Sdk(
        version=header.version,
        enumerations=header.enumerations,
        functions=tuple(item for item in operations if not item.class_name),
        classes=_classes(header, operations),
        stubs=stubs,
        hand_written=tuple(hand_written),
        excluded=excluded,
    )
