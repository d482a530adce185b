#include "rest_output.hpp"

#include <future>
#include <optional>
#include <sdk_ops.hpp> // generated
#include <string_view>

#include "../runtime/runtime.hpp"
#include "invoke.hpp"
#include "server.hpp"

namespace orthanc_async::sdk {

namespace {

struct RestOutputObject {
    PyObject_HEAD std::shared_ptr<OutputTarget>* target;
};

PyTypeObject* rest_output_type = nullptr; // lives as long as the interpreter: the process

std::shared_ptr<OutputTarget>& target_of(PyObject* self) {
    return *reinterpret_cast<RestOutputObject*>(self)->target;
}

[[noreturn]] void throw_ended(const std::string& call, const OutputTarget& target) {
    throw std::runtime_error(call + " was called after the call it belongs to has ended (" +
                             target.describe() + "): answer before the handler returns");
}

// What became of an operation, for its caller or the log.
void log_failure(OrthancPluginErrorCode code, const std::string& call, const char* since) {
    if (code == OrthancPluginErrorCode_Success) {
        return;
    }
    std::string text = failed_call(code, "orthanc.RestOutput." + call, since);
    if (code != OrthancPluginErrorCode_UnknownPluginService) {
        text += " failed with error " + std::to_string(static_cast<int>(code)) +
                "; the client may have left";
    }
    Server::get().log_warning(text.c_str());
}

// Handed over and not waited for.
template <class Op> class PlainOutput final : public OutputOperation {
public:
    Op op;
    void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept override {
        log_failure(op.run(context, output), Op::name, Op::since);
    }
    bool returns() const override { return true; }
};

// Awaited on a loop: the only place where a client that left is seen, and the back-pressure.
template <class Op> class AwaitedOutput final : public OutputOperation {
public:
    explicit AwaitedOutput(std::string handler) : handler_(std::move(handler)) {}
    Op op;

    PyObject* future() const { return awaiter_.future(); }
    void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept override {
        code_ = op.run(context, output);
    }
    void drop() noexcept override { code_ = OrthancPluginErrorCode_CanceledJob; }
    bool returns() const override { return true; }
    void deliver() override {
        if (*code_ == OrthancPluginErrorCode_Success) {
            awaiter_.resolve(py::none());
        } else {
            awaiter_.fail(make_sdk_error(
                *code_,
                failed_call(*code_, std::string(Op::name) + " in " + handler_, Op::since)));
        }
    }

private:
    Awaiter awaiter_;
    std::string handler_;
    std::optional<OrthancPluginErrorCode> code_;
};

// Waited for by the thread of a plain handler. The operation itself stays with that thread.
template <class Op> class WaitedOutput final : public OutputOperation {
public:
    WaitedOutput(Op& op, std::promise<OrthancPluginErrorCode> done)
        : op_(op), done_(std::move(done)) {}
    void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept override {
        done_.set_value(op_.run(context, output));
    }
    void drop() noexcept override { done_.set_value(OrthancPluginErrorCode_CanceledJob); }
    bool returns() const override { return false; }

private:
    Op& op_;
    std::promise<OrthancPluginErrorCode> done_;
};

// Owns plain C++ memory only, so it ends on the thread that runs it.
class CopiedAnswer final : public OutputOperation {
public:
    CopiedAnswer(std::string body, std::string mime)
        : body_(std::move(body)), mime_(std::move(mime)) {}
    void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept override {
        OrthancPluginAnswerBuffer(context, output, body_.data(),
                                  static_cast<std::uint32_t>(body_.size()), mime_.c_str());
    }
    bool returns() const override { return false; }

private:
    std::string body_;
    std::string mime_;
};

class CopiedStatus final : public OutputOperation {
public:
    CopiedStatus(int status, std::string body, std::string mime, Refusal refusal)
        : status_(status), body_(std::move(body)), mime_(std::move(mime)),
          refusal_(std::move(refusal)) {}
    void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept override {
        if (!mime_.empty()) {
            OrthancPluginSetHttpHeader(context, output, "Content-Type", mime_.c_str());
        }
        // Not by the header's inline function, which drops the code.
        _OrthancPluginSendHttpStatus call{output, static_cast<std::uint16_t>(status_),
                                          body_.data(), static_cast<std::uint32_t>(body_.size())};
        const auto code =
            context->InvokeService(context, _OrthancPluginService_SendHttpStatus, &call);
        if (code != OrthancPluginErrorCode_Success && !refusal_.message.empty()) {
            Server::get().log_error(refusal_.message.c_str());
            OrthancPluginSetHttpHeader(context, output, "Content-Type", "application/json");
            OrthancPluginSendHttpStatus(context, output, 500, refusal_.body.data(),
                                        static_cast<std::uint32_t>(refusal_.body.size()));
        }
    }
    bool returns() const override { return false; }

private:
    int status_;
    std::string body_;
    std::string mime_;
    Refusal refusal_;
};

class CopiedHeader final : public OutputOperation {
public:
    CopiedHeader(std::string key, std::string value)
        : key_(std::move(key)), value_(std::move(value)) {}
    void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept override {
        OrthancPluginSetHttpHeader(context, output, key_.c_str(), value_.c_str());
    }
    bool returns() const override { return false; }

private:
    std::string key_;
    std::string value_;
};

// A second answer would change nothing at the client. The official spelling says so in the log, as
// scripts may do it unknowingly; our own raises.
enum class Spelling { Official, Own };

void hand_over(OutputTarget& target, std::unique_ptr<OutputOperation> operation,
               const char* function, OutputTarget::Role role = OutputTarget::Role::Preparation,
               Spelling spelling = Spelling::Own) {
    if (Server::get().forked()) { // the thread that would carry it out is not here
        throw std::runtime_error("orthanc.RestOutput." + std::string(function) +
                                 "() was called in a forked child process: only Orthanc's own "
                                 "process can answer; hand the result back to it");
    }
    const auto verdict = target.perform(operation, role);
    if (verdict == OutputTarget::Verdict::Accepted) {
        return;
    }
    if (verdict == OutputTarget::Verdict::Ended) {
        throw_ended("orthanc.RestOutput." + std::string(function) + "()", target);
    }
    const std::string text = "orthanc.RestOutput." + std::string(function) +
                             "() was called, but the request has been answered already (" +
                             target.describe() + "): the client keeps the first answer";
    if (spelling == Spelling::Own) {
        throw std::runtime_error(text);
    }
    const runtime::WithoutGil without;
    Server::get().log_warning(text.c_str());
}

template <class Op> constexpr bool is_item = false;
template <> inline constexpr bool is_item<ops::SendMultipartItem> = true;
template <> inline constexpr bool is_item<ops::SendMultipartItem2> = true;
#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 6)
template <> inline constexpr bool is_item<ops::SendStreamChunk> = true;
#endif

// StartMultipartAnswer, and StartStreamAnswer where the header has it.
template <class Op>
constexpr bool begins_parts = std::string_view(Op::name).substr(0, 5) == "Start";

// These say something about an answer that is still to come.
template <class Op> constexpr bool is_preparation = is_item<Op>;
template <> inline constexpr bool is_preparation<ops::SetCookie> = true;
template <> inline constexpr bool is_preparation<ops::SetHttpHeader> = true;
template <> inline constexpr bool is_preparation<ops::SetHttpErrorDetails> = true;

template <class Op>
constexpr auto role = is_preparation<Op> ? OutputTarget::Role::Preparation
                      : begins_parts<Op> ? OutputTarget::Role::Parts
                                         : OutputTarget::Role::Answer;

// As the script has spelled it.
template <class Op, Spelling spelling>
constexpr const char* called = spelling == Spelling::Own ? Op::awaitable : Op::name;

template <class Op, Spelling spelling>
PyObject* plain(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        OutputTarget& target = *target_of(self);
        auto operation = std::make_unique<PlainOutput<Op>>();
        parse(operation->op, values, count);
        hand_over(target, std::move(operation), called<Op, spelling>, role<Op>, spelling);
        return py::none();
    });
}

