#include "results.hpp"

#include <cstring>
#include <new>

#include "../runtime/gil.hpp"

namespace orthanc_async::sdk {

namespace {

py::object steal(PyObject* object) {
    if (object == nullptr) {
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::object>(object);
}

} // namespace

py::object to_bytes(const void* data, std::uint64_t size) {
    return steal(
        PyBytes_FromStringAndSize(static_cast<const char*>(data), static_cast<Py_ssize_t>(size)));
}

py::object new_bytes(std::uint64_t size) {
    return steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
}

py::object copy_bytes(const void* data, std::uint64_t size) {
    if (size < large_copy) {
        return to_bytes(data, size);
    }
    py::object bytes = new_bytes(size);
    {
        const runtime::WithoutGil without; // nobody else has seen the object yet
        std::memcpy(PyBytes_AS_STRING(bytes.ptr()), data, size);
    }
    return bytes;
}

py::object to_str(const char* text, std::size_t size) {
    return steal(PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(size), "surrogateescape"));
}

py::object to_enum(const char* enumeration, std::int64_t value) {
    py::int_ number(value);
    try {
        return py::module_::import("orthanc").attr(enumeration)(number);
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_ValueError)) {
            throw;
        }
        return number; // a newer Orthanc than this header
    }
}

StringResult::~StringResult() {
    if (text_ != nullptr && free_ != nullptr) {
        free_(text_);
    }
}

py::object StringResult::take() const {
    return to_str(text_, std::strlen(text_));
}

OrthancPluginErrorCode BorrowedStringResult::set(const char* text) noexcept {
    found_ = text != nullptr;
    try {
        text_ = found_ ? text : "";
    } catch (const std::bad_alloc&) {
        return OrthancPluginErrorCode_NotEnoughMemory;
    }
    return OrthancPluginErrorCode_Success;
}

py::object BorrowedStringResult::take() const {
    if (!found_) {
        return py::none();
    }
    return to_str(text_.data(), text_.size());
}

} // namespace orthanc_async::sdk
