#include "image_memory.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "invoke.hpp"
#include "sdk_handles.hpp"
#include "server.hpp"

namespace orthanc_async::sdk {

namespace {

using ImageObject = HandleObject<OrthancPluginImage>;

ImageObject* image_of(PyObject* self) {
    return reinterpret_cast<ImageObject*>(self);
}

// What the struct module and NumPy call the parts of a pixel, native byte order.
struct PixelType {
    const char* format; // null: a pixel that Python has no words for
    const char* kind;   // of NumPy's typestr
    Py_ssize_t size;
    Py_ssize_t channels;
};

PixelType pixel_type(OrthancPluginPixelFormat format) {
    switch (format) {
    case OrthancPluginPixelFormat_Grayscale8:
        return {"B", "u", 1, 1};
    case OrthancPluginPixelFormat_Grayscale16:
        return {"H", "u", 2, 1};
    case OrthancPluginPixelFormat_SignedGrayscale16:
        return {"h", "i", 2, 1};
    case OrthancPluginPixelFormat_Grayscale32:
        return {"I", "u", 4, 1};
    case OrthancPluginPixelFormat_Grayscale64:
        return {"Q", "u", 8, 1};
    case OrthancPluginPixelFormat_Float32:
        return {"f", "f", 4, 1};
    case OrthancPluginPixelFormat_RGB24:
        return {"B", "u", 1, 3};
    case OrthancPluginPixelFormat_RGBA32:
    case OrthancPluginPixelFormat_BGRA32:
        return {"B", "u", 1, 4};
    case OrthancPluginPixelFormat_RGB48:
        return {"H", "u", 2, 3};
    default:
        return {nullptr, nullptr, 0, 0};
    }
}

struct Layout {
    OrthancPluginPixelFormat format;
    PixelType pixel;
    Py_ssize_t width;
    Py_ssize_t height;
    Py_ssize_t pitch;
    void* data;

