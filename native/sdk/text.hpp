// C strings of Orthanc's to Python text.
#pragma once

#include <pybind11/pybind11.h>

#include <cstring>

namespace orthanc_async::sdk {

// Bytes that are not UTF-8 become surrogates, so that they can be handed on. GIL: held.
inline pybind11::object to_text(const char* text) {
    PyObject* const decoded = PyUnicode_DecodeUTF8(
        text, static_cast<Py_ssize_t>(std::strlen(text)), "surrogateescape");
    if (decoded == nullptr) {
        throw pybind11::error_already_set();
    }
    return pybind11::reinterpret_steal<pybind11::object>(decoded);
}

} // namespace orthanc_async::sdk
