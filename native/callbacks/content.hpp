// Bytes that a handler has returned, until Orthanc's thread has copied them.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

#include "../runtime/kept.hpp"

namespace orthanc_async::callbacks {

// The copy is made by the waiting thread: a large file keeps neither the loop nor the GIL busy.
class Content {
public:
    // Throws TypeError unless `result` is bytes or another buffer. `what`: "a storage area's
    // read", for the message. GIL: held.
    void take(const pybind11::object& result, const std::string& what) {
        pybind11::object bytes = result;
        if (PyBytes_CheckExact(result.ptr()) == 0) {
            if (PyObject_CheckBuffer(result.ptr()) == 0) {
                throw pybind11::type_error(what + " returns bytes, not " +
                                           std::string(Py_TYPE(result.ptr())->tp_name));
            }
            // Another buffer may change while it is copied.
            bytes =
                pybind11::reinterpret_steal<pybind11::object>(PyBytes_FromObject(result.ptr()));
            if (!bytes) {
                throw pybind11::error_already_set();
            }
        }
        data_ = PyBytes_AS_STRING(bytes.ptr());
        size_ = static_cast<std::uint64_t>(PyBytes_GET_SIZE(bytes.ptr()));
        owner_ = runtime::keep(bytes);
    }

    // GIL: any.
    const void* data() const { return data_; }
    std::uint64_t size() const { return size_; }

private:
    runtime::Kept owner_;
    const char* data_ = nullptr;
    std::uint64_t size_ = 0;
};

} // namespace orthanc_async::callbacks
