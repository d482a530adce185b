// DICOMweb documents (JSON or XML) of a DICOM file, with a Python function that decides for each
// binary tag how it is written.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <string>

#include "arguments.hpp"
#include "invoke.hpp"
#include "results.hpp"

namespace orthanc_async::sdk {

// The function, called in place while Orthanc encodes: on the thread of the blocking form, on a
// worker for the awaitable one. It is not called again after it has raised.
class BinaryTags {
public:
    void parse(const Argument& argument); // GIL: held. Throws. None: no binary tag is written
    void describe(std::string& text) const { text += function_.is_none() ? "None" : "<function>"; }

    // For Orthanc: OrthancPluginDicomWebBinaryCallback2 and its payload. GIL: not held.
    static void call(OrthancPluginDicomWebNode* node, OrthancPluginDicomWebSetBinaryNode setter,
                     std::uint32_t depth, const std::uint16_t* groups,
                     const std::uint16_t* elements, const std::uint32_t* indexes,
                     std::uint16_t group, std::uint16_t element,
                     OrthancPluginValueRepresentation vr, void* payload) noexcept;

    bool failed() const { return static_cast<bool>(error_); } // GIL: any
    void rethrow() const;                                     // GIL: held

private:
    py::object function_ = py::none();
    py::object error_;
};

// Its documents, however they are made.
struct DicomWebDocument {
    OrthancPluginErrorCode take(OrthancPluginContext* context, char* document) {
        const auto code = text_.set(context, document);
        return callback_.failed() ? OrthancPluginErrorCode_Success : code; // result() raises
    }
    py::object result() const {
        callback_.rethrow();
        return text_.take();
    }

    BinaryTags callback_;
    StringResult text_;
};

void add_dicom_web(py::module_& module);

namespace ops {

using EncodeDicomWeb = char* (*)(OrthancPluginContext*, const void*, std::uint32_t,
                                 OrthancPluginDicomWebBinaryCallback2, void*);

struct EncodeDicomWebBuffer : DicomWebDocument {
    static constexpr const char* parameters = "dicom, callback";
    static constexpr Py_ssize_t arity = 2;
    static constexpr Kind kind = Kind::Pure;
    static constexpr const char* since = "";

    void parse(const Arguments& in);
    OrthancPluginErrorCode encode(OrthancPluginContext* context, EncodeDicomWeb function) {
        return take(context, function(context, dicom_.data(), dicom_.size<std::uint32_t>(),
                                      &BinaryTags::call, &callback_));
    }

    BytesArgument dicom_;
};

struct GetInstanceDicomWeb : DicomWebDocument {
    static constexpr const char* parameters = "callback";
    static constexpr Py_ssize_t arity = 1;
    static constexpr Kind kind = Kind::Pure;
    static constexpr const char* since = "";

    void parse(const Arguments& in) { callback_.parse(in.at(0, "callback")); }
};

// The first forms are the second ones without a payload, which Python does not see.
#define ORTHANC_ASYNC_ENCODE(Name, function_name, twin)                                           \
    struct Name : EncodeDicomWebBuffer {                                                          \
        static constexpr const char* name = #Name;                                                \
        static constexpr const char* awaitable = #twin;                                           \
        static constexpr const char* label = #Name;                                               \
        static constexpr const char* awaitable_label = #twin;                                     \
        OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept {                      \
            return encode(context, &(function_name));                                             \
        }                                                                                         \
        std::string describe() const {                                                            \
            return Description(label).add(dicom_).add(callback_).text();                          \
        }                                                                                         \
    };

ORTHANC_ASYNC_ENCODE(EncodeDicomWebJson, OrthancPluginEncodeDicomWebJson2, encode_dicom_web_json)
ORTHANC_ASYNC_ENCODE(EncodeDicomWebXml, OrthancPluginEncodeDicomWebXml2, encode_dicom_web_xml)
ORTHANC_ASYNC_ENCODE(EncodeDicomWebJson2, OrthancPluginEncodeDicomWebJson2, encode_dicom_web_json2)
ORTHANC_ASYNC_ENCODE(EncodeDicomWebXml2, OrthancPluginEncodeDicomWebXml2, encode_dicom_web_xml2)

#undef ORTHANC_ASYNC_ENCODE

#define ORTHANC_ASYNC_INSTANCE_DOCUMENT(Name, twin)                                               \
    struct Name : GetInstanceDicomWeb {                                                           \
        static constexpr const char* name = #Name;                                                \
        static constexpr const char* awaitable = #twin;                                           \
        static constexpr const char* label = "DicomInstance." #Name;                              \
        static constexpr const char* awaitable_label = "DicomInstance." #twin;                    \
        OrthancPluginErrorCode run(OrthancPluginContext* context,                                 \
                                   const OrthancPluginDicomInstance* self) noexcept {             \
            return take(context,                                                                  \
                        OrthancPlugin##Name(context, self, &BinaryTags::call, &callback_));       \
        }                                                                                         \
        std::string describe() const { return Description(label).add(callback_).text(); }         \
    };

ORTHANC_ASYNC_INSTANCE_DOCUMENT(GetInstanceDicomWebJson, get_instance_dicom_web_json)
ORTHANC_ASYNC_INSTANCE_DOCUMENT(GetInstanceDicomWebXml, get_instance_dicom_web_xml)

#undef ORTHANC_ASYNC_INSTANCE_DOCUMENT

} // namespace ops
} // namespace orthanc_async::sdk
