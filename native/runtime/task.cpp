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

// asyncio's set of all tasks, a weakref.WeakSet: its parts, which it keeps for life. On
// Python 3.11 every task is put into it by Python code, and taken out by more of it. With the
// native coroutine of served.cpp, doing it in C takes 0.5 of the 10.6 µs that a request costs the
// loop's thread. Later versions keep their tasks in C.
struct AllTasks {
    PyObject* set = nullptr;       // owned, as all that follow, until the process ends
    PyObject* add = nullptr;       // WeakSet.add
    PyObject* data = nullptr;      // of weak references
    PyObject* pending = nullptr;   // references that died while somebody iterated
    PyObject* iterating = nullptr; // guards of those who do
    PyObject* remove = nullptr;    // remove_task()
};

AllTasks all_tasks;

// What the set's own callback of a weak reference does.
PyObject* remove_task(PyObject* /*module*/, PyObject* reference) noexcept {
    const int failed = PySet_GET_SIZE(all_tasks.iterating) > 0
                           ? PyList_Append(all_tasks.pending, reference)
                           : PySet_Discard(all_tasks.data, reference);
    return failed < 0 ? nullptr : Py_NewRef(Py_None);
}

PyObject* add_task(PyObject* /*module*/, PyObject* task) noexcept {
    if (PyList_GET_SIZE(all_tasks.pending) > 0) { // rare: its own way deals with them
        PyObject* arguments[] = {all_tasks.set, task};
        return PyObject_Vectorcall(all_tasks.add, arguments, 2, nullptr);
    }
    PyObject* const reference = PyWeakref_NewRef(task, all_tasks.remove);
    if (reference == nullptr) {
        return nullptr;
    }
    const int failed = PySet_Add(all_tasks.data, reference);
    Py_DECREF(reference);
    return failed != 0 ? nullptr : Py_NewRef(Py_None);
}

PyMethodDef add_task_definition = {"add", add_task, METH_O, "As WeakSet.add."};
PyMethodDef remove_task_definition = {"_remove", remove_task, METH_O, nullptr};

// Once per process. Does nothing when the set is not what Python 3.11 has there.
void quicken_all_tasks() {
    const py::object set = py::module_::import("asyncio.tasks").attr("_all_tasks");
    if (all_tasks.set != nullptr ||
        !py::type::of(set).is(py::module_::import("weakref").attr("WeakSet"))) {
        return;
    }
    py::object data = set.attr("data");
    py::object pending = set.attr("_pending_removals");
    py::object iterating = set.attr("_iterating");
    if (!PyAnySet_CheckExact(data.ptr()) || !PyList_CheckExact(pending.ptr()) ||
        !PyAnySet_CheckExact(iterating.ptr())) {
        return;
    }
    all_tasks = {py::object(set).release().ptr(),
                 py::object(py::type::of(set).attr("add")).release().ptr(),
                 data.release().ptr(),
                 pending.release().ptr(),
                 iterating.release().ptr(),
                 PyCFunction_New(&remove_task_definition, nullptr)};
    set.attr("add") =
        py::reinterpret_steal<py::object>(PyCFunction_New(&add_task_definition, nullptr));
}

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
        quicken_all_tasks();
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
