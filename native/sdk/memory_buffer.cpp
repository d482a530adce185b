#include "memory_buffer.hpp"

#include <string>
#include <utility>

#include "invoke.hpp"

namespace orthanc_async::sdk {

namespace {

struct MemoryBufferObject {
    PyObject_HEAD void* data; // owned
    Py_ssize_t size;
    Free free;
};

PyTypeObject* memory_buffer_type = nullptr; // set once, as handle_type

thread_local bool next_without_copy = false;

char nothing = 0; // where an empty buffer points

MemoryBufferObject* buffer_of(PyObject* self) {
    return reinterpret_cast<MemoryBufferObject*>(self);
}

// A consumer holds a reference to the object, so the memory outlives every view.
int get_buffer(PyObject* self, Py_buffer* view, int flags) noexcept {
    MemoryBufferObject* const buffer = buffer_of(self);
    void* const data = buffer->data != nullptr ? buffer->data : &nothing;
    return PyBuffer_FillInfo(view, self, data, buffer->size, 0, flags);
}

Py_ssize_t length(PyObject* self) noexcept {
    return buffer_of(self)->size;
}

PyObject* represent_buffer(PyObject* self) noexcept {
    return PyUnicode_FromFormat("<orthanc.MemoryBuffer of %zd bytes>", buffer_of(self)->size);
}

void deallocate_buffer(PyObject* self) {
    MemoryBufferObject* const buffer = buffer_of(self);
    if (buffer->data != nullptr) {
        buffer->free(buffer->data);
    }
    PyTypeObject* const type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

// (native function, its arguments): the function's name was looked at by orthanc.without_copy.
PyObject* without_copy(PyObject*, PyObject* const* values, Py_ssize_t count) noexcept {
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "orthanc.without_copy() needs a function");
        return nullptr;
    }
    next_without_copy = true;
    PyObject* const result =
        PyObject_Vectorcall(values[0], values + 1, static_cast<std::size_t>(count - 1), nullptr);
    next_without_copy = false; // also when the call failed before it heard
    return result;
}

} // namespace

bool take_without_copy() noexcept {
    return std::exchange(next_without_copy, false);
}

py::object make_memory_buffer(void* data, std::uint64_t size, Free free) {
    PyObject* const object = memory_buffer_type->tp_alloc(memory_buffer_type, 0);
    if (object == nullptr) {
        free(data);
        throw py::error_already_set();
    }
    MemoryBufferObject* const buffer = buffer_of(object);
    buffer->data = data;
    buffer->size = static_cast<Py_ssize_t>(size);
    buffer->free = free;
    return py::reinterpret_steal<py::object>(object);
}

void add_memory_buffer(py::module_& module) {
    static PyType_Slot slots[] = {
        {Py_tp_dealloc, reinterpret_cast<void*>(&deallocate_buffer)},
        {Py_tp_repr, reinterpret_cast<void*>(&represent_buffer)},
        {Py_sq_length, reinterpret_cast<void*>(&length)},
        {Py_bf_getbuffer, reinterpret_cast<void*>(&get_buffer)},
        {Py_tp_doc, const_cast<char*>("Memory that Orthanc has allocated, read in place: see "
                                      "without_copy().")},
        {0, nullptr},
    };
    static PyType_Spec spec = {"orthanc.MemoryBuffer", sizeof(MemoryBufferObject), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyObject* const created = PyType_FromSpec(&spec);
    if (created == nullptr) {
        throw py::error_already_set();
    }
    memory_buffer_type = reinterpret_cast<PyTypeObject*>(created);
    module.add_object("MemoryBuffer", py::reinterpret_borrow<py::object>(created));
    static PyMethodDef functions[] = {
        method("without_copy", &without_copy, nullptr),
        {nullptr, nullptr, 0, nullptr},
    };
    add_functions(module, functions);
}

} // namespace orthanc_async::sdk