template <class Op>
PyObject* awaited(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        OutputTarget& target = *target_of(self);
        auto operation = std::make_unique<AwaitedOutput<Op>>(target.describe());
        parse(operation->op, values, count);
        const auto future = py::reinterpret_borrow<py::object>(operation->future());
        hand_over(target, std::move(operation), Op::awaitable);
        return future;
    });
}

template <class Op>
PyObject* waited(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        OutputTarget& target = *target_of(self);
        Op op;
        parse(op, values, count);
        const CallScope scope(Op::label, Op::awaitable_label, Kind::Blocking);
        std::promise<OrthancPluginErrorCode> done;
        auto future = done.get_future();
        hand_over(target, std::make_unique<WaitedOutput<Op>>(op, std::move(done)), Op::name);
        OrthancPluginErrorCode code{};
        {
            const runtime::WithoutGil without;
            code = future.get();
        }
        if (code != OrthancPluginErrorCode_Success) {
            throw_sdk_error(
                code,
                failed_call(code, std::string(Op::name) + " in " + target.describe(), Op::since));
        }
        return py::none();
    });
}

// The usual answer: small bodies are copied, so that nothing has to come back for the GIL.
template <Spelling spelling>
PyObject* answer(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        OutputTarget& target = *target_of(self);
        auto operation = std::make_unique<PlainOutput<ops::AnswerBuffer>>();
        ops::AnswerBuffer& op = operation->op;
        parse(op, values, count);
        const auto size = op.answer_.template size<std::size_t>();
        std::unique_ptr<OutputOperation> sent;
        if (size <= copied_body) {
            sent = answer_buffer({static_cast<const char*>(op.answer_.data()), size},
                                 op.mimeType_.get());
        } else {
            sent = std::move(operation);
        }
        hand_over(target, std::move(sent), called<ops::AnswerBuffer, spelling>,
                  OutputTarget::Role::Answer, spelling);
        return py::none();
    });
}

