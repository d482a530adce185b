#include "call_scope.hpp"

#include "../runtime/runtime.hpp"
#include "server.hpp"

namespace py = pybind11;

namespace orthanc_async::sdk {

namespace {

[[noreturn]] void refuse(const std::string& text) {
    PyErr_SetString(PyExc_RuntimeError, text.c_str());
    throw py::error_already_set();
}

[[noreturn]] void refuse_closed(const std::string& function) {
    if (Server::get().forked()) {
        refuse("orthanc." + function +
               "() was called in a forked child process: only Orthanc's own process can call its "
               "functions; hand the data to the child, and its result back");
    }
    refuse("orthanc." + function + "() was called after Orthanc has stopped");
}

} // namespace

CallScope::CallScope(const char* function, const char* awaitable, Kind kind) {
    if (kind == Kind::Blocking && runtime::Runtime::get().on_running_loop()) {
        refuse("orthanc." + std::string(function) +
               "() would block the event loop, and with it every other handler: use `await "
               "orthanc." +
               awaitable + "(…)` here, or call it in a thread");
    }
    context_ = Server::get().enter();
    if (context_ == nullptr) {
        refuse_closed(function);
    }
    if (kind == Kind::Blocking) {
        pause_.emplace();
    }
}

CallScope::~CallScope() {
    Server::get().leave();
}

WorkerScope::WorkerScope() noexcept : context_(Server::get().enter()) {}

WorkerScope::~WorkerScope() {
    if (context_ != nullptr) {
        Server::get().leave();
    }
}

Awaiter::Awaiter() {
    const auto& own = runtime::Runtime::get().loop;
    if (own && runtime::Runtime::get().on_running_loop()) {
        loop_ = own->loop;
        future_ = own->create_future();
        return;
    }
    elsewhere_ = true;
    loop_ = py::module_::import("asyncio").attr("get_running_loop")();
    future_ = loop_.attr("create_future")();
}

Awaiter::~Awaiter() = default;

void Awaiter::resolve(const py::object& value) {
    settle("set_result", value);
}

void Awaiter::fail(const py::object& exception) {
    settle("set_exception", exception);
}

void Awaiter::settle(const char* method, const py::object& outcome) {
    const auto& own = runtime::Runtime::get().loop;
    if (own && loop_.is(own->loop)) {
        // A cancelled future stays cancelled: the call itself could not be interrupted.
        if (!future_.attr("done")().cast<bool>()) {
            future_.attr(method)(outcome);
        }
        return;
    }
    try {
        if (future_.attr("done")().cast<bool>()) {
            return; // cancelled, perhaps with its loop closed since
        }
        const auto settle_there =
            py::module_::import("orthanc_async._host.foreign").attr("settle");
        loop_.attr("call_soon_threadsafe")(settle_there, future_, method, outcome);
    } catch (py::error_already_set& error) {
        // The script has closed that loop: nobody waits any more.
        error.discard_as_unraisable("an awaited SDK call whose event loop is closed");
    }
}

void submit(const char* function, std::unique_ptr<runtime::Operation> operation) {
    const auto executor = runtime::Runtime::get().executor();
    Server& server = Server::get();
    if (!executor || server.closed() || server.forked()) {
        refuse_closed(function);
    }
    executor->submit(std::move(operation));
}

py::object make_sdk_error(OrthancPluginErrorCode code, const std::string& call, const char* type) {
    Server& server = Server::get();
    const char* description = nullptr;
    if (OrthancPluginContext* const context = server.enter()) {
        description = OrthancPluginGetErrorDescription(context, code);
        server.leave();
    }
    std::string text = call + ": " + (description != nullptr ? description : "Unknown error") +
                       " (" + std::to_string(static_cast<int>(code)) + ")";
    if (!server.started()) {
        text += "; Orthanc has not started yet: what needs its database works from "
                "ORTHANC_STARTED (on_startup) on";
    }
    return py::module_::import("orthanc").attr(type)(static_cast<int>(code), text);
}

void throw_sdk_error(OrthancPluginErrorCode code, const std::string& call, const char* type) {
    const py::object error = make_sdk_error(code, call, type);
    PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
    throw py::error_already_set();
}

} // namespace orthanc_async::sdk
