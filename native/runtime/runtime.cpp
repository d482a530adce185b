#include "runtime.hpp"

namespace py = pybind11;

namespace orthanc_async::runtime {

namespace {

// More than a server has HTTP threads; each exists only while that many handlers block at once.
constexpr std::size_t most_handler_threads = 1024;

Attachment python_attachment() {
    // Each thread keeps one Python thread state for its life, as a thread that a host attaches
    // does: thread-local values and a script's own event loop persist from call to call.
    static thread_local PyThreadState* state = nullptr;
    return {
        [] {
            PyGILState_Ensure();
            state = PyEval_SaveThread();
        },
        [] { PyEval_RestoreThread(state); },
        [] { state = PyEval_SaveThread(); },
        [] {
            PyEval_RestoreThread(state);
            PyThreadState_Clear(state);
            PyThreadState_DeleteCurrent();
            state = nullptr;
        },
    };
}

} // namespace

Runtime& Runtime::get() {
    static auto* const runtime = new Runtime; // NOLINT(cppcoreguidelines-owning-memory)
    return *runtime;
}

void Runtime::start_threads(std::size_t sdk_threads) {
    ExecutorLimits limits;
    limits.threads = sdk_threads;
    limits.most_threads = std::max(limits.most_threads, sdk_threads);
    std::atomic_store(&executor_,
                      std::make_shared<Executor>(limits, [this](std::unique_ptr<Operation> done) {
                          const auto pool = done->elsewhere() ? handlers() : nullptr;
                          std::unique_ptr<Message> message = std::move(done);
                          if (!pool || !pool->submit(message)) {
                              mailbox.post(std::move(message));
                          }
                      }));
    PoolLimits many;
    many.threads = most_handler_threads;
    std::atomic_store(&handlers_, std::make_shared<AttachedPool>(many, python_attachment()));
    std::atomic_store(&events_, std::make_shared<AttachedPool>(PoolLimits{}, python_attachment()));
}

void Runtime::drop_threads() {
    std::atomic_store(&executor_, std::shared_ptr<Executor>());
    std::atomic_store(&handlers_, std::shared_ptr<AttachedPool>());
    std::atomic_store(&events_, std::shared_ptr<AttachedPool>());
}

namespace {

struct Names {
    PyObject* callback = PyUnicode_InternFromString("_callback");
    PyObject* context = PyUnicode_InternFromString("_context");
    PyObject* self = PyUnicode_InternFromString("__self__");
    PyObject* pop = PyUnicode_InternFromString("pop");
    PyObject* append = PyUnicode_InternFromString("append");
};

py::object attribute(const py::object& object, PyObject* name) {
    PyObject* const value = PyObject_GetAttr(object.ptr(), name);
    if (value == nullptr) {
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::object>(value);
}

// A new task has put its first step at the end of the queue: take it and run it now, in the
// task's own context, exactly as the loop would a turn later.
void run_first_step(const py::object& task, const py::object& ready) {
    static const Names names; // the interpreter is never finalised
    PyObject* const popped = PyObject_CallMethodNoArgs(ready.ptr(), names.pop);
    if (popped == nullptr) {
        throw py::error_already_set();
    }
    const auto handle = py::reinterpret_steal<py::object>(popped);
    const py::object step = attribute(handle, names.callback);
    if (!attribute(step, names.self).is(task)) {
        py::object(attribute(ready, names.append))(handle);
        return;
    }
    const py::object context = attribute(handle, names.context);
    if (PyContext_Enter(context.ptr()) != 0) {
        throw py::error_already_set();
    }
    PyObject* const result = PyObject_CallNoArgs(step.ptr());
    // Leaving keeps an error of the step, which only a broken loop can raise.
    if (PyContext_Exit(context.ptr()) != 0 || result == nullptr) {
        Py_XDECREF(result);
        throw py::error_already_set();
    }
    Py_DECREF(result);
}

} // namespace

py::object start_task(py::handle coroutine) {
    const LoopReferences& loop = *Runtime::get().loop;
    PyObject* arguments[] = {coroutine.ptr(), loop.loop.ptr(), loop.task_name.ptr(), Py_True};
    PyObject* task =
        PyObject_Vectorcall(loop.task_type.ptr(), arguments, 1, loop.task_kwargs.ptr());
    if (task == nullptr) {
        throw py::error_already_set();
    }
    auto started = py::reinterpret_steal<py::object>(task);
    if (loop.ready) {
        run_first_step(started, loop.ready);
    }
    return started;
}

} // namespace orthanc_async::runtime
