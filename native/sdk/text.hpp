// Small conversions to Python objects.
#pragma once

#include <pybind11/pybind11.h>

#include <cstring>

namespace orthanc_async::sdk {

// Bytes that are not UTF-8 become surrogates, so that they can be handed on. GIL: held.
inline pybind11::object to_text(const char* text) {
    PyObject* const decoded =
        PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(std::strlen(text)), "surrogateescape");
    if (decoded == nullptr) {
        throw pybind11::error_already_set();
    }
    return pybind11::reinterpret_steal<pybind11::object>(decoded);
}

// The exception with its traceback, which pybind11 keeps beside it. GIL: held.
inline pybind11::object exception_of(const pybind11::error_already_set& error) {
    if (error.trace()) {
        PyException_SetTraceback(error.value().ptr(), error.trace().ptr());
    }
    return error.value();
}

// Names and values of HTTP headers or of a query. GIL: held. Throws.
inline pybind11::dict to_text_map(std::uint32_t count, const char* const* keys,
                                  const char* const* values) {
    pybind11::dict map;
    for (std::uint32_t i = 0; i < count; ++i) {
        // Every request needs it: half of what pybind11's accessors cost.
        if (PyDict_SetItem(map.ptr(), to_text(keys[i]).ptr(), to_text(values[i]).ptr()) != 0) {
            throw pybind11::error_already_set();
        }
    }
    return map;
}

} // namespace orthanc_async::sdk
