// May this thread call the SDK now, and with which context?
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "../runtime/attached_pool.hpp"
#include "../runtime/executor.hpp"

namespace orthanc_async::sdk {

// How a function may be called on the running event loop.
enum class Kind {
    Pure,     // no core lock, no input or output: allowed on the loop
    Blocking, // refused on the running loop, where the awaitable twin is named
};

// One SDK call, from its check to its end. While one exists, stopping waits for it.
// Constructor: GIL held; throws pybind11::error_already_set (RuntimeError) in a forked child,
// after Orthanc has stopped, or for a blocking function on the running loop.
class CallScope {
public:
    CallScope(const char* function, const char* awaitable, Kind kind);
    ~CallScope();
    CallScope(const CallScope&) = delete;
    CallScope& operator=(const CallScope&) = delete;

    OrthancPluginContext* context() const { return context_; }

private:
    OrthancPluginContext* context_ = nullptr;
    // The handlers' pool may use this thread's place while it is inside Orthanc.
    std::optional<runtime::AttachedPool::Pause> pause_;
};

// Same for a worker thread of the executor, or one inside a callback. GIL: not held; never throws.
// context() is null when Orthanc has stopped.
class WorkerScope {
public:
    WorkerScope() noexcept;
    ~WorkerScope();
    WorkerScope(const WorkerScope&) = delete;
    WorkerScope& operator=(const WorkerScope&) = delete;

    OrthancPluginContext* context() const { return context_; }

private:
    OrthancPluginContext* context_;
};

// Where an awaitable call's outcome goes: a future of the loop that runs on the calling thread
// (the plugin's loop, or one of the script's own, to which the outcome is handed thread-safely).
// All members: GIL held.
class Awaiter {
public:
    Awaiter(); // throws RuntimeError when no loop runs on this thread
    ~Awaiter();
    Awaiter(const Awaiter&) = delete;
    Awaiter& operator=(const Awaiter&) = delete;

    PyObject* future() const { return future_.ptr(); } // borrowed
    bool elsewhere() const { return elsewhere_; }      // not the plugin's loop. GIL: any
    void resolve(const pybind11::object& value);
    void fail(const pybind11::object& exception);

private:
    void settle(const char* method, const pybind11::object& outcome);
    pybind11::object loop_;
    pybind11::object future_;
    bool elsewhere_ = false;
};

// Hands the operation to the executor. Throws RuntimeError as CallScope does. GIL: held.
void submit(const char* function, std::unique_ptr<runtime::Operation> operation);

// Some callbacks are made under a lock of Orthanc's core, and the handler's own call for the same
// lock would wait for the handler itself. The callbacks tell here how many such handlers run now,
// and have each call looked at meanwhile. GIL: held; throws RuntimeError.
using HangCheck = void (*)(const std::string& call);
inline std::atomic<int> handlers_under_locks{0};
inline std::atomic<HangCheck> hang_check{nullptr};

template <class Op> void refuse_hanging(const Op& op) {
    if (handlers_under_locks.load(std::memory_order_relaxed) > 0 && Op::kind == Kind::Blocking) {
        if (const HangCheck check = hang_check) {
            check(op.describe());
        }
    }
}

// Raises orthanc.OrthancException(code, text); text: "RestApiGet('/x'): Unknown resource (17)".
// `call` is what Operation::describe gives. Before ORTHANC_STARTED a code that means "no database
// yet" says so. `type`: a subclass in package orthanc. GIL: held.
[[noreturn]] void throw_sdk_error(OrthancPluginErrorCode code, const std::string& call,
                                  const char* type = "OrthancException");
pybind11::object make_sdk_error(OrthancPluginErrorCode code, const std::string& call,
                                const char* type = "OrthancException");

} // namespace orthanc_async::sdk
