#include "served.hpp"

#include <new>
#include <optional>
#include <utility>

#include "../sdk/invoke.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

struct ServedObject {
    PyObject_HEAD PyObject* coroutine; // owned, as all that follow
    PyObject* output;
    PyObject* limit; // of HandlerTimeout; may be null
    std::shared_ptr<RestCall> call;
    bool begun;
    bool ended;
};

PyTypeObject* served_type = nullptr; // lives as long as the interpreter: the process
PyObject* throw_name = nullptr;

ServedObject* of(PyObject* self) {
    return reinterpret_cast<ServedObject*>(self);
}

// In the task, before the handler's first line.
void begin(ServedObject& served) {
    served.begun = true;
    PyObject* const token = PyContextVar_Set(current_output(), served.output);
    if (token == nullptr) {
        throw py::error_already_set();
    }
    Py_DECREF(token);
    served.limit = served.call->new_limit(served.output).release().ptr();
}

// The handler has returned, or raised what is the current Python error. None is left.
void end(ServedObject& served) noexcept {
    if (std::exchange(served.ended, true)) {
        PyErr_Clear();
        return;
    }
    const bool failed = PyErr_Occurred() != nullptr;
    const auto output = py::reinterpret_borrow<py::object>(served.output);
    if (!failed && served.limit == nullptr && served.call->answered()) {
        served.call->finish();
        return;
    }
    std::optional<py::error_already_set> error;
    if (failed) {
        error.emplace();
    }
    if (served.limit != nullptr) {
        RestCall::end_limit(served.limit);
    }
    if (failed || !served.call->answered()) {
        served.call->fail(output, error ? &*error : nullptr);
    } else {
        served.call->finish();
    }
}

PySendResult refuse_reuse() {
    PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    return PYGEN_ERROR;
}

PySendResult send(PyObject* self, PyObject* value, PyObject** result) noexcept {
    ServedObject& served = *of(self);
    *result = nullptr;
    if (served.ended) {
        return refuse_reuse();
    }
    auto sent = PYGEN_ERROR;
    try {
        if (!served.begun) {
            begin(served);
        }
        sent = PyIter_Send(served.coroutine, value, result);
    } catch (...) {
        sdk::translate_exception();
    }
    if (sent != PYGEN_NEXT) {
        if (sent == PYGEN_RETURN) {
            Py_CLEAR(*result);
        }
        end(served);
        *result = Py_NewRef(Py_None);
        sent = PYGEN_RETURN;
    }
    return sent;
}

// What a method or tp_iternext says of an end.
PyObject* stop_iteration(PySendResult sent, PyObject* result) {
    if (sent == PYGEN_RETURN) {
        Py_DECREF(result);
        PyErr_SetNone(PyExc_StopIteration);
        return nullptr;
    }
    return result;
}

PyObject* send_method(PyObject* self, PyObject* value) noexcept {
    PyObject* result = nullptr;
    return stop_iteration(send(self, value, &result), result);
}

PyObject* next(PyObject* self) noexcept {
    return send_method(self, Py_None);
}

// throw(exception) or throw(type[, value[, traceback]]).
PyObject* throw_method(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    ServedObject& served = *of(self);
    if (served.ended) {
        refuse_reuse();
        return nullptr;
    }
    if (count < 1 || count > 3) {
        PyErr_SetString(PyExc_TypeError, "throw() takes an exception");
        return nullptr;
    }
    PyObject* arguments[] = {served.coroutine, values[0], count > 1 ? values[1] : nullptr,
                             count > 2 ? values[2] : nullptr};
    PyObject* const result = PyObject_VectorcallMethod(
        throw_name, arguments, static_cast<std::size_t>(count + 1), nullptr);
    if (result != nullptr) {
        return result; // it goes on
    }
    if (PyErr_ExceptionMatches(PyExc_StopIteration) != 0) {
        PyErr_Clear();
    }
    end(served);
    PyErr_SetNone(PyExc_StopIteration);
    return nullptr;
}

