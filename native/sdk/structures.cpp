#include "structures.hpp"

#include <cstring>

#include "image_memory.hpp"

namespace orthanc_async::sdk {

py::object http_answer(MemoryBufferResult& body, MemoryBufferResult& headers,
                       NumberResult<std::uint16_t>& status) {
    const auto& json = headers.get();
    py::object parsed = py::dict();
    if (json.size != 0) {
        const py::object text = to_str(static_cast<const char*>(json.data), json.size);
        parsed = py::module_::import("json").attr("loads")(text);
    }
    return py::make_tuple(status.take(), parsed, body.take());
}

namespace ops {

OrthancPluginErrorCode GetImageBuffer::run(OrthancPluginContext* context,
                                           const OrthancPluginImage* self) noexcept {
    const std::uint64_t pitch = OrthancPluginGetImagePitch(context, self);
    const std::uint64_t height = OrthancPluginGetImageHeight(context, self);
    return pixels_.set(OrthancPluginGetImageBuffer(context, self), pitch * height);
}

OrthancPluginErrorCode GetInstanceData::run(OrthancPluginContext* context,
                                            const OrthancPluginDicomInstance* self) noexcept {
    const std::int64_t size = OrthancPluginGetInstanceSize(context, self);
    if (size < 0) {
        return OrthancPluginErrorCode_InternalError;
    }
    return file_.set(OrthancPluginGetInstanceData(context, self),
                     static_cast<std::uint64_t>(size));
}

OrthancPluginErrorCode LookupDictionary::run(OrthancPluginContext* context) noexcept {
    return OrthancPluginLookupDictionary(context, &entry_, name_.get());
}

py::object LookupDictionary::result() const {
    py::dict entry;
    entry["Group"] = entry_.group;
    entry["Element"] = entry_.element;
    entry["ValueRepresentation"] =
        to_enum("ValueRepresentation", static_cast<std::int64_t>(entry_.vr));
    entry["MinMultiplicity"] = entry_.minMultiplicity;
    entry["MaxMultiplicity"] = entry_.maxMultiplicity;
    return entry;
}

void ImageFromPixels::parse_pixels(const Arguments& in, bool text_too) {
    format_.parse(in.at(0, "format"));
    width_.parse(in.at(1, "width"));
    height_.parse(in.at(2, "height"));
    pitch_.parse(in.at(3, "pitch"));
    const Argument buffer = in.at(4, "buffer");
    if (!text_too && PyUnicode_Check(buffer.value)) {
        buffer.wrong_type("bytes or another buffer");
    }
    buffer_.parse(buffer, format_.get(), width_.get(), height_.get(), pitch_.get());
}

OrthancPluginErrorCode CreateImageFromBuffer::run(OrthancPluginContext* context) noexcept {
    OrthancPluginImage* const image =
        OrthancPluginCreateImage(context, format_.get(), width_.get(), height_.get());
    const OrthancPluginErrorCode code = image_.set(image);
    if (code != OrthancPluginErrorCode_Success) {
        return code;
    }
    auto* target = static_cast<char*>(OrthancPluginGetImageBuffer(context, image));
    const std::size_t pitch = OrthancPluginGetImagePitch(context, image);
    const auto* source = static_cast<const char*>(buffer_.data());
    const std::size_t row = std::size_t{bytes_per_pixel(format_.get())} * width_.get();
    if (row == 0 || height_.get() == 0) {
        return OrthancPluginErrorCode_Success;
    }
    if (target == nullptr || pitch < row) {
        return OrthancPluginErrorCode_InternalError;
    }
    for (std::uint32_t line = 0; line < height_.get(); ++line) {
        std::memcpy(target + line * pitch, source + line * std::size_t{pitch_.get()}, row);
    }
    return OrthancPluginErrorCode_Success;
}

OrthancPluginErrorCode CreateImageAccessor::run(OrthancPluginContext* context) noexcept {
    // Read-only memory stays unwritten: HandlePin looks at every function that writes.
    return image_.set(OrthancPluginCreateImageAccessor(context, format_.get(), width_.get(),
                                                       height_.get(), pitch_.get(),
                                                       const_cast<void*>(buffer_.data())));
}

py::object CreateImageAccessor::result() {
    py::object image = image_.take();
    keep_backing(image, buffer_.take_view());
    return image;
}

std::string ImageFromPixels::describe(const char* label) const {
    return Description(label)
        .add(format_)
        .add(width_)
        .add(height_)
        .add(pitch_)
        .add(buffer_)
        .text();
}

} // namespace ops
} // namespace orthanc_async::sdk
