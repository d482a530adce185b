#include "dicom_web.hpp"

#include <limits>
#include <memory>
#include <optional>

#include <pybind11/stl.h>

#include "text.hpp"

namespace orthanc_async::sdk {

namespace {

// The node of a document that Orthanc lends for one call of the function. All members: GIL held,
// so that no other thread is inside set() when end() comes.
class DicomWebNode {
public:
    DicomWebNode(OrthancPluginDicomWebNode* node, OrthancPluginDicomWebSetBinaryNode setter)
        : node_(node), setter_(setter) {}

    void set(const py::object& mode, const std::optional<std::string>& uri) {
        EnumArgument<OrthancPluginDicomWebBinaryMode> number;
        number.parse({"DicomWebNode.SetBinaryNode", "mode", mode.ptr()});
        if (node_ == nullptr) {
            throw std::runtime_error(
                "orthanc.DicomWebNode.SetBinaryNode() was called after its function has returned: "
                "decide inside the function that Orthanc calls for the tag");
        }
        if (number.get() == OrthancPluginDicomWebBinaryMode_BulkDataUri && !uri) {
            throw py::value_error("orthanc.DicomWebNode.SetBinaryNode(): "
                                  "DicomWebBinaryMode.BULK_DATA_URI needs the URI");
        }
        setter_(node_, number.get(), uri ? uri->c_str() : nullptr);
    }
    void end() { node_ = nullptr; }

private:
    OrthancPluginDicomWebNode* node_;
    OrthancPluginDicomWebSetBinaryNode setter_;
};

} // namespace

void BinaryTags::parse(const Argument& argument) {
    if (argument.value != Py_None && PyCallable_Check(argument.value) == 0) {
        argument.wrong_type("a function or None");
    }
    function_ = py::reinterpret_borrow<py::object>(argument.value);
}

void BinaryTags::call(OrthancPluginDicomWebNode* node, OrthancPluginDicomWebSetBinaryNode setter,
                      std::uint32_t depth, const std::uint16_t* groups,
                      const std::uint16_t* elements, const std::uint32_t* indexes,
                      std::uint16_t group, std::uint16_t element,
                      OrthancPluginValueRepresentation vr, void* payload) noexcept {
    auto& self = *static_cast<BinaryTags*>(payload);
    if (self.error_ || self.function_.is_none()) {
        return;
    }
    const PyGILState_STATE state = PyGILState_Ensure();
    const auto lent = std::make_shared<DicomWebNode>(node, setter);
    try {
        py::list levels;
        for (std::uint32_t i = 0; i < depth; ++i) {
            levels.append(py::make_tuple(groups[i], elements[i], indexes[i]));
        }
        const py::object result = self.function_(py::cast(lent), levels, group, element,
                                                 to_enum("ValueRepresentation", vr));
        if (PyCoro_CheckExact(result.ptr()) != 0) {
            result.attr("close")();
            throw py::type_error("the function for binary tags is called while Orthanc encodes: "
                                 "make it a `def`, not an `async def`");
        }
    } catch (...) {
        translate_exception();
        self.error_ = exception_of(py::error_already_set());
    }
    lent->end();
    PyGILState_Release(state);
}

void BinaryTags::rethrow() const {
    if (error_) {
        PyErr_SetObject(py::type::handle_of(error_).ptr(), error_.ptr());
        throw py::error_already_set();
    }
}

void add_dicom_web(py::module_& module) {
    py::class_<DicomWebNode, std::shared_ptr<DicomWebNode>>(module, "DicomWebNode")
        .def("SetBinaryNode", &DicomWebNode::set, py::arg(), py::arg() = py::none(),
             py::pos_only())
        .attr("__module__") = "orthanc";
}

namespace ops {

void EncodeDicomWebBuffer::parse(const Arguments& in) {
    dicom_.parse(in.at(0, "dicom"), std::numeric_limits<std::uint32_t>::max());
    callback_.parse(in.at(1, "callback"));
}

} // namespace ops
} // namespace orthanc_async::sdk
