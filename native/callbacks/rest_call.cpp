#include "rest_call.hpp"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "../runtime/brief_look.hpp"
#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../runtime/task.hpp"
#include "../sdk/results.hpp"
#include "../sdk/text.hpp"
#include "payloads.hpp"
#include "served.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

using Clock = std::chrono::steady_clock;

thread_local RestCall* running_here = nullptr;

// What every request needs, made once per process: the interpreter is never finalised.
struct FieldNames {
    PyObject* method = PyUnicode_InternFromString("method");
    PyObject* groups = PyUnicode_InternFromString("groups");
    PyObject* get = PyUnicode_InternFromString("get");
    PyObject* query = PyUnicode_InternFromString("_query");
    PyObject* headers = PyUnicode_InternFromString("headers");
    PyObject* body = PyUnicode_InternFromString("body");
    PyObject* methods[5] = {nullptr, PyUnicode_InternFromString("GET"),
                            PyUnicode_InternFromString("POST"), PyUnicode_InternFromString("PUT"),
                            PyUnicode_InternFromString("DELETE")};
};

const FieldNames& field_names() {
    static const FieldNames names;
    return names;
}

void set_item(py::dict& target, PyObject* key, const py::object& value) {
    if (PyDict_SetItem(target.ptr(), key, value.ptr()) != 0) {
        throw py::error_already_set();
    }
}

} // namespace

const char* method_name(OrthancPluginHttpMethod method) {
    switch (method) {
    case OrthancPluginHttpMethod_Get:
        return "GET";
    case OrthancPluginHttpMethod_Post:
        return "POST";
    case OrthancPluginHttpMethod_Put:
        return "PUT";
    case OrthancPluginHttpMethod_Delete:
        return "DELETE";
    default:
        return "?";
    }
}

std::string error_body(int status, const char* reason, const std::string& message,
                       OrthancPluginHttpMethod method, const std::string& uri) {
    const nlohmann::ordered_json body{{"HttpError", reason},
                                      {"HttpStatus", status},
                                      {"Message", message},
                                      {"Method", method_name(method)},
                                      {"Uri", uri}};
    return body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

// The first step of an async handler, on the loop's thread. What it asks for, and often its end,
// is told to the waiting thread in one wake when the step is over, instead of one for each.
class RestCall::Step {
public:
    explicit Step(RestCall& call) : call_(call), outer_(std::exchange(current_, this)) {}
    ~Step() {
        current_ = outer_;
        if (wake_is_due_) {
            call_.signal_.post();
        }
    }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

    // False when this thread is in no step of that call.
    static bool wake_later(const RestCall& call) {
        const bool own = current_ != nullptr && &current_->call_ == &call;
        if (own) {
            current_->wake_is_due_ = true;
        }
        return own;
    }

private:
    inline static thread_local Step* current_ = nullptr;
    RestCall& call_;
    Step* outer_;
    bool wake_is_due_ = false;
};

RestCall::RestCall(std::shared_ptr<Registry> registry, std::size_t route, const char* uri,
                   const OrthancPluginHttpRequest* request, std::shared_ptr<ChunkedBody> chunks)
    : registry_(std::move(registry)), handler_(*registry_->rest[route]), method_(request->method),
      uri_(uri), request_(request), chunks_(std::move(chunks)) {}

RestCall::~RestCall() = default;

OrthancPluginErrorCode RestCall::serve(OrthancPluginContext* context,
                                       OrthancPluginRestOutput* output) {
    auto& mailbox = runtime::Runtime::get().mailbox;
    std::vector<std::unique_ptr<sdk::OutputOperation>> operations;
    bool over = false;
    while (!over) {
        operations.clear();
        wait_for_work();
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            operations.swap(operations_);
            over = finished_ || (abandoned_ && !reading_);
        }
        for (auto& operation : operations) {
            operation->run(context, output);
            ++progress_;
            if (operation->returns()) {
                mailbox.post(std::move(operation));
            }
        }
    }
    operations.clear();
    if (!end_operations()) {
        const std::string body =
            error_body(503, "Service Unavailable", "Orthanc is stopping", method_, uri_);
        sdk::send_status(503, body, "application/json")->run(context, output);
    }
    // What was sent of it looks whole otherwise: Orthanc ends a multipart answer properly.
    return in_parts_ && broken_ ? OrthancPluginErrorCode_Plugin : OrthancPluginErrorCode_Success;
}