    Py_ssize_t row() const { return width * pixel.channels * pixel.size; }
    bool contiguous() const { return pitch == row() || height <= 1 || width == 0; }
};

// None of these takes a lock of Orthanc's.
Layout layout_of(OrthancPluginContext* context, const OrthancPluginImage* image) {
    const OrthancPluginPixelFormat format = OrthancPluginGetImagePixelFormat(context, image);
    return {format,
            pixel_type(format),
            static_cast<Py_ssize_t>(OrthancPluginGetImageWidth(context, image)),
            static_cast<Py_ssize_t>(OrthancPluginGetImageHeight(context, image)),
            static_cast<Py_ssize_t>(OrthancPluginGetImagePitch(context, image)),
            OrthancPluginGetImageBuffer(context, image)};
}

Layout layout_of(PyObject* self, const char* purpose) {
    if (image_of(self)->given) {
        throw_was_given("Image", purpose);
    }
    const CallScope scope(purpose, purpose, Kind::Pure);
    const Layout layout = layout_of(scope.context(), image_of(self)->pointer);
    if (layout.pixel.format == nullptr) {
        throw py::buffer_error("an orthanc.Image of pixel format " +
                               std::to_string(static_cast<int>(layout.format)) +
                               " cannot be read in place: use GetImageBuffer()");
    }
    return layout;
}

// What a view points to for its shape; freed with the view.
struct Extents {
    Py_ssize_t shape[3];
    Py_ssize_t strides[3];
};

Extents extents_of(const Layout& layout) {
    const Py_ssize_t pixel = layout.pixel.channels * layout.pixel.size;
    return {{layout.height, layout.width, layout.pixel.channels},
            {layout.pitch, pixel, layout.pixel.size}};
}

bool asks(int flags, int what) {
    return (flags & what) == what;
}

void fill_view(PyObject* self, Py_buffer* view, int flags) {
    static char nothing = 0; // where an image without pixels points
    const Layout layout = layout_of(self, "Image as a buffer");
    const bool read_only =
        image_of(self)->backing != nullptr && image_of(self)->backing->readonly != 0;
    if (read_only && asks(flags, PyBUF_WRITABLE)) {
        throw py::buffer_error("this orthanc.Image was made over read-only memory");
    }
    const bool by_rows = !asks(flags, PyBUF_STRIDES) || asks(flags, PyBUF_C_CONTIGUOUS) ||
                         asks(flags, PyBUF_ANY_CONTIGUOUS);
    if (by_rows && !layout.contiguous()) {
        throw py::buffer_error("the rows of this orthanc.Image are " +
                               std::to_string(layout.pitch) + " bytes apart and " +
                               std::to_string(layout.row()) +
                               " bytes long: read it through numpy.asarray(image) or "
                               "memoryview(image), which know of the gaps");
    }
    if (asks(flags, PyBUF_F_CONTIGUOUS) && layout.height > 1) {
        throw py::buffer_error("an orthanc.Image is stored row by row, not column by column");
    }
    auto* const extents = new Extents(extents_of(layout)); // NOLINT: freed by release_view
    view->buf = layout.data != nullptr ? layout.data : &nothing;
    view->obj = Py_NewRef(self);
    view->len = layout.height * layout.row();
    view->itemsize = layout.pixel.size;
    view->readonly = read_only ? 1 : 0;
    view->ndim = layout.pixel.channels > 1 ? 3 : 2;
    view->format = asks(flags, PyBUF_FORMAT) ? const_cast<char*>(layout.pixel.format) : nullptr;
    view->shape = asks(flags, PyBUF_ND) ? extents->shape : nullptr;
    view->strides = asks(flags, PyBUF_STRIDES) ? extents->strides : nullptr;
    view->suboffsets = nullptr;
    view->internal = extents;
    ++image_of(self)->uses;
}

int get_view(PyObject* self, Py_buffer* view, int flags) noexcept {
    view->obj = nullptr;
    try {
        fill_view(self, view, flags);
        return 0;
    } catch (...) {
        translate_exception();
        return -1;
    }
}

void release_view(PyObject* self, Py_buffer* view) noexcept {
    delete static_cast<Extents*>(view->internal);
    --image_of(self)->uses;
}

// Pillow's Image.fromarray asks for it, and then reads the buffer.
PyObject* array_interface(PyObject* self, void*) noexcept {
    return guarded([&]() -> py::object {
        const Layout layout = layout_of(self, "Image as an array");
        const Extents extents = extents_of(layout);
        const int dimensions = layout.pixel.channels > 1 ? 3 : 2;
        py::tuple shape(dimensions);
        py::tuple strides(dimensions);
        for (int i = 0; i < dimensions; ++i) {
            shape[i] = extents.shape[i];
            strides[i] = extents.strides[i];
        }
        const char* const order = layout.pixel.size == 1                   ? "|"
                                  : __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? ">"
                                                                           : "<";
        py::dict fields;
        fields["version"] = 3;
        fields["shape"] = shape;
        fields["typestr"] =
            std::string(order) + layout.pixel.kind + std::to_string(layout.pixel.size);
        fields["strides"] = layout.contiguous() ? py::object(py::none()) : py::object(strides);
        return fields;
    });
}

// A copy that Orthanc allocates. GIL: not held.
OrthancPluginImage* copy_image(OrthancPluginContext* context, const OrthancPluginImage* image) {
    const Layout from = layout_of(context, image);
    OrthancPluginImage* const copy =
        OrthancPluginCreateImage(context, from.format, static_cast<std::uint32_t>(from.width),
                                 static_cast<std::uint32_t>(from.height));
    if (copy == nullptr) {
        return nullptr;
    }
    const Layout to = layout_of(context, copy);
    const auto row = static_cast<std::size_t>(std::min(from.pitch, to.pitch));
    // The last row of a buffer may end before its pitch does.
    const auto last = static_cast<std::size_t>(from.row());
    for (Py_ssize_t line = 0; line < from.height; ++line) {
        std::memcpy(static_cast<char*>(to.data) + line * to.pitch,
                    static_cast<const char*>(from.data) + line * from.pitch,
                    line + 1 < from.height ? row : std::min(row, last));
    }
    return copy;
}

} // namespace

template <> std::vector<PyType_Slot> extra_slots<OrthancPluginImage>() {
    static PyGetSetDef properties[] = {
        {"__array_interface__", &array_interface, nullptr, nullptr, nullptr},
        {nullptr, nullptr, nullptr, nullptr, nullptr},
    };
    return {{Py_bf_getbuffer, reinterpret_cast<void*>(&get_view)},
            {Py_bf_releasebuffer, reinterpret_cast<void*>(&release_view)},
            {Py_tp_getset, properties}};
}

void keep_backing(const py::object& image, std::unique_ptr<Py_buffer> view) {
    image_of(image.ptr())->backing = view.release();
}

OrthancPluginImage* give_image(const py::object& object, const std::string& what) {
    if (PyObject_TypeCheck(object.ptr(), handle_type<OrthancPluginImage>) == 0) {
        throw py::type_error(what + " returns an orthanc.Image or None, not " +
                             std::string(Py_TYPE(object.ptr())->tp_name));
    }
    ImageObject* const image = image_of(object.ptr());
    if (image->given) {
        throw std::runtime_error(what + " has returned an orthanc.Image that was handed over to "
                                        "Orthanc before: each call needs one of its own");
    }
    image->given = true;
    if (image->uses == 0 && image->backing == nullptr) {
        return std::exchange(image->pointer, nullptr);
    }
    OrthancPluginImage* copy = nullptr;
    {
        const runtime::WithoutGil without;
        const WorkerScope scope;
        if (scope.context() != nullptr) {
            copy = copy_image(scope.context(), image->pointer);
        }
    }
    if (copy == nullptr) {
        throw std::runtime_error(what + ": there is no memory for a copy of its image");
    }
    return copy;
}

} // namespace orthanc_async::sdk
