// Taking the GIL and giving it up, for a scope.
#pragma once

#include <Python.h>

namespace orthanc_async::runtime {

// For a thread that may be new to Python, or inside a call of it.
//
// pybind11's gil_scoped_acquire is no twin: it keeps a thread state of its own beside CPython's,
// so one that PyGILState_Ensure has made on that thread would be left aside, and with it the
// script's thread-local values and its running loop.
class WithGil {
public:
    WithGil() : state_(PyGILState_Ensure()) {}
    ~WithGil() { PyGILState_Release(state_); }
    WithGil(const WithGil&) = delete;
    WithGil& operator=(const WithGil&) = delete;

private:
    PyGILState_STATE state_;
};

// For a thread that holds the GIL.
class WithoutGil {
public:
    WithoutGil() : state_(PyEval_SaveThread()) {}
    ~WithoutGil() { PyEval_RestoreThread(state_); }
    WithoutGil(const WithoutGil&) = delete;
    WithoutGil& operator=(const WithoutGil&) = delete;

private:
    PyThreadState* state_;
};

} // namespace orthanc_async::runtime
