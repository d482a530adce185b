// What Orthanc asks of a storage area: to store, read and remove a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "../sdk/dicom_instance.hpp"
#include "../sdk/function_here.hpp"
#include "../sdk/results.hpp"
#include "content.hpp"
#include "core_locks.hpp"
#include "question.hpp"

namespace orthanc_async::callbacks {

// Which locks Orthanc holds while it asks. Set when a storage area is registered.
struct StorageLocks {
    // GetDicomForInstance keeps the mutex that nearly every SDK function takes: until 1.12.2.
    bool one_call_at_a_time = false;
    // The index is locked while the files of a transaction are removed: with SQLite.
    bool index_is_locked = false;

    static StorageLocks find(OrthancPluginContext* context);
};
StorageLocks& storage_locks();

// Whether the call (as text) reads Orthanc's index.
bool needs_index(const std::string& call);

class FileQuestion : public Question {
public:
    FileQuestion(const char* verb, const char* uuid, OrthancPluginContentType type)
        : verb_(verb), uuid_(uuid), type_(type) {}
    std::string describe() const override { return verb_ + (" file " + uuid_); }

    // What Orthanc gets when the handler has answered.
    OrthancPluginErrorCode code() const { return code_; }

protected:
    pybind11::object uuid() const { return sdk::to_str(uuid_.data(), uuid_.size()); }
    pybind11::object type() const { return sdk::to_enum("ContentType", type_); }

    // The answer of a callback that returns an error code, alone or in a tuple.
    void take_code(const pybind11::object& result, const std::string& expected) {
        if (PyLong_Check(result.ptr()) == 0) {
            throw pybind11::type_error(expected + ", not " + std::string(pybind11::repr(result)));
        }
        code_ = static_cast<OrthancPluginErrorCode>(result.cast<int>());
    }
    pybind11::object take_pair(const pybind11::object& result, const std::string& expected) {
        if (!pybind11::isinstance<pybind11::tuple>(result) || pybind11::len(result) != 2) {
            throw pybind11::type_error(expected + ", not " + std::string(pybind11::repr(result)));
        }
        const auto pair = pybind11::reinterpret_borrow<pybind11::tuple>(result);
        take_code(pair[0], expected);
        return pair[1];
    }

private:
    const char* verb_;
    const std::string uuid_;
    const OrthancPluginContentType type_;
    OrthancPluginErrorCode code_ = OrthancPluginErrorCode_Success;
};

// Borrowed: the content is copied once, into the bytes of the handler.
class CreateQuestion final : public FileQuestion {
public:
    CreateQuestion(const char* uuid, OrthancPluginContentType type, const void* content,
                   std::uint64_t size)
        : FileQuestion("storing", uuid, type), content_(content), size_(size) {}

    // For an area with custom data.
    void extend(OrthancPluginCompressionType compression,
                std::shared_ptr<sdk::BorrowedInstance> instance) {
        with_custom_data_ = true;
        compression_ = compression;
        instance_ = std::move(instance);
    }

    pybind11::tuple arguments() override {
        if (!with_custom_data_) {
            return pybind11::make_tuple(uuid(), type(), sdk::to_bytes(content_, size_));
        }
        const pybind11::object dicom = instance_ ? sdk::make_borrowed_instance(instance_)
                                                 : pybind11::object(pybind11::none());
        return pybind11::make_tuple(uuid(), type(), sdk::to_enum("CompressionType", compression_),
                                    sdk::to_bytes(content_, size_), dicom);
    }
    void take(const pybind11::object& result) override {
        if (!with_custom_data_) {
            return;
        }
        const std::string expected =
            "a storage area's create returns a tuple of an ErrorCode and the custom data";
        const pybind11::object custom_data = take_pair(result, expected);
        if (!custom_data.is_none()) {
            custom_data_.take(custom_data, "a storage area's create, beside the ErrorCode,");
        }
        if (custom_data_.size() > UINT32_MAX) {
            throw pybind11::value_error("custom data of 4 GB or more");
        }
    }

    const Content& custom_data() const { return custom_data_; }

private:
    const void* const content_;
    const std::uint64_t size_;
    bool with_custom_data_ = false;
    int compression_ = 0; // an OrthancPluginCompressionType
    std::shared_ptr<sdk::BorrowedInstance> instance_;
    Content custom_data_;
};

// Borrowed until the call ends.
struct CustomData {
    const void* data;
    std::uint32_t size;
};

class ReadQuestion final : public FileQuestion {
public:
    ReadQuestion(const char* uuid, OrthancPluginContentType type)
        : FileQuestion("reading", uuid, type),
          under_context_(storage_locks().one_call_at_a_time &&
                         sdk::FunctionHere::is("GetDicomForInstance")) {}

    void of_range(std::uint64_t start, std::uint64_t size) {
        is_range_ = true;
        start_ = start;
        size_ = size;
    }
    void extend(const CustomData& custom_data) {
        with_custom_data_ = true;
        custom_data_ = custom_data;
    }

    pybind11::tuple arguments() override {
        if (!is_range_) {
            return pybind11::make_tuple(uuid(), type());
        }
        if (!with_custom_data_) {
            return pybind11::make_tuple(uuid(), type(), start_, size_);
        }
        return pybind11::make_tuple(uuid(), type(), start_, size_,
                                    sdk::to_bytes(custom_data_.data, custom_data_.size));
    }
    void take(const pybind11::object& result) override {
        const std::string what = "a storage area's read";
        pybind11::object content = result;
        if (with_custom_data_) {
            content = take_pair(result, what + " returns a tuple of an ErrorCode and the content");
            if (code() != OrthancPluginErrorCode_Success) {
                return;
            }
        }
        content_.take(content, what);
        if (is_range_ && content_.size() != size_) {
            throw pybind11::value_error("of the " + std::to_string(size_) + " bytes from " +
                                        std::to_string(start_) + " on, " +
                                        std::to_string(content_.size()) + " came back");
        }
    }
    bool would_hang(const std::string& call) const override {
        return under_context_ && needs_context(call);
    }

    const Content& content() const { return content_; }

private:
    const bool under_context_;
    bool is_range_ = false;
    bool with_custom_data_ = false;
    std::uint64_t start_ = 0;
    std::uint64_t size_ = 0;
    CustomData custom_data_{};
    Content content_;
};

class RemoveQuestion final : public FileQuestion {
public:
    RemoveQuestion(const char* uuid, OrthancPluginContentType type)
        : FileQuestion("removing", uuid, type) {}

    void extend(const CustomData& custom_data) {
        with_custom_data_ = true;
        custom_data_ = custom_data;
    }

    pybind11::tuple arguments() override {
        if (!with_custom_data_) {
            return pybind11::make_tuple(uuid(), type());
        }
        return pybind11::make_tuple(uuid(), type(),
                                    sdk::to_bytes(custom_data_.data, custom_data_.size));
    }
    void take(const pybind11::object& result) override {
        if (with_custom_data_) {
            take_code(result, "a storage area's remove returns an ErrorCode");
        }
    }
    bool would_hang(const std::string& call) const override {
        return storage_locks().index_is_locked && needs_index(call);
    }

private:
    bool with_custom_data_ = false;
    CustomData custom_data_{};
};

} // namespace orthanc_async::callbacks