PyObject* set_header(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        ops::SetHttpHeader op;
        parse(op, values, count);
        hand_over(*target_of(self), std::make_unique<CopiedHeader>(op.key_.get(), op.value_.get()),
                  ops::SetHttpHeader::name);
        return py::none();
    });
}

// Orthanc sends some statuses only by a function of their own, and refuses those it does not know.
bool may_be_refused(int status) {
    return status < 200 || status > 510 || status == 301 || status == 401 || status == 405 ||
           status > 417;
}

Refusal refusal_of(int status, const OutputTarget& target) {
    if (!may_be_refused(status)) {
        return {};
    }
    const std::string message =
        "Orthanc does not send status " + std::to_string(status) +
        " like this: use SendMethodNotAllowed, SendUnauthorized, Redirect or another status";
    return {target.describe() + ": " + message, target.error_answer(message)};
}

template <Spelling spelling>
PyObject* send_http_status_code(PyObject* self, PyObject* const* values,
                                Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        OutputTarget& target = *target_of(self);
        ops::SendHttpStatusCode op;
        parse(op, values, count);
        const int status = op.status_.get();
        hand_over(target, send_status(status, "", refusal_of(status, target)),
                  called<ops::SendHttpStatusCode, spelling>, OutputTarget::Role::Answer, spelling);
        return py::none();
    });
}

// (status), (status, body) or (status, body, size): the official versions differ.
template <Spelling spelling>
PyObject* send_http_status(PyObject* self, PyObject* const* values, Py_ssize_t count) noexcept {
    return guarded([&]() -> py::object {
        constexpr const char* name =
            spelling == Spelling::Own ? "send_http_status" : "SendHttpStatus";
        OutputTarget& target = *target_of(self);
        const Py_ssize_t given = count < 2 ? 2 : (count > 3 ? 3 : count);
        const Arguments arguments(name, "status, body[, size]", given, values, count);
        NumberArgument<std::uint16_t> status;
        status.parse(arguments.at(0, "status"));
        BytesArgument body;
        body.parse(arguments.at(1, "body"), UINT32_MAX);
        auto size = body.size<std::size_t>();
        if (count == 3) {
            NumberArgument<std::uint32_t> most;
            most.parse(arguments.at(2, "size"));
            size = std::min<std::size_t>(size, most.get());
        }
        hand_over(target,
                  send_status(status.get(),
                              std::string(static_cast<const char*>(body.data()), size),
                              refusal_of(status.get(), target)),
                  name, OutputTarget::Role::Answer, spelling);
        return py::none();
    });
}

