#include "rest.hpp"

#include <pybind11/stl.h>

#include <thread>
#include <utility>

#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/server.hpp"
#include "boundary.hpp"
#include "rest_call.hpp"
#include "rest_entries.hpp"
#include "served.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

using namespace std::chrono_literals;

constexpr auto request_patience = 10s; // how long a request waits for on_startup
constexpr auto register_patience = 5s; // how long a late registration waits for requests

class RestMessage final : public runtime::Message {
public:
    explicit RestMessage(std::shared_ptr<RestCall> call) : call_(std::move(call)) {}
    void deliver() override {
        try {
            call_->start();
        } catch (const std::exception& error) {
            sdk::Server::get().log_error(error.what());
        }
    }

private:
    std::shared_ptr<RestCall> call_;
};

OrthancPluginErrorCode refuse_request(OrthancPluginContext* context,
                                      OrthancPluginRestOutput* output, const char* uri,
                                      OrthancPluginHttpMethod method, const char* message) {
    const std::string body = error_body(503, "Service Unavailable", message, method, uri);
    OrthancPluginSetHttpHeader(context, output, "Retry-After", "5");
    sdk::send_status(503, body, "application/json")->run(context, output);
    return OrthancPluginErrorCode_Success;
}

// Lets a request in and starts its handler; null: it is to be refused, with this message.
// Thread: one of Orthanc's HTTP threads, or any that calls …AfterPlugins. GIL: not held.
std::shared_ptr<RestCall> admit(std::size_t route, const char* uri,
                                const OrthancPluginHttpRequest* request,
                                std::shared_ptr<ChunkedBody> chunks, const char*& refusal) {
    auto& runtime = runtime::Runtime::get();
    const auto gate = runtime.gate.pass(request_patience);
    refusal =
        gate == runtime::Gate::State::Starting ? "Orthanc is starting" : "Orthanc is stopping";
    if (gate != runtime::Gate::State::Open) {
        return nullptr;
    }
    auto registry = Registry::current();
    if (!registry || route >= registry->rest_count) {
        return nullptr;
    }
    auto call =
        std::make_shared<RestCall>(std::move(registry), route, uri, request, std::move(chunks));
    if (!call->arrive()) {
        refusal = "A route is being registered";
        return nullptr;
    }
    // Who closes the gate abandons the live calls afterwards: one that arrives later must see it.
    if (runtime.gate.state() != runtime::Gate::State::Open) {
        call->leave();
        return nullptr;
    }
    std::unique_ptr<runtime::Message> message = std::make_unique<RestMessage>(call);
    bool accepted = false;
    if (call->is_async()) {
        accepted = runtime.mailbox.post(std::move(message));
    } else if (const auto pool = runtime.handlers()) {
        accepted = pool->submit(message);
    }
    if (!accepted) {
        call->leave();
        return nullptr;
    }
    return call;
}

// A POST or PUT whose body arrives in chunks: Orthanc's thread comes back for each of them, and at
// last for the answer. Owner: Orthanc, from create_reader() to finalize_reader().
struct ChunkedRequest {
    std::string uri;
    OrthancPluginHttpMethod method{};
    std::shared_ptr<ChunkedBody> body = std::make_shared<ChunkedBody>();
    std::shared_ptr<RestCall> call; // null once it has been served, and when refused
    const char* refusal = nullptr;
};

ChunkedRequest& request_of(OrthancPluginServerChunkedRequestReader* reader) {
    return *reinterpret_cast<ChunkedRequest*>(reader);
}

OrthancPluginErrorCode add_chunk(OrthancPluginServerChunkedRequestReader* reader, const void* data,
                                 std::uint32_t size) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const ChunkedRequest& request = request_of(reader);
        if (request.call) {
            request.body->add(data, size);
            request.call->note_progress();
        }
        return OrthancPluginErrorCode_Success;
    });
}

OrthancPluginErrorCode execute(OrthancPluginServerChunkedRequestReader* reader,
                               OrthancPluginRestOutput* output) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        ChunkedRequest& request = request_of(reader);
        request.body->end(true);
        const auto call = std::move(request.call);
        const sdk::WorkerScope scope;
        if (scope.context() == nullptr) {
            request.call = call;
            return OrthancPluginErrorCode_Plugin;
        }
        return call ? call->serve(scope.context(), output)
                    : refuse_request(scope.context(), output, request.uri.c_str(), request.method,
                                     request.refusal);
    });
}

void finalize_reader(OrthancPluginServerChunkedRequestReader* reader) noexcept {
    in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const std::unique_ptr<ChunkedRequest> request(&request_of(reader));
        if (request->call) { // the client has gone
            request->body->end(false);
            request->call->discard();
        }
        return OrthancPluginErrorCode_Success;
    });
}

constexpr int chunked_form = 1; // Handler::form of a route whose bodies come in chunks

