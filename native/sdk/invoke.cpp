#include "invoke.hpp"

#include <exception>
#include <new>

#include "text.hpp"

namespace orthanc_async::sdk {

void translate_exception() noexcept {
    try {
        throw;
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const py::builtin_exception& error) {
        error.set_error();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    } catch (...) {
        PyErr_SetString(PyExc_SystemError, "unknown C++ exception in an SDK function");
    }
}

std::string failed_call(OrthancPluginErrorCode code, std::string call, const char* since) {
    if (code == OrthancPluginErrorCode_UnknownPluginService) {
        if (*since != '\0') {
            call += " needs Orthanc " + std::string(since) + " or newer";
        } else {
            call += " is not known to this version of Orthanc";
        }
    }
    return call;
}

void PendingCall::reject(const std::string& reason) noexcept {
    try {
        rejected_ = reason.empty() ? "refused" : reason;
    } catch (...) {
        stopped_ = true; // no memory for the words: the call fails all the same
    }
}

py::object PendingCall::outcome(bool& failed) {
    failed = true;
    try {
        if (stopped_ || !rejected_.empty()) {
            const std::string text =
                describe() + ": " + (rejected_.empty() ? "Orthanc has stopped" : rejected_);
            return py::reinterpret_borrow<py::object>(PyExc_RuntimeError)(py::str(text));
        }
        if (code_ != OrthancPluginErrorCode_Success) {
            return make_sdk_error(code_, failed_call(code_, describe(), since()), exception());
        }
        py::object value = result();
        failed = false;
        return value;
    } catch (...) { // whatever it is, somebody awaits it
        translate_exception();
        const py::error_already_set error;
        return exception_of(error);
    }
}

void PendingCall::deliver() {
    bool failed = false;
    py::object value = outcome(failed);
    if (failed) {
        awaiter_.fail(value);
    } else {
        awaiter_.resolve(value);
    }
}

py::object submit_call(const char* function, std::unique_ptr<PendingCall> call) {
    py::object future = py::reinterpret_borrow<py::object>(call->future());
    submit(function, std::move(call));
    return future;
}

void add_functions(py::module_& module, PyMethodDef* functions) {
    const py::str home("orthanc");
    for (PyMethodDef* item = functions; item->ml_name != nullptr; ++item) {
        const auto function =
            py::reinterpret_steal<py::object>(PyCFunction_NewEx(item, module.ptr(), home.ptr()));
        if (!function) {
            throw py::error_already_set();
        }
        module.add_object(item->ml_name, function);
    }
}

} // namespace orthanc_async::sdk
