#include "arguments.hpp"

#include <cstdio>
#include <cstring>

namespace orthanc_async::sdk {

namespace {

constexpr std::size_t longest_quoted = 200;

[[noreturn]] void raise(PyObject* type, const std::string& text) {
    PyErr_SetString(type, text.c_str());
    throw py::error_already_set();
}

std::string place(const Argument& argument) {
    return std::string(argument.function) + "() argument '" + argument.name + "'";
}

// Length of the valid UTF-8 sequence at `index`, 0 if there is none.
std::size_t sequence_length(std::string_view value, std::size_t index) {
    const auto byte = [&](std::size_t offset) {
        return static_cast<unsigned char>(value[index + offset]);
    };
    const unsigned char first = byte(0);
    std::size_t length = 0;
    if (first >= 0xc2 && first <= 0xdf) {
        length = 2;
    } else if (first >= 0xe0 && first <= 0xef) {
        length = 3;
    } else if (first >= 0xf0 && first <= 0xf4) {
        length = 4;
    }
    if (length == 0 || index + length > value.size()) {
        return 0;
    }
    for (std::size_t offset = 1; offset < length; ++offset) {
        if ((byte(offset) & 0xc0) != 0x80) {
            return 0;
        }
    }
    // What has four allowed bytes and still is no character: too long forms, surrogates, > 10FFFF.
    if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f) ||
        (first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f)) {
        return 0;
    }
    return length;
}

// Encodes a str; `owner` keeps the memory. False with no Python error set: `value` is no str.
bool encode(PyObject* value, py::object& owner, const char*& data, std::size_t& size) {
    if (!PyUnicode_Check(value)) {
        return false;
    }
    Py_ssize_t length = 0;
    data = PyUnicode_AsUTF8AndSize(value, &length); // cached inside the str
    if (data != nullptr) {
        owner = py::reinterpret_borrow<py::object>(value);
    } else {
        PyErr_Clear(); // lone surrogates
        PyObject* encoded = PyUnicode_AsEncodedString(value, "utf-8", "surrogateescape");
        if (encoded == nullptr) {
            throw py::error_already_set();
        }
        owner = py::reinterpret_steal<py::object>(encoded);
        data = PyBytes_AS_STRING(encoded);
        length = PyBytes_GET_SIZE(encoded);
    }
    size = static_cast<std::size_t>(length);
    return true;
}

} // namespace

void Argument::wrong_type(const char* expected) const {
    raise(PyExc_TypeError,
          place(*this) + " must be " + expected + ", not " + Py_TYPE(value)->tp_name);
}

void Argument::wrong_value(const std::string& what) const {
    raise(PyExc_ValueError, place(*this) + " " + what);
}

Arguments::Arguments(const char* function, const char* parameters, Py_ssize_t expected,
                     PyObject* const* values, Py_ssize_t count)
    : function_(function), values_(values) {
    if (count != expected) {
        std::string text = std::string(function) + "() takes ";
        if (expected == 0) {
            text += "no arguments";
        } else {
            text += std::to_string(expected) + (expected == 1 ? " argument (" : " arguments (") +
                    parameters + ")";
        }
        raise(PyExc_TypeError, text + ", " + std::to_string(count) + " given");
    }
}

void append_quoted(std::string& text, std::string_view value) {
    text += '\'';
    std::size_t index = 0;
    while (index < value.size() && index < longest_quoted) {
        const auto character = static_cast<unsigned char>(value[index]);
        std::size_t length = 1;
        if (character >= 0x80) {
            length = sequence_length(value, index);
        }
        if (length == 0 || character < 0x20 || character == 0x7f) {
            char escaped[8];
            std::snprintf(escaped, sizeof(escaped), "\\x%02x", character);
            text += escaped;
            length = 1;
        } else {
            if (character == '\'' || character == '\\') {
                text += '\\';
            }
            text.append(value, index, length);
        }
        index += length;
    }
    text += '\'';
    if (index < value.size()) {
        text += "...";
    }
}

void StringArgument::parse(const Argument& argument) {
    if (!encode(argument.value, owner_, data_, size_)) {
        argument.wrong_type("str");
    }
    if (std::memchr(data_, 0, size_) != nullptr) {
        argument.wrong_value(
            "must not contain a NUL character: the C interface would cut it there");
    }
}

void StringArgument::describe(std::string& text) const {
    if (data_ == nullptr) {
        text += "None";
    } else {
        append_quoted(text, std::string_view(data_, size_));
    }
}

void OptionalStringArgument::parse(const Argument& argument) {
    if (argument.value == Py_None) {
        return;
    }
    if (!PyUnicode_Check(argument.value)) {
        argument.wrong_type("str or None");
    }
    StringArgument::parse(argument);
}

BytesArgument::~BytesArgument() {
    if (viewed_) {
        PyBuffer_Release(&view_);
    }
}

void BytesArgument::parse(const Argument& argument, std::uint64_t most) {
    std::size_t length = 0;
    if (encode(argument.value, owner_, data_, length)) {
        size_ = length;
    } else {
        if (!PyObject_CheckBuffer(argument.value)) {
            argument.wrong_type("bytes, another buffer or str");
        }
        if (PyObject_GetBuffer(argument.value, &view_, PyBUF_SIMPLE) != 0) {
            PyErr_Clear();
            argument.wrong_value("must be contiguous memory: pass bytes(...) of it");
        }
        viewed_ = true;
        data_ = static_cast<const char*>(view_.buf);
        size_ = static_cast<std::uint64_t>(view_.len);
    }
    if (size_ > most) {
        argument.wrong_value("has " + std::to_string(size_) + " bytes, the SDK takes at most " +
                             std::to_string(most));
    }
}

