#include "task.hpp"

#include <utility>

#include "runtime.hpp"

namespace py = pybind11;

namespace orthanc_async::runtime {

namespace {

// What a new task asks the loop to call, kept instead. Thread: owner. GIL: held.
struct FirstStep {
    bool wanted = false;
    PyObject* callback = nullptr; // owned
    PyObject* context = nullptr;  // owned
};

FirstStep first_step;

// loop.call_soon(callback, *, context) of a task; `original` is the loop's own method.
PyObject* call_soon(PyObject* original, PyObject* const* values, Py_ssize_t count,
                    PyObject* names) noexcept {
    const bool of_task = count == 1 && names != nullptr && PyTuple_GET_SIZE(names) == 1;
    if (first_step.wanted && of_task) {
        first_step = {false, Py_NewRef(values[0]), Py_NewRef(values[1])};
        Py_RETURN_NONE;
    }
    return PyObject_Vectorcall(original, values, static_cast<std::size_t>(count), names);
}

PyMethodDef call_soon_definition = {
    "call_soon", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(call_soon)),
    METH_FASTCALL | METH_KEYWORDS, "As asyncio's own, which it calls."};

// In the task's own context, exactly as the loop would call it a turn later.
void run_first_step() {
    const auto callback =
        py::reinterpret_steal<py::object>(std::exchange(first_step.callback, nullptr));
    const auto context =
        py::reinterpret_steal<py::object>(std::exchange(first_step.context, nullptr));
    if (PyContext_Enter(context.ptr()) != 0) {
        throw py::error_already_set();
    }
    const auto result = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(callback.ptr()));
    // Leaving keeps an error of the step, which only a broken loop can raise.
    if (PyContext_Exit(context.ptr()) != 0 || !result) {
        throw py::error_already_set();
    }
}

} // namespace

void prepare_tasks(const py::object& loop, const py::object& task_type, bool eager, bool capture) {
    LoopReferences& references = *Runtime::get().loop;
    references.task_type = task_type;
    references.task_name = py::str("orthanc-rest-handler");
    if (eager) {
        references.task_kwargs = py::make_tuple("loop", "name", "eager_start");
    } else {
        references.task_kwargs = py::make_tuple("loop", "name");
    }
    references.captures = capture && !eager;
    if (references.captures) {
        loop.attr("call_soon") = py::reinterpret_steal<py::object>(
            PyCFunction_New(&call_soon_definition, references.call_soon.ptr()));
    }
}

py::object start_task(py::handle coroutine) {
    const LoopReferences& loop = *Runtime::get().loop;
    PyObject* arguments[] = {coroutine.ptr(), loop.loop.ptr(), loop.task_name.ptr(), Py_True};
    first_step.wanted = loop.captures;
    PyObject* const task =
        PyObject_Vectorcall(loop.task_type.ptr(), arguments, 1, loop.task_kwargs.ptr());
    first_step.wanted = false;
    if (task == nullptr) {
        throw py::error_already_set();
    }
    auto started = py::reinterpret_steal<py::object>(task);
    if (first_step.callback != nullptr) {
        run_first_step();
    }
    return started;
}

} // namespace orthanc_async::runtime
