// From a Python call to an SDK call: the blocking and the awaitable form of every operation.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "../runtime/gil.hpp"
#include "arguments.hpp"
#include "call_scope.hpp"
#include "function_here.hpp"
#include "handles.hpp"

namespace orthanc_async::sdk {

// An operation (generated, see sdk_ops.hpp) has
//   name, awaitable              of the functions or methods
//   label, awaitable_label       the same for messages: Image.DrawText
//   parameters, arity, kind, since
//   parse(const Arguments&)      GIL held, throws
//   run(context[, self])         GIL not held, never throws, touches nothing of Python
//   result()                     GIL held, throws
//   describe()                   GIL any

// Turns the C++ exception that is being handled into the Python error. GIL: held.
void translate_exception() noexcept;

// Nothing may leave a C function. GIL: held.
template <class Body> PyObject* guarded(const Body& body) noexcept {
    try {
        return body().release().ptr();
    } catch (...) {
        translate_exception();
        return nullptr;
    }
}

// What the CamelCase form gives: an operation has official_result() where the official plugin
// gives something else than is good to have. GIL: held.
template <class Op>
auto official_result(Op& op, int /*preferred*/) -> decltype(op.official_result()) {
    return op.official_result();
}
template <class Op> py::object official_result(Op& op, long /*otherwise*/) {
    return op.result();
}

// The class of a failure: an operation names a subclass of OrthancException by `exception`.
template <class Op>
constexpr auto exception_of_operation(int /*preferred*/) -> decltype(Op::exception) {
    return Op::exception;
}
template <class Op> constexpr const char* exception_of_operation(long /*otherwise*/) {
    return "OrthancException";
}

// Text for an operation that failed, with the version that has the function if that is why.
std::string failed_call(OrthancPluginErrorCode code, std::string call, const char* since);

template <class Op> void parse(Op& op, PyObject* const* values, Py_ssize_t count) {
    op.parse(Arguments(Op::label, Op::parameters, Op::arity, values, count));
}

// Runs a parsed operation on this thread. `self`: nothing, or the SDK object. GIL: held; released
// around the call.
template <class Op, class... Self> py::object run_blocking(Op& op, Self... self) {
    auto code = OrthancPluginErrorCode_Success;
    refuse_hanging(op);
    const CallScope scope(Op::label, Op::awaitable_label, Op::kind);
    {
        const runtime::WithoutGil without;
        const FunctionHere here(Op::label);
        code = op.run(scope.context(), self...);
    }
    if (code != OrthancPluginErrorCode_Success) {
        throw_sdk_error(code, failed_call(code, op.describe(), Op::since),
                        exception_of_operation<Op>(0));
    }
    return official_result(op, 0);
}

template <class Op>
PyObject* blocking(PyObject*, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&] {
        Op op;
        parse(op, values, count);
        return run_blocking(op);
    });
}

// Whether a method's operation takes its object as one that it may change.
template <class Op, class T>
constexpr bool writes =
    !std::is_invocable_v<decltype(&Op::run), Op&, OrthancPluginContext*, const T*>;

template <class Op, class T>
PyObject* method_blocking(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&] {
        Op op;
        parse(op, values, count);
        const HandlePin<T> pin(self, Op::label, writes<Op, T>);
        return run_blocking(op, pin.get());
    });
}

// The part of an awaitable call that does not depend on the operation.
class PendingCall : public runtime::Operation {
public:
    PyObject* future() const { return awaiter_.future(); }
    void reject(const std::string& reason) noexcept final;
    void deliver() final;
    bool elsewhere() const final { return awaiter_.elsewhere(); }

protected:
    virtual const char* since() const = 0;
    virtual const char* exception() const { return "OrthancException"; }
    virtual py::object result() = 0;

    OrthancPluginErrorCode code_ = OrthancPluginErrorCode_Success;
    bool stopped_ = false; // Orthanc had stopped when the worker came to it

private:
    py::object outcome(bool& failed);
    Awaiter awaiter_;
    std::string rejected_;
};

// An operation whose result is worth preparing on the worker says so by having prepare().
template <class Op> auto prepare(Op& op, int /*preferred*/) -> decltype(op.prepare()) {
    op.prepare();
}
template <class Op> void prepare(Op& /*op*/, long /*otherwise*/) {}

template <class Op> class AwaitableCall final : public PendingCall {
public:
    Op op;

    void run() noexcept override {
        const WorkerScope scope;
        stopped_ = scope.context() == nullptr;
        if (!stopped_) {
            const FunctionHere here(Op::label);
            code_ = op.run(scope.context());
            if (code_ == OrthancPluginErrorCode_Success) {
                prepare(op, 0);
            }
        }
    }
    std::string describe() const override { return op.describe(); }

private:
    const char* since() const override { return Op::since; }
    const char* exception() const override { return exception_of_operation<Op>(0); }
    py::object result() override { return op.result(); }
};

template <class Op, class T> class AwaitableMethodCall final : public PendingCall {
public:
    explicit AwaitableMethodCall(PyObject* self)
        : pin_(self, Op::awaitable_label, writes<Op, T>) {}
    Op op;

    void run() noexcept override {
        const WorkerScope scope;
        stopped_ = scope.context() == nullptr;
        if (!stopped_) {
            code_ = op.run(scope.context(), pin_.get());
        }
    }
    std::string describe() const override { return op.describe(); }

private:
    const char* since() const override { return Op::since; }
    py::object result() override { return op.result(); }

    HandlePin<T> pin_; // destroyed with the message, under the GIL
};

// Hands a parsed call to the executor and returns its future. GIL: held.
py::object submit_call(const char* function, std::unique_ptr<PendingCall> call);

template <class Op>
PyObject* awaitable(PyObject*, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&] {
        auto call = std::make_unique<AwaitableCall<Op>>();
        parse(call->op, values, count);
        refuse_hanging(call->op);
        return submit_call(Op::label, std::move(call));
    });
}

template <class Op, class T>
PyObject* method_awaitable(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&] {
        auto call = std::make_unique<AwaitableMethodCall<Op, T>>(self);
        parse(call->op, values, count);
        return submit_call(Op::label, std::move(call));
    });
}

using FastFunction = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t);

// METH_FASTCALL entries: positional-only by nature, real method descriptors, and no tuple of
// arguments is built for a call.
inline PyMethodDef method(const char* name, FastFunction function, const char* documentation) {
    return {name, reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function)),
            METH_FASTCALL, documentation};
}

// Adds functions that say they are of module `orthanc`, under which a worker process can import
// them. `functions` ends in an empty entry and lives as long as the module. GIL: held. Throws.
void add_functions(py::module_& module, PyMethodDef* functions);

} // namespace orthanc_async::sdk