std::unique_ptr<Py_buffer> BytesArgument::take_view() {
    if (!viewed_) {
        return nullptr;
    }
    auto view = std::make_unique<Py_buffer>(view_);
    viewed_ = false;
    return view;
}

void BytesArgument::describe(std::string& text) const {
    text += '<' + std::to_string(size_) + " bytes>";
}

std::int64_t parse_integer(const Argument& argument, std::int64_t least, std::int64_t most) {
    if (PyIndex_Check(argument.value) == 0) {
        argument.wrong_type("int");
    }
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(argument.value));
    if (!number) {
        throw py::error_already_set();
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
    if (overflow != 0 || value < least || value > most) {
        argument.wrong_value("must lie between " + std::to_string(least) + " and " +
                             std::to_string(most) + ", not " +
                             py::cast<std::string>(py::str(number)));
    }
    return value;
}

std::uint64_t parse_unsigned(const Argument& argument) {
    if (PyIndex_Check(argument.value) == 0) {
        argument.wrong_type("int");
    }
    const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(argument.value));
    if (!number) {
        throw py::error_already_set();
    }
    const unsigned long long value = PyLong_AsUnsignedLongLong(number.ptr());
    if (PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        argument.wrong_value("must lie between 0 and 18446744073709551615");
    }
    return value;
}

double parse_real(const Argument& argument) {
    const double value = PyFloat_AsDouble(argument.value);
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) {
            throw py::error_already_set();
        }
        PyErr_Clear();
        argument.wrong_type("float or int");
    }
    return value;
}

void HeadersArgument::parse(const Argument& argument) {
    if (argument.value == Py_None) {
        return;
    }
    if (!PyDict_Check(argument.value)) {
        argument.wrong_type("dict of str to str, or None");
    }
    PyObject* key = nullptr;
    PyObject* value = nullptr;
    Py_ssize_t position = 0;
    owners_.reserve(2 * static_cast<std::size_t>(PyDict_Size(argument.value)));
    while (PyDict_Next(argument.value, &position, &key, &value) != 0) {
        if (!PyUnicode_Check(key) || !PyUnicode_Check(value)) {
            raise(PyExc_TypeError, place(argument) + " must map str to str, not " +
                                       Py_TYPE(key)->tp_name + " to " + Py_TYPE(value)->tp_name);
        }
        for (PyObject* part : {key, value}) {
            owners_.emplace_back().parse({argument.function, argument.name, part});
        }
    }
    // Pointers only now: the strings' memory belongs to Python and does not move.
    for (std::size_t index = 0; index < owners_.size(); index += 2) {
        keys_.push_back(owners_[index].get());
        values_.push_back(owners_[index + 1].get());
    }
}

void HeadersArgument::describe(std::string& text) const {
    text += '{';
    for (std::size_t index = 0; index < keys_.size(); ++index) {
        if (index != 0) {
            text += ", ";
        }
        append_quoted(text, keys_[index]);
    }
    text += '}';
}

std::uint32_t bytes_per_pixel(OrthancPluginPixelFormat format) {
    switch (format) {
    case OrthancPluginPixelFormat_Grayscale8:
        return 1;
    case OrthancPluginPixelFormat_Grayscale16:
    case OrthancPluginPixelFormat_SignedGrayscale16:
        return 2;
    case OrthancPluginPixelFormat_RGB24:
        return 3;
    case OrthancPluginPixelFormat_RGBA32:
    case OrthancPluginPixelFormat_BGRA32:
    case OrthancPluginPixelFormat_Grayscale32:
    case OrthancPluginPixelFormat_Float32:
        return 4;
    case OrthancPluginPixelFormat_RGB48:
        return 6;
    case OrthancPluginPixelFormat_Grayscale64:
        return 8;
    default:
        return 0;
    }
}

void PixelsArgument::parse(const Argument& argument, OrthancPluginPixelFormat format,
                           std::uint32_t width, std::uint32_t height, std::uint32_t pitch) {
    BytesArgument::parse(argument, std::numeric_limits<std::uint64_t>::max());
    const std::uint64_t row = std::uint64_t{bytes_per_pixel(format)} * width;
    if (row == 0 && width != 0) {
        argument.wrong_value("cannot be checked: pixel format " +
                             std::to_string(static_cast<int>(format)) + " is not known");
    }
    if (pitch < row) {
        argument.wrong_value("has a pitch of " + std::to_string(pitch) + " bytes, a row of " +
                             std::to_string(width) + " pixels needs " + std::to_string(row));
    }
    const std::uint64_t needed = height == 0 ? 0 : std::uint64_t{pitch} * (height - 1) + row;
    if (size<std::uint64_t>() < needed) {
        argument.wrong_value("has " + std::to_string(size<std::uint64_t>()) +
                             " bytes, an image of this width, height and pitch needs " +
                             std::to_string(needed));
    }
}

} // namespace orthanc_async::sdk