bool RestCall::end_operations() {
    std::vector<std::unique_ptr<sdk::OutputOperation>> operations;
    bool answered = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        ended_ = true;
        request_ = nullptr;
        operations.swap(operations_);
        answered = answered_;
        answered_ = true;
    }
    for (auto& operation : operations) {
        operation->drop();
        if (operation->returns()) {
            runtime::Runtime::get().mailbox.post(std::move(operation));
        }
    }
    leave();
    return answered;
}

void RestCall::wait_until_read() {
    std::unique_lock<std::mutex> lock(mutex_);
    read_.wait(lock, [&] { return is_read_ || finished_ || (abandoned_ && !reading_); });
    request_ = nullptr;
}

void RestCall::discard() {
    abandon();
    wait_until_read();
    end_operations();
}

// A handler of a few microseconds has answered before a sleep and a wake are over.
void RestCall::wait_for_work() {
    constexpr std::chrono::microseconds patience{30};
    static runtime::BriefLook brief;
    const bool try_it = alone_ && progress_ == 0 && brief.worth_it();
    if (!try_it || !brief.learn(signal_.look(patience))) {
        signal_.wait();
    }
}

bool RestCall::begin() {
    const std::lock_guard<std::mutex> lock(mutex_);
    reading_ = !abandoned_ && !ended_;
    return reading_;
}

void RestCall::request_is_read() {
    bool abandoned = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        reading_ = false;
        is_read_ = true;
        abandoned = abandoned_;
        if (chunks_) {
            read_.notify_all();
        }
    }
    if (abandoned) {
        signal_.post();
    }
}

bool RestCall::has_body() const {
    return method_ == OrthancPluginHttpMethod_Post || method_ == OrthancPluginHttpMethod_Put;
}

// Copying a large body would hold up the loop: the thread that waits does it, and the handler
// starts when that is done.
class RestCall::BodyCopy final : public sdk::OutputOperation {
public:
    BodyCopy(std::shared_ptr<RestCall> call, py::object output, py::dict fields)
        : call_(std::move(call)), output_(std::move(output)), fields_(std::move(fields)),
          body_(sdk::new_bytes(call_->request_->bodySize)),
          target_(PyBytes_AS_STRING(body_.ptr())) {}

    void run(OrthancPluginContext* /*context*/,
             OrthancPluginRestOutput* /*output*/) noexcept override {
        std::memcpy(target_, call_->request_->body, call_->request_->bodySize);
        call_->request_is_read();
        copied_ = true;
    }
    bool returns() const override { return true; }
    void deliver() override {
        if (!copied_) {
            return;
        }
        try {
            set_item(fields_, field_names().body, body_);
            call_->run_handler(output_, fields_);
        } catch (...) { // as in start()
            call_->finish();
            throw;
        }
    }

private:
    std::shared_ptr<RestCall> call_;
    py::object output_;
    py::dict fields_;
    py::object body_;
    char* target_;
    bool copied_ = false;
};

py::dict RestCall::request_fields() const {
    const FieldNames& names = field_names();
    const OrthancPluginHttpRequest& request = *request_;
    py::dict fields;
    set_item(fields, names.method,
             py::reinterpret_borrow<py::object>(names.methods[static_cast<int>(method_)]));
    py::tuple groups(request.groupsCount);
    for (std::uint32_t i = 0; i < request.groupsCount; ++i) {
        groups[i] = sdk::to_text(request.groups[i]);
    }
    set_item(fields, names.groups, groups);
    if (method_ == OrthancPluginHttpMethod_Get) {
        set_item(fields, names.get,
                 sdk::to_text_map(request.getCount, request.getKeys, request.getValues));
        if (handler_.wants_query && request.getCount > 0) {
            set_item(fields, names.query, query_pairs());
        }
    }
    set_item(fields, names.headers,
             sdk::to_text_map(request.headersCount, request.headersKeys, request.headersValues));
#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 9)
    if (requests_have_payloads && request.authenticationPayloadSize > 0) {
        fields["authenticationPayload"] =
            sdk::copy_bytes(request.authenticationPayload, request.authenticationPayloadSize);
    }
#endif
    return fields;
}

void RestCall::start() {
    if (!begin()) {
        return;
    }
    py::object output;
    try {
        output = sdk::make_rest_output(shared_from_this());
        py::dict fields = request_fields();
        if (chunks_) {
            set_item(fields, field_names().body, make_chunked_body(chunks_));
        } else if (has_body()) {
            if (handler_.is_async && request_->bodySize >= sdk::large_copy) {
                std::unique_ptr<sdk::OutputOperation> copy =
                    std::make_unique<BodyCopy>(shared_from_this(), output, fields);
                if (perform(copy, Role::Preparation) != Verdict::Accepted) {
                    request_is_read(); // abandoned meanwhile: nobody will copy
                }
                return;
            }
            set_item(fields, field_names().body,
                     sdk::copy_bytes(request_->body, request_->bodySize));
        }
        request_is_read();
        run_handler(output, fields);
    } catch (py::error_already_set& error) {
        request_is_read();
        fail(output, &error);
    } catch (...) { // no memory, most likely: the thread that waits goes all the same
        request_is_read();
        finish();
        throw;
    }
}