void deallocate_output(PyObject* self) {
    PyTypeObject* const type = Py_TYPE(self);
    delete reinterpret_cast<RestOutputObject*>(self)->target; // NOLINT: owned by the object
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject* represent_output(PyObject* self) noexcept {
    return guarded([&]() -> py::object {
        return py::str("<orthanc.RestOutput of " + target_of(self)->describe() + ">");
    });
}

// The header's words, from the generated list.
template <class Op> constexpr const char* documentation = nullptr;
#define DOCUMENT(Op, text) template <> inline constexpr const char* documentation<ops::Op> = text;
ORTHANC_ASYNC_REST_OUTPUT_OPS(DOCUMENT)
#undef DOCUMENT

constexpr Spelling official = Spelling::Official;
constexpr Spelling own = Spelling::Own;

// Named here, as the two spellings and the awaited items make each row different.
#define PLAIN(Op)                                                                                 \
    method(ops::Op::name, plain<ops::Op, official>, documentation<ops::Op>),                      \
        method(ops::Op::awaitable, plain<ops::Op, own>, nullptr)
#define ITEM(Op)                                                                                  \
    method(ops::Op::name, waited<ops::Op>, documentation<ops::Op>),                               \
        method(ops::Op::awaitable, awaited<ops::Op>, nullptr)

PyMethodDef output_methods[] = {
    method("AnswerBuffer", answer<official>, documentation<ops::AnswerBuffer>),
    method("answer_buffer", answer<own>, nullptr),
    method("SetHttpHeader", set_header, documentation<ops::SetHttpHeader>),
    method("set_http_header", set_header, nullptr),
    method("SendHttpStatus", send_http_status<official>,
           "SendHttpStatus($self, status, body, size=4294967295, /)\n--\n\n"
           "Answer with an HTTP status and a body. SDK function: OrthancPluginSendHttpStatus."),
    method("send_http_status", send_http_status<own>,
           "send_http_status($self, status, body, size=4294967295, /)\n--\n\n"
           "Answer with an HTTP status and a body. SDK function: OrthancPluginSendHttpStatus."),
    PLAIN(CompressAndAnswerPngImage),
    PLAIN(CompressAndAnswerJpegImage),
    PLAIN(Redirect),
    method("SendHttpStatusCode", send_http_status_code<official>,
           documentation<ops::SendHttpStatusCode>),
    method("send_http_status_code", send_http_status_code<own>, nullptr),
    PLAIN(SendUnauthorized),
    PLAIN(SendMethodNotAllowed),
    PLAIN(SetCookie),
    PLAIN(SetHttpErrorDetails),
    PLAIN(StartMultipartAnswer),
    ITEM(SendMultipartItem),
    ITEM(SendMultipartItem2),
#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 6)
    PLAIN(StartStreamAnswer),
    ITEM(SendStreamChunk),
#endif
    {nullptr, nullptr, 0, nullptr},
};

#undef PLAIN
#undef ITEM

} // namespace

py::object make_rest_output(std::shared_ptr<OutputTarget> target) {
    PyObject* const object = rest_output_type->tp_alloc(rest_output_type, 0);
    if (object == nullptr) {
        throw py::error_already_set();
    }
    auto owner = py::reinterpret_steal<py::object>(object);
    reinterpret_cast<RestOutputObject*>(object)->target =
        new std::shared_ptr<OutputTarget>(std::move(target)); // NOLINT: owned by the object
    return owner;
}

std::shared_ptr<OutputTarget> rest_output_target(py::handle output) {
    if (PyObject_TypeCheck(output.ptr(), rest_output_type) == 0) {
        return nullptr;
    }
    return target_of(output.ptr());
}

void add_rest_output(py::module_& module) {
    PyType_Slot slots[] = {
        {Py_tp_dealloc, reinterpret_cast<void*>(&deallocate_output)},
        {Py_tp_repr, reinterpret_cast<void*>(&represent_output)},
        {Py_tp_methods, output_methods},
        {Py_tp_doc, const_cast<char*>("What a REST handler answers with. Valid until it ends.")},
        {0, nullptr},
    };
    PyType_Spec spec = {"orthanc.RestOutput", sizeof(RestOutputObject), 0,
                        Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
    PyObject* const created = PyType_FromSpec(&spec);
    if (created == nullptr) {
        throw py::error_already_set();
    }
    rest_output_type = reinterpret_cast<PyTypeObject*>(created);
    module.add_object("RestOutput", py::reinterpret_borrow<py::object>(created));
}

std::unique_ptr<OutputOperation> answer_buffer(std::string body, std::string mime) {
    return std::make_unique<CopiedAnswer>(std::move(body), std::move(mime));
}

std::unique_ptr<OutputOperation> send_status(int status, std::string body, std::string mime) {
    return std::make_unique<CopiedStatus>(status, std::move(body), std::move(mime), Refusal{});
}

std::unique_ptr<OutputOperation> send_status(int status, std::string body, Refusal refusal) {
    return std::make_unique<CopiedStatus>(status, std::move(body), "", std::move(refusal));
}

} // namespace orthanc_async::sdk
