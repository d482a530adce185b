// SDK objects as Python objects: owned (an image, the list of peers, …), or borrowed for one call
// of Orthanc's (a query, a list of answers, …).
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../runtime/gil.hpp"
#include "arguments.hpp"
#include "borrowed.hpp"
#include "call_scope.hpp"

namespace orthanc_async::sdk {

namespace py = pybind11;

// For each class the generator specialises: `name` ("Image"), `free` (the SDK's function; nothing
// for a class whose objects are always borrowed).
template <class T> struct HandleTraits;

template <class T> struct HandleObject {
    PyObject_HEAD T* pointer;           // owned, freed with the object; null when borrowed
    std::shared_ptr<Borrowed<T>>* loan; // null when owned
    Py_buffer* backing;                 // Python's memory that the object uses; else null
    Py_ssize_t uses;                    // SDK calls and views that are inside it now
    bool given;                         // handed over to Orthanc: not to be used any more
};

// The Python class of a handle. Set once while the module is filled and kept until the process
// ends, as the interpreter is never finalised; a raw pointer, so nothing runs at exit().
template <class T> inline PyTypeObject* handle_type = nullptr;

// Frees an SDK object. Thread: any. GIL: any; released if held, as the SDK may wait for a lock.
// When Orthanc has stopped there is nobody left to give it back to: it is dropped.
template <class T> void release_handle(T* pointer) noexcept {
    if (pointer == nullptr) {
        return;
    }
    std::optional<runtime::WithoutGil> without;
    if (PyGILState_Check() != 0) {
        without.emplace();
    }
    const WorkerScope scope;
    if (scope.context() != nullptr) {
        HandleTraits<T>::free(scope.context(), pointer);
    }
}

// Makes the Python object that owns `pointer`, which is freed when that fails. GIL: held.
template <class T> py::object adopt_handle(T* pointer) {
    PyTypeObject* const type = handle_type<T>;
    PyObject* const object = type->tp_alloc(type, 0);
    if (object == nullptr) {
        release_handle(pointer);
        throw py::error_already_set();
    }
    reinterpret_cast<HandleObject<T>*>(object)->pointer = pointer;
    return py::reinterpret_steal<py::object>(object);
}

// Makes a Python object for what Orthanc lends. GIL: held.
template <class T> py::object lend_handle(std::shared_ptr<Borrowed<T>> borrowed) {
    PyTypeObject* const type = handle_type<T>;
    PyObject* const object = type->tp_alloc(type, 0);
    if (object == nullptr) {
        throw py::error_already_set();
    }
    auto owner = py::reinterpret_steal<py::object>(object);
    reinterpret_cast<HandleObject<T>*>(object)->loan =
        new std::shared_ptr<Borrowed<T>>(std::move(borrowed)); // NOLINT: deallocate_handle
    return owner;
}

// DicomInstance has borrowed objects too, so its class is written by hand (dicom_instance.cpp).
template <> py::object adopt_handle(OrthancPluginDicomInstance* pointer);

// What a class can do beside its methods: images are buffers (image_memory.cpp).
template <class T> std::vector<PyType_Slot> extra_slots() {
    return {};
}
template <> std::vector<PyType_Slot> extra_slots<OrthancPluginImage>();

// The SDK object behind a Python object, kept usable: an owned one stays alive, the call of a
// borrowed one does not end. All members: GIL held.
template <class T> class HandlePin {
public:
    // Throws RuntimeError when the call of a borrowed object has ended, or an owned one was given
    // to Orthanc; TypeError when the function writes into memory that is read-only.
    HandlePin(PyObject* object, const char* function, bool writes = false)
        : owner_(py::reinterpret_borrow<py::object>(object)) {
        auto* const handle = reinterpret_cast<HandleObject<T>*>(object);
        if (handle->given) {
            throw_was_given(HandleTraits<T>::name, function);
        }
        if (writes && handle->backing != nullptr && handle->backing->readonly != 0) {
            throw py::type_error("orthanc." + std::string(function) +
                                 "() writes, and the memory that this " + HandleTraits<T>::name +
                                 " was made over is read-only: make it over a bytearray or "
                                 "another writable buffer");
        }
        pointer_ = handle->pointer;
        if (handle->loan != nullptr) {
            pointer_ = (*handle->loan)->pin();
            if (pointer_ == nullptr) {
                throw_call_has_ended(function, (*handle->loan)->what());
            }
            borrowed_ = *handle->loan;
        }
        ++handle->uses;
    }
    ~HandlePin() {
        --reinterpret_cast<HandleObject<T>*>(owner_.ptr())->uses;
        if (borrowed_) {
            borrowed_->unpin();
        }
    }
    HandlePin(const HandlePin&) = delete;
    HandlePin& operator=(const HandlePin&) = delete;

    T* get() const { return pointer_; } // GIL: any

private:
    py::object owner_;
    std::shared_ptr<Borrowed<T>> borrowed_;
    T* pointer_ = nullptr;
};

template <class T> void deallocate_handle(PyObject* object) {
    // The object may die while an exception is on its way: keep it.
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* traceback = nullptr;
    PyErr_Fetch(&type, &value, &traceback);
    PyTypeObject* const object_type = Py_TYPE(object);
    auto* const handle = reinterpret_cast<HandleObject<T>*>(object);
    release_handle(handle->pointer);
    delete handle->loan; // NOLINT: owned by the object
    if (handle->backing != nullptr) {
        PyBuffer_Release(handle->backing);
        delete handle->backing; // NOLINT: owned by the object
    }
    object_type->tp_free(object);
    Py_DECREF(object_type); // a heap type is owned by its objects
    PyErr_Restore(type, value, traceback);
}

// Adds the class to the module. GIL: held. Throws.
template <class T>
void add_handle_type(py::module_& module, PyMethodDef* methods, const char* documentation) {
    static const std::string name = std::string("orthanc.") + HandleTraits<T>::name;
    std::vector<PyType_Slot> slots = extra_slots<T>();
    slots.push_back({Py_tp_dealloc, reinterpret_cast<void*>(&deallocate_handle<T>)});
    slots.push_back({Py_tp_methods, methods});
    slots.push_back({Py_tp_doc, const_cast<char*>(documentation)});
    slots.push_back({0, nullptr});
    // Not immutable: the orthanc package adds the awaitable methods.
    PyType_Spec spec = {name.c_str(), sizeof(HandleObject<T>), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots.data()};
    PyObject* const created = PyType_FromSpec(&spec);
    if (created == nullptr) {
        throw py::error_already_set();
    }
    handle_type<T> = reinterpret_cast<PyTypeObject*>(created);
    module.add_object(HandleTraits<T>::name, py::reinterpret_borrow<py::object>(created));
}

// An SDK object as an argument.
template <class T> class HandleArgument {
public:
    void parse(const Argument& argument) {
        if (PyObject_TypeCheck(argument.value, handle_type<T>) == 0) {
            argument.wrong_type(HandleTraits<T>::name);
        }
        pin_.emplace(argument.value, argument.function);
    }
    T* get() const { return pin_ ? pin_->get() : nullptr; }
    void describe(std::string& text) const {
        text += pin_ ? std::string("<") + HandleTraits<T>::name + ">" : "None";
    }

private:
    std::optional<HandlePin<T>> pin_;
};

template <class T> class OptionalHandleArgument : public HandleArgument<T> {
public:
    void parse(const Argument& argument) {
        if (argument.value != Py_None) {
            HandleArgument<T>::parse(argument);
        }
    }
};

} // namespace orthanc_async::sdk