void RestCall::run_handler(const py::object& output, const py::dict& fields) {
    const auto self = shared_from_this(); // finish() may drop the last other reference
    try {
        const py::object uri = sdk::to_text(uri_.c_str());
        PyObject* arguments[] = {output.ptr(), uri.ptr()};
        RestCall* const outer = running_here;
        running_here = handler_.is_async ? outer : this;
        PyObject* const raw =
            PyObject_VectorcallDict(handler_.callable.ptr(), arguments, 2, fields.ptr());
        running_here = outer;
        if (raw == nullptr) {
            throw py::error_already_set();
        }
        const auto result = py::reinterpret_steal<py::object>(raw);
        if (handler_.is_async) {
            if (alone_) {
                runtime::Runtime::get().lone_call = true;
            }
            const py::object coroutine =
                PyCoro_CheckExact(result.ptr()) != 0 ? result : registry_->host.awaiting(result);
            const Step step(*this);
            keep_task(runtime::start_task(make_served(self, output, coroutine)));
            return;
        }
        if (!answered_) {
            registry_->host.report(output, py::none());
        }
        finish();
    } catch (py::error_already_set& error) {
        fail(output, &error);
    }
}

void RestCall::fail(const py::object& output, py::error_already_set* error) noexcept {
    try {
        if (output) {
            registry_->host.report(output,
                                   error != nullptr ? sdk::exception_of(*error) : py::none());
        }
    } catch (py::error_already_set& again) {
        again.discard_as_unraisable("reporting an error of a REST handler");
    }
    finish();
}

py::object RestCall::new_limit(py::handle output) const {
    return registry_->limits_handlers ? registry_->host.limit(output) : py::object();
}

void RestCall::end_limit(py::handle limit) noexcept {
    try {
        limit.attr("end")();
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("the end of HandlerTimeout");
    }
}

// Orthanc hands every query argument over, in order; the official dictionary keeps the last of a
// name. Our own router gets all of them.
py::list RestCall::query_pairs() const {
    py::list pairs;
    for (std::uint32_t i = 0; i < request_->getCount; ++i) {
        pairs.append(py::make_tuple(sdk::to_text(request_->getKeys[i]),
                                    sdk::to_text(request_->getValues[i])));
    }
    return pairs;
}

void RestCall::keep_task(const py::object& task) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!finished_) { // an eager task may have ended already
        task_ = py::object(task).release().ptr();
    }
}

void RestCall::finish() {
    PyObject* task = nullptr;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        finished_ = true;
        task = std::exchange(task_, nullptr);
        if (chunks_) {
            read_.notify_all();
        }
    }
    if (chunks_) {
        chunks_->stop_reading();
    }
    wake();
    Py_XDECREF(task);
}

std::string RestCall::error_answer(const std::string& message) const {
    return error_body(500, "Internal Server Error", message, method_, uri_);
}

void RestCall::abandon() {
    break_off();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        abandoned_ = true;
        read_.notify_all();
    }
    if (chunks_) {
        chunks_->stop_reading();
    }
    signal_.post();
}

sdk::OutputTarget::Verdict RestCall::perform(std::unique_ptr<sdk::OutputOperation>& operation,
                                             Role role) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (ended_ || finished_ || abandoned_) {
            return Verdict::Ended;
        }
        if (role != Role::Preparation && answered_) {
            return Verdict::Answered;
        }
        operations_.push_back(std::move(operation));
        if (role != Role::Preparation) {
            answered_ = true;
            in_parts_ = role == Role::Parts;
        }
    }
    wake();
    return Verdict::Accepted;
}

void RestCall::wake() {
    if (!Step::wake_later(*this)) {
        signal_.post();
    }
}

std::string RestCall::describe() const {
    return handler_.name + ", " + method_name(method_) + " " + uri_;
}

bool RestCall::ended() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return ended_;
}

double RestCall::seconds() const {
    return std::chrono::duration<double>(Clock::now() - since_).count();
}

py::object RestCall::task() const {
    return task_ == nullptr ? py::none() : py::reinterpret_borrow<py::object>(task_);
}

RestCall* RestCall::on_this_thread() {
    return running_here;
}

} // namespace orthanc_async::callbacks