// Thread: any. GIL: not held.
void enter_route(OrthancPluginContext* context, const std::string& pattern, std::size_t route,
                 int form) {
    const RestEntry entry = rest_entry(route);
    if (form == chunked_form) {
        OrthancPluginRegisterChunkedRestCallback(context, pattern.c_str(), entry.answer,
                                                 entry.read, entry.answer, entry.read, add_chunk,
                                                 execute, finalize_reader);
    } else {
        OrthancPluginRegisterRestCallbackNoLock(context, pattern.c_str(), entry.answer);
    }
}

// Of a RestOutput, or of the coroutine of a handler's task.
std::shared_ptr<RestCall> call_of(py::handle output) {
    if (auto call = served_call(output)) {
        return call;
    }
    return std::dynamic_pointer_cast<RestCall>(sdk::rest_output_target(output));
}

std::string names_in_flight() {
    std::string names;
    for (const auto& call : RestCall::live()) {
        names += (names.empty() ? "" : "; ") + call->describe();
    }
    return names;
}

// Empty, or why Orthanc does not take the route: what its regular expressions throw comes through
// its C interface.
std::string register_now(OrthancPluginContext* context, const std::string& pattern,
                         std::size_t route, int form) {
    try {
        enter_route(context, pattern, route, form);
        return "";
    } catch (const std::exception& error) {
        return "orthanc.RegisterRestCallback('" + pattern +
               "'): Orthanc does not take this regular expression: " + error.what();
    }
}

// Orthanc holds its registration lock, shared, during every REST callback of a plugin, and a
// registration waits for it exclusively while every new request queues behind: so it waits here,
// outside the lock, until none of our handlers runs. A request that Orthanc has let in since would
// hold that lock while its handler calls further routes, which queue behind the registration: for
// this moment it is refused.
std::string register_late(OrthancPluginContext* context, const std::string& pattern,
                          std::size_t route, int form, std::chrono::seconds patience) {
    // Requests that wait for on_startup hold the lock too.
    const runtime::Gate::Hurry hurry(runtime::Runtime::get().gate);
    const RestCall::Quiet quiet(std::chrono::steady_clock::now() + patience);
    if (!quiet) {
        return "orthanc.RegisterRestCallback('" + pattern +
               "') waits for the REST handlers in flight, and after " +
               std::to_string(patience.count()) + " s these still run: " + names_in_flight() +
               ". Register routes while the script is imported, or below a mounted prefix";
    }
    return register_now(context, pattern, route, form);
}

// The REST handler that the caller is inside of, on its own thread or by way of its context.
std::shared_ptr<RestCall> current_call() {
    if (RestCall* const here = RestCall::on_this_thread()) {
        return here->shared_from_this();
    }
    PyObject* output = nullptr;
    if (PyContextVar_Get(current_output(), nullptr, &output) != 0) {
        throw py::error_already_set();
    }
    if (output == nullptr) {
        return nullptr;
    }
    auto call = call_of(py::reinterpret_steal<py::object>(output));
    return call && !call->ended() ? call : nullptr;
}

void require_outside_handler(const std::string& pattern) {
    if (const auto call = current_call()) {
        throw std::runtime_error(
            "orthanc.RegisterRestCallback('" + pattern + "') was called inside the REST handler " +
            call->describe() +
            ": Orthanc would wait for ever, as it registers only when no REST handler runs. "
            "Register routes while the script is imported, or below a mounted prefix");
    }
}

std::size_t add_route(Registry& registry, const std::string& pattern, py::object callable,
                      int form) {
    const std::size_t route = registry.rest.size();
    if (route >= most_routes) {
        throw std::runtime_error("more than " + std::to_string(most_routes) +
                                 " REST routes: let several paths share one regular expression");
    }
    registry.rest.push_back(
        std::make_unique<Handler>(registry.make_handler(std::move(callable), "route " + pattern)));
    registry.rest.back()->form = form;
    registry.rest_count = registry.rest.size();
    return route;
}

std::shared_ptr<Registry> require_registry() {
    auto registry = Registry::current();
    if (!registry) {
        throw std::runtime_error("orthanc.RegisterRestCallback() was called after Orthanc has "
                                 "stopped");
    }
    return registry;
}

template <int Form> void register_rest_callback(const std::string& pattern, py::object callable) {
    const auto registry = require_registry();
    if (!registry->loading) {
        require_outside_handler(pattern);
        if (runtime::Runtime::get().on_running_loop() && RestCall::live_count() > 0) {
            throw std::runtime_error(
                "orthanc.RegisterRestCallback('" + pattern +
                "') on the event loop would wait for handlers that run on it: use `await "
                "orthanc.register_rest_callback(…)`; in flight: " +
                names_in_flight());
        }
    }
    const std::size_t route = add_route(*registry, pattern, std::move(callable), Form);
    const sdk::CallScope scope("RegisterRestCallback", "register_rest_callback", sdk::Kind::Pure);
    // Handlers that run on the loop would wait for this thread.
    const auto patience = runtime::Runtime::get().on_running_loop() ? 0s : register_patience;
    std::string failure;
    {
        const runtime::WithoutGil without;
        if (registry->loading) {
            failure = register_now(scope.context(), pattern, route, Form);
        } else {
            failure = register_late(scope.context(), pattern, route, Form, patience);
        }
    }
    if (!failure.empty()) {
        throw std::runtime_error(failure);
    }
}