PyObject* close_method(PyObject* self, PyObject* /*none*/) noexcept {
    ServedObject& served = *of(self);
    if (!served.ended) {
        PyObject* const arguments[] = {PyExc_GeneratorExit};
        PyObject* const result = throw_method(self, arguments, 1);
        if (result != nullptr) {
            Py_DECREF(result);
            end(served);
            PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
            return nullptr;
        }
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

PyObject* itself(PyObject* self) noexcept {
    return Py_NewRef(self);
}

// cr_frame, cr_code, __qualname__, …: a task's repr and stack show the handler.
PyObject* attribute(PyObject* self, PyObject* name) noexcept {
    PyObject* const own = PyObject_GenericGetAttr(self, name);
    if (own != nullptr || PyErr_ExceptionMatches(PyExc_AttributeError) == 0) {
        return own;
    }
    PyErr_Clear();
    return PyObject_GetAttr(of(self)->coroutine, name);
}

int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(of(self)->coroutine);
    Py_VISIT(of(self)->output);
    Py_VISIT(of(self)->limit);
    return 0;
}

int clear(PyObject* self) {
    Py_CLEAR(of(self)->coroutine);
    Py_CLEAR(of(self)->output);
    Py_CLEAR(of(self)->limit);
    return 0;
}

// Nobody runs the task any more: the handler is closed, and the waiting thread goes.
void finalize(PyObject* self) noexcept {
    if (of(self)->ended) {
        return;
    }
    PyObject* type = nullptr;
    PyObject* value = nullptr;
    PyObject* trace = nullptr;
    PyErr_Fetch(&type, &value, &trace);
    PyObject* const closed = close_method(self, nullptr);
    if (closed == nullptr) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(closed);
    PyErr_Restore(type, value, trace);
}

void deallocate(PyObject* self) noexcept {
    if (PyObject_CallFinalizerFromDealloc(self) != 0) {
        return; // somebody has taken it up again
    }
    PyObject_GC_UnTrack(self);
    clear(self);
    of(self)->call.~shared_ptr();
    PyTypeObject* const type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyMethodDef methods[] = {
    {"send", send_method, METH_O, nullptr},
    sdk::method("throw", throw_method, nullptr),
    {"close", close_method, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

} // namespace

PyObject* current_output() {
    static PyObject* const variable = PyContextVar_New("orthanc_rest_output", nullptr);
    return variable;
}

py::object make_served(std::shared_ptr<RestCall> call, const py::object& output,
                       const py::object& coroutine) {
    PyObject* const object = served_type->tp_alloc(served_type, 0);
    if (object == nullptr) {
        throw py::error_already_set();
    }
    ServedObject& served = *of(object); // zeroed
    new (&served.call) std::shared_ptr<RestCall>(std::move(call));
    served.coroutine = Py_NewRef(coroutine.ptr());
    served.output = Py_NewRef(output.ptr());
    return py::reinterpret_steal<py::object>(object);
}

std::shared_ptr<RestCall> served_call(py::handle object) {
    return Py_IS_TYPE(object.ptr(), served_type) ? of(object.ptr())->call : nullptr;
}

void add_served(py::module_& module) {
    throw_name = PyUnicode_InternFromString("throw");
    PyType_Slot slots[] = {
        {Py_tp_dealloc, reinterpret_cast<void*>(&deallocate)},
        {Py_tp_finalize, reinterpret_cast<void*>(&finalize)},
        {Py_tp_traverse, reinterpret_cast<void*>(&traverse)},
        {Py_tp_clear, reinterpret_cast<void*>(&clear)},
        {Py_tp_getattro, reinterpret_cast<void*>(&attribute)},
        {Py_tp_iter, reinterpret_cast<void*>(&itself)},
        {Py_tp_iternext, reinterpret_cast<void*>(&next)},
        {Py_am_await, reinterpret_cast<void*>(&itself)},
        {Py_am_send, reinterpret_cast<void*>(&send)},
        {Py_tp_methods, methods},
        {0, nullptr},
    };
    PyType_Spec spec = {
        "_orthanc._Served", sizeof(ServedObject), 0,
        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyObject* const created = PyType_FromSpec(&spec);
    if (created == nullptr) {
        throw py::error_already_set();
    }
    served_type = reinterpret_cast<PyTypeObject*>(created);
    module.add_object("_Served", py::reinterpret_borrow<py::object>(created));
}

} // namespace orthanc_async::callbacks
