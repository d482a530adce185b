// Operations whose C functions do not tell by their types what their pointers mean.
//
// The same members as the generated ones (see invoke.hpp); the names stand in a list of
// native/codegen, which binds them like all others.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <string>

#include "arguments.hpp"
#include "dicom_web.hpp"
#include "explorer.hpp"
#include "invoke.hpp"
#include "results.hpp"
#include "sdk_handles.hpp"

namespace orthanc_async::sdk {

// (status, headers, body) of an HTTP request; the SDK gives the headers as JSON. GIL: held.
py::object http_answer(MemoryBufferResult& body, MemoryBufferResult& headers,
                       NumberResult<std::uint16_t>& status);

namespace ops {

// Pixels are copied, so that no later use of the image reaches freed memory.
struct GetImageBuffer {
    static constexpr const char* name = "GetImageBuffer";
    static constexpr const char* awaitable = "get_image_buffer";
    static constexpr const char* label = "Image.GetImageBuffer";
    static constexpr const char* awaitable_label = "Image.get_image_buffer";
    static constexpr const char* parameters = "";
    static constexpr Py_ssize_t arity = 0;
    static constexpr Kind kind = Kind::Pure;
    static constexpr const char* since = "";

    void parse(const Arguments&) {}
    OrthancPluginErrorCode run(OrthancPluginContext* context,
                               const OrthancPluginImage* self) noexcept;
    py::object result() { return pixels_.take(); }
    std::string describe() const { return Description(label).text(); }

    BorrowedBytesResult pixels_;
};

// The file is copied at result(): the object must live until then.
struct GetInstanceData {
    static constexpr const char* name = "GetInstanceData";
    static constexpr const char* awaitable = "get_instance_data";
    static constexpr const char* label = "DicomInstance.GetInstanceData";
    static constexpr const char* awaitable_label = "DicomInstance.get_instance_data";
    static constexpr const char* parameters = "";
    static constexpr Py_ssize_t arity = 0;
    static constexpr Kind kind = Kind::Pure;
    static constexpr const char* since = "";

    void parse(const Arguments&) {}
    OrthancPluginErrorCode run(OrthancPluginContext* context,
                               const OrthancPluginDicomInstance* self) noexcept;
    py::object result() { return file_.take(); }
    std::string describe() const { return Description(label).text(); }

    BorrowedBytesResult file_;
};

// A dict, with the keys that the official plugin uses.
struct LookupDictionary {
    // Also a TypeError, which scripts for the official plugin catch.
    static constexpr const char* exception = "_UnknownTagError";
    static constexpr const char* name = "LookupDictionary";
    static constexpr const char* awaitable = "lookup_dictionary";
    static constexpr const char* label = "LookupDictionary";
    static constexpr const char* awaitable_label = "lookup_dictionary";
    static constexpr const char* parameters = "name";
    static constexpr Py_ssize_t arity = 1;
    static constexpr Kind kind = Kind::Pure;
    static constexpr const char* since = "";

    void parse(const Arguments& in) { name_.parse(in.at(0, "name")); }
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept;
    py::object result() const;
    std::string describe() const { return Description(label).add(name_).text(); }

    StringArgument name_;
    OrthancPluginDictionaryEntry entry_{};
};

// The two ways from pixels to an image.
struct ImageFromPixels {
    static constexpr const char* parameters = "format, width, height, pitch, buffer";
    static constexpr Py_ssize_t arity = 5;
    static constexpr Kind kind = Kind::Pure;
    static constexpr const char* since = "";

    void parse(const Arguments& in) { parse_pixels(in, true); }
    // Text is encoded, so the memory of the copy is not the caller's.
    void parse_pixels(const Arguments& in, bool text_too);
    std::string describe(const char* label) const;

    EnumArgument<OrthancPluginPixelFormat> format_;
    NumberArgument<std::uint32_t> width_;
    NumberArgument<std::uint32_t> height_;
    NumberArgument<std::uint32_t> pitch_;
    PixelsArgument buffer_;
    HandleResult<OrthancPluginImage> image_;
};

// Not in the header; the official plugin has it. The SDK's own function would keep using the
// caller's memory, so the rows are copied into an image that Orthanc allocates.
struct CreateImageFromBuffer : ImageFromPixels {
    static constexpr const char* name = "CreateImageFromBuffer";
    static constexpr const char* awaitable = "create_image_from_buffer";
    static constexpr const char* label = "CreateImageFromBuffer";
    static constexpr const char* awaitable_label = "create_image_from_buffer";

    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept;
    py::object result() { return image_.take(); }
    std::string describe() const { return ImageFromPixels::describe(label); }
};

// An image over memory of Python's, which it keeps.
struct CreateImageAccessor : ImageFromPixels {
    static constexpr const char* name = "CreateImageAccessor";
    static constexpr const char* awaitable = "create_image_accessor";
    static constexpr const char* label = "CreateImageAccessor";
    static constexpr const char* awaitable_label = "create_image_accessor";

    void parse(const Arguments& in) { parse_pixels(in, false); }
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept;
    py::object result();
    std::string describe() const { return ImageFromPixels::describe(label); }
};

} // namespace ops
} // namespace orthanc_async::sdk
