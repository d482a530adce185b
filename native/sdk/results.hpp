// What an SDK function hands out, freed whatever happens, and turned into Python objects.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "handles.hpp"
#include "memory_buffer.hpp"

namespace orthanc_async::sdk {

// out()/set(): GIL not held; they touch nothing of Python.
// take(): GIL held; throws error_already_set.
// Destructors: any thread, GIL any. Memory is freed with the context's own function, whose address
// is kept: it stays valid when Orthanc has stopped and the context itself is gone.

py::object to_bytes(const void* data, std::uint64_t size);
// Above this size a copy takes longer than a way to another thread and back.
constexpr std::uint64_t large_copy = 1024 * 1024;
py::object new_bytes(std::uint64_t size); // to be filled before anybody sees it
// As to_bytes(), but gives the GIL up while a large one is copied.
py::object copy_bytes(const void* data, std::uint64_t size);
py::object to_str(const char* text, std::size_t size); // UTF-8, surrogateescape for the rest
py::object to_enum(const char* enumeration, std::int64_t value); // an int where no member is

class NoResult {
public:
    OrthancPluginErrorCode set() { return OrthancPluginErrorCode_Success; }
    py::object take() const { return py::none(); }
};

template <class Buffer> class BufferResult {
public:
    BufferResult() = default;
    BufferResult(const BufferResult&) = delete;
    BufferResult& operator=(const BufferResult&) = delete;
    ~BufferResult() {
        clear();
        Py_XDECREF(bytes_); // only set for an awaited call, which ends under the GIL
    }

    Buffer* out(OrthancPluginContext* context) {
        clear();
        free_ = context->Free;
        return &buffer_;
    }
    const Buffer& get() const { return buffer_; }

    // Copies a large result into its bytes object ahead of take(), on a worker: the memory's first
    // touch and the copy then keep neither the loop nor the GIL busy, and run on several cores.
    // Thread: worker. GIL: not held; taken for a moment.
    void prepare() {
        constexpr std::uint64_t worth_it = 64 * 1024;
        if (without_copy_ || buffer_.size < worth_it) {
            return;
        }
        char* target = nullptr;
        {
            const runtime::WithGil with;
            bytes_ = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(buffer_.size));
            if (bytes_ == nullptr) {
                PyErr_Clear(); // take() tries again, where it can be reported
            } else {
                target = PyBytes_AS_STRING(bytes_);
            }
        }
        if (target != nullptr) {
            std::memcpy(target, buffer_.data, buffer_.size); // nobody else has seen the object yet
            clear();
        }
    }

    py::object take() {
        if (bytes_ != nullptr) {
            return py::reinterpret_steal<py::object>(std::exchange(bytes_, nullptr));
        }
        if (without_copy_) {
            const std::uint64_t size = buffer_.size;
            return make_memory_buffer(std::exchange(buffer_.data, nullptr), size, free_);
        }
        py::object bytes = to_bytes(buffer_.data, buffer_.size);
        clear();
        return bytes;
    }

    // The same for what is UTF-8.
    py::object take_text() const {
        return to_str(static_cast<const char*>(buffer_.data), buffer_.size);
    }

private:
    void clear() {
        if (buffer_.data != nullptr && free_ != nullptr) {
            free_(buffer_.data);
        }
        buffer_.data = nullptr;
        buffer_.size = 0;
    }
    Buffer buffer_{};
    Free free_ = nullptr;
    PyObject* bytes_ = nullptr; // owned
    const bool without_copy_ = take_without_copy();
};

using MemoryBufferResult = BufferResult<OrthancPluginMemoryBuffer>;
using MemoryBuffer64Result = BufferResult<OrthancPluginMemoryBuffer64>;

// A string that the SDK allocated for us. NULL is the SDK's only sign of failure there.
class StringResult {
public:
    StringResult() = default;
    StringResult(const StringResult&) = delete;
    StringResult& operator=(const StringResult&) = delete;
    ~StringResult();

    OrthancPluginErrorCode set(OrthancPluginContext* context, char* text) {
        text_ = text;
        free_ = context->Free;
        return text == nullptr ? OrthancPluginErrorCode_InternalError
                               : OrthancPluginErrorCode_Success;
    }
    py::object take() const;

private:
    char* text_ = nullptr;
    Free free_ = nullptr;
};

// A string that Orthanc keeps, copied at once because its owner may be gone at take(). NULL means
// that there is none (a peer without that property): None.
class BorrowedStringResult {
public:
    OrthancPluginErrorCode set(const char* text) noexcept;
    py::object take() const;

private:
    bool found_ = false;
    std::string text_;
};

template <class T> class NumberResult {
public:
    OrthancPluginErrorCode set(T value) {
        value_ = value;
        return OrthancPluginErrorCode_Success;
    }
    T* out() { return &value_; }
    T get() const { return value_; }
    py::object take() const { return py::int_(value_); }

private:
    T value_{};
};

// A flag that the SDK writes as a byte.
class FlagResult {
public:
    std::uint8_t* out() { return &value_; }
    bool get() const { return value_ != 0; }
    py::object take() const { return py::bool_(get()); }

private:
    std::uint8_t value_ = 0;
};

template <class T> class EnumResult {
public:
    explicit EnumResult(const char* enumeration) : enumeration_(enumeration) {}
    OrthancPluginErrorCode set(T value) {
        value_ = value;
        return OrthancPluginErrorCode_Success;
    }
    T* out() { return &value_; }
    py::object take() const { return to_enum(enumeration_, static_cast<std::int64_t>(value_)); }

private:
    const char* enumeration_;
    T value_{};
};

// A new SDK object. NULL is the SDK's only sign of failure there.
template <class T> class HandleResult {
public:
    HandleResult() = default;
    HandleResult(const HandleResult&) = delete;
    HandleResult& operator=(const HandleResult&) = delete;
    ~HandleResult() { release_handle(pointer_); }

    OrthancPluginErrorCode set(T* pointer) {
        pointer_ = pointer;
        return pointer == nullptr ? OrthancPluginErrorCode_InternalError
                                  : OrthancPluginErrorCode_Success;
    }
    py::object take() {
        T* const pointer = pointer_;
        pointer_ = nullptr; // adopt_handle owns it from here, also when it throws
        return adopt_handle(pointer);
    }

private:
    T* pointer_ = nullptr;
};

// Memory inside an SDK object: copied at take(), so the object must live until then.
class BorrowedBytesResult {
public:
    OrthancPluginErrorCode set(const void* data, std::uint64_t size) {
        data_ = data;
        size_ = size;
        return data == nullptr && size != 0 ? OrthancPluginErrorCode_InternalError
                                            : OrthancPluginErrorCode_Success;
    }
    py::object take() const { return to_bytes(data_, size_); }

private:
    const void* data_ = nullptr;
    std::uint64_t size_ = 0;
};

} // namespace orthanc_async::sdk