class LateRegistration final : public runtime::Operation {
public:
    LateRegistration(std::string pattern, std::size_t route, int form)
        : pattern_(std::move(pattern)), route_(route), form_(form) {}

    PyObject* future() const { return awaiter_.future(); }

    void run() noexcept override {
        const sdk::WorkerScope scope;
        failure_ = scope.context() == nullptr ? "Orthanc has stopped"
                                              : register_late(scope.context(), pattern_, route_,
                                                              form_, register_patience);
    }
    void reject(const std::string& reason) noexcept override { failure_ = reason; }
    bool elsewhere() const override { return awaiter_.elsewhere(); }
    std::string describe() const override { return "RegisterRestCallback('" + pattern_ + "')"; }
    void deliver() override {
        if (failure_.empty()) {
            awaiter_.resolve(py::none());
        } else {
            awaiter_.fail(py::reinterpret_borrow<py::object>(PyExc_RuntimeError)(failure_));
        }
    }

private:
    sdk::Awaiter awaiter_;
    std::string pattern_;
    std::size_t route_;
    int form_;
    std::string failure_;
};

template <int Form>
py::object register_rest_callback_later(const std::string& pattern, py::object callable) {
    const auto registry = require_registry();
    require_outside_handler(pattern);
    const std::size_t route = add_route(*registry, pattern, std::move(callable), Form);
    auto operation = std::make_unique<LateRegistration>(pattern, route, Form);
    const auto future = py::reinterpret_borrow<py::object>(operation->future());
    sdk::submit("register_rest_callback", std::move(operation));
    return future;
}

} // namespace

OrthancPluginErrorCode enter_rest(std::size_t route, OrthancPluginRestOutput* output,
                                  const char* uri,
                                  const OrthancPluginHttpRequest* request) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const sdk::WorkerScope scope;
        if (scope.context() == nullptr) {
            return OrthancPluginErrorCode_Plugin;
        }
        const char* refusal = nullptr;
        const auto call = admit(route, uri, request, nullptr, refusal);
        return call ? call->serve(scope.context(), output)
                    : refuse_request(scope.context(), output, uri, request->method, refusal);
    });
}

OrthancPluginErrorCode open_rest_body(std::size_t route,
                                      OrthancPluginServerChunkedRequestReader** reader,
                                      const char* uri,
                                      const OrthancPluginHttpRequest* request) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        auto chunked = std::make_unique<ChunkedRequest>();
        chunked->uri = uri;
        chunked->method = request->method;
        chunked->call = admit(route, uri, request, chunked->body, chunked->refusal);
        if (chunked->call) {
            chunked->call->wait_until_read();
        }
        *reader = reinterpret_cast<OrthancPluginServerChunkedRequestReader*>(chunked.release());
        return OrthancPluginErrorCode_Success;
    });
}

void add_rest(py::module_& module) {
    module.def("RegisterRestCallback", &register_rest_callback<0>, py::arg(), py::arg(),
               py::pos_only());
    module.def("register_rest_callback", &register_rest_callback_later<0>, py::arg(), py::arg(),
               py::pos_only());
    add_chunked_body(module);
    module.def("RegisterChunkedRestCallback", &register_rest_callback<chunked_form>, py::arg(),
               py::arg(), py::pos_only());
    module.def("register_chunked_rest_callback", &register_rest_callback_later<chunked_form>,
               py::arg(), py::arg(), py::pos_only());

    // A call as the Python half sees it: to name it, to cancel it, to let its thread go.
    py::class_<RestCall, std::shared_ptr<RestCall>>(module, "_RestCall")
        .def("describe", &RestCall::describe)
        .def("abandon", &RestCall::abandon)
        .def("break_off", &RestCall::break_off)
        .def_property_readonly("task", &RestCall::task)
        .def_property_readonly("is_async", &RestCall::is_async)
        .def_property_readonly("seconds", &RestCall::seconds)
        .def_property_readonly("progress", &RestCall::progress)
        .def_property_readonly("answered", &RestCall::answered)
        .def_property_readonly("ended", &RestCall::ended)
        .def_property_readonly("uri", &RestCall::uri)
        .def_property_readonly("method",
                               [](const RestCall& call) { return method_name(call.method()); });
    module.def("_live_rest_calls", &RestCall::live);
    // Waits until no call is live; false when some still are. Not on the loop.
    module.def("_wait_calls", [](double seconds) {
        const auto deadline = std::chrono::steady_clock::now() +
                              std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6));
        const runtime::WithoutGil without;
        return RestCall::wait_none(deadline);
    });
    module.def("_call_of", &call_of);
    // The handler of this output has ended: its Orthanc thread may go.
    module.def("_finish", [](py::handle output) {
        if (const auto call = call_of(output)) {
            call->finish();
        }
    });
    add_served(module);
}

} // namespace orthanc_async::callbacks
