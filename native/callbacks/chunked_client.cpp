#include "chunked_client.hpp"

#include <pybind11/stl.h>

#include <array>
#include <atomic>
#include <map>
#include <optional>

#include "../runtime/kept.hpp"
#include "../sdk/arguments.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/invoke.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

constexpr std::uint32_t usual_timeout = 60; // seconds for one chunk, as Orthanc's HttpTimeout

// What travels in one request. Orthanc's thread (a worker, or the caller's own) goes through it
// alone; each chunk is asked of Python, or given to it, before the next one is touched: that is
// the back-pressure.
class Transfer final : public std::enable_shared_from_this<Transfer> {
public:
    // GIL: held. The functions come from orthanc_async._host.chunks.
    Transfer(const std::shared_ptr<Registry>& registry, py::object source, py::object sink,
             std::uint32_t seconds)
        : registry_(registry), source_(make(std::move(source), "request body", seconds)),
          sink_(make(std::move(sink), "answer", seconds)) {}

    bool begin() { return !source_ || next(); }
    bool next();
    bool done() const { return !chunk_; }
    const void* data() const { return data_; }
    std::uint32_t size() const { return size_; }
    bool add_chunk(const void* data, std::uint32_t size);
    bool add_header(const char* key, const char* value);
    void cancel() { cancelled_ = true; } // Thread: any. GIL: any
    bool broken() const { return error_ != nullptr; }

    // GIL: held.
    void rethrow() const;
    py::object result() const;

    std::uint16_t status = 0;

private:
    class NextChunk;
    class AnswerChunk;

    static std::shared_ptr<const Handler> make(py::object function, const char* what,
                                               std::uint32_t seconds);
    bool ask_python(const std::shared_ptr<const Handler>& handler,
                    const std::shared_ptr<Question>& question);

    const std::shared_ptr<Registry> registry_;
    const std::shared_ptr<const Handler> source_; // null: no body
    const std::shared_ptr<const Handler> sink_;   // null: the answer is collected
    std::atomic<bool> cancelled_{false};
    runtime::Kept chunk_; // bytes
    const char* data_ = nullptr;
    std::uint32_t size_ = 0;
    std::string body_;
    std::map<std::string, std::string> headers_;
    runtime::Kept error_; // what the script's own function has raised
};

class Transfer::NextChunk final : public Question {
public:
    explicit NextChunk(std::shared_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
    py::tuple arguments() override { return py::tuple(); }
    void take(const py::object& result) override {
        if (PyExceptionInstance_Check(result.ptr())) {
            transfer_->error_ = runtime::keep(result);
        } else if (!result.is_none()) {
            transfer_->data_ = PyBytes_AS_STRING(result.ptr());
            transfer_->size_ = static_cast<std::uint32_t>(PyBytes_GET_SIZE(result.ptr()));
            transfer_->chunk_ = runtime::keep(result);
        }
    }
    std::string describe() const override { return "a chunk of an HTTP request's body"; }

private:
    const std::shared_ptr<Transfer> transfer_;
};

class Transfer::AnswerChunk final : public Question {
public:
    AnswerChunk(std::shared_ptr<Transfer> transfer, const void* data, std::uint32_t size)
        : transfer_(std::move(transfer)), data_(data), size_(size) {}
    py::tuple arguments() override { return py::make_tuple(sdk::to_bytes(data_, size_)); }
    void take(const py::object& result) override {
        if (!result.is_none()) {
            transfer_->error_ = runtime::keep(result);
        }
    }
    std::string describe() const override { return "a chunk of an HTTP answer"; }

private:
    const std::shared_ptr<Transfer> transfer_;
    const void* const data_; // borrowed: read while Orthanc's thread waits
    const std::uint32_t size_;
};

std::shared_ptr<const Handler> Transfer::make(py::object function, const char* what,
                                              std::uint32_t seconds) {
    if (function.is_none()) {
        return nullptr;
    }
    auto handler = Registry::current()->make_handler(std::move(function), what);
    handler.timeout = std::chrono::seconds(seconds == 0 ? usual_timeout : seconds);
    return keep_handler(std::move(handler));
}

bool Transfer::ask_python(const std::shared_ptr<const Handler>& handler,
                          const std::shared_ptr<Question>& question) {
    return !cancelled_ && ask(registry_, *handler, question) == Outcome::Answered && !error_;
}

bool Transfer::next() {
    chunk_ = nullptr;
    return ask_python(source_, std::make_shared<NextChunk>(shared_from_this()));
}

bool Transfer::add_chunk(const void* data, std::uint32_t size) {
    if (!sink_) {
        body_.append(static_cast<const char*>(data), size);
        return !cancelled_;
    }
    return ask_python(sink_, std::make_shared<AnswerChunk>(shared_from_this(), data, size));
}

bool Transfer::add_header(const char* key, const char* value) {
    headers_[key] = value;
    return !cancelled_;
}

void Transfer::rethrow() const {
    if (error_) {
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error_.get())), error_.get());
        throw py::error_already_set();
    }
}

py::object Transfer::result() const {
    rethrow();
    py::dict headers;
    for (const auto& [key, value] : headers_) {
        headers[sdk::to_text(key.c_str())] = sdk::to_text(value.c_str());
    }
    return py::make_tuple(status, headers, sdk::to_bytes(body_.data(), body_.size()));
}

Transfer& transfer_of(void* payload) {
    return *static_cast<Transfer*>(payload);
}

// Nothing may leave a C function; no success means that Orthanc breaks the transfer off.
template <class Body> OrthancPluginErrorCode guarded(const Body& body) noexcept {
    try {
        return body() ? OrthancPluginErrorCode_Success : OrthancPluginErrorCode_Plugin;
    } catch (const std::exception& error) {
        sdk::Server::get().log_error(error.what());
        return OrthancPluginErrorCode_Plugin;
    }
}

OrthancPluginErrorCode on_chunk(void* transfer, const void* data, std::uint32_t size) noexcept {
    return guarded([&] { return transfer_of(transfer).add_chunk(data, size); });
}

OrthancPluginErrorCode on_header(void* transfer, const char* key, const char* value) noexcept {
    return guarded([&] { return transfer_of(transfer).add_header(key, value); });
}

std::uint8_t is_done(void* transfer) noexcept {
    return transfer_of(transfer).done() ? 1 : 0;
}

const void* chunk_data(void* transfer) noexcept {
    return transfer_of(transfer).data();
}

std::uint32_t chunk_size(void* transfer) noexcept {
    return transfer_of(transfer).size();
}

OrthancPluginErrorCode on_next(void* transfer) noexcept {
    return guarded([&] { return transfer_of(transfer).next(); });
}

// As the generated operations are.
struct ChunkedHttpClient {
    static constexpr const char* label = "ChunkedHttpClient";
    static constexpr const char* awaitable_label = "chunked_http_client";
    static constexpr sdk::Kind kind = sdk::Kind::Blocking;
    static constexpr const char* since = "";
    static constexpr const char* parameters =
        "method, url, headers, body, answer, username, password, timeout, certificateFile, "
        "certificateKeyFile, certificateKeyPassword, pkcs11";
    static constexpr Py_ssize_t arity = 12;

    void parse(const sdk::Arguments& in);
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept;
    py::object result() const { return transfer->result(); }
    std::string describe() const {
        return sdk::Description(label).add(method).add(url).add(headers).text();
    }

    sdk::EnumArgument<OrthancPluginHttpMethod> method;
    sdk::StringArgument url;
    sdk::HeadersArgument headers;
    sdk::OptionalStringArgument username;
    sdk::OptionalStringArgument password;
    sdk::NumberArgument<std::uint32_t> timeout;
    sdk::OptionalStringArgument certificate_file;
    sdk::OptionalStringArgument key_file;
    sdk::OptionalStringArgument key_password;
    sdk::NumberArgument<std::uint8_t> pkcs11;
    std::shared_ptr<Transfer> transfer;
};

void ChunkedHttpClient::parse(const sdk::Arguments& in) {
    method.parse(in.at(0, "method"));
    url.parse(in.at(1, "url"));
    headers.parse(in.at(2, "headers"));
    username.parse(in.at(5, "username"));
    password.parse(in.at(6, "password"));
    timeout.parse(in.at(7, "timeout"));
    certificate_file.parse(in.at(8, "certificateFile"));
    key_file.parse(in.at(9, "certificateKeyFile"));
    key_password.parse(in.at(10, "certificateKeyPassword"));
    pkcs11.parse(in.at(11, "pkcs11"));
    const auto registry = Registry::current();
    if (!registry) {
        throw std::runtime_error("orthanc.ChunkedHttpClient() was called after Orthanc has "
                                 "stopped");
    }
    const auto host = py::module_::import("orthanc_async._host.chunks");
    transfer = std::make_shared<Transfer>(
        registry, host.attr("source")(py::handle(in.at(3, "body").value)),
        host.attr("sink")(py::handle(in.at(4, "answer").value)), timeout.get());
}

OrthancPluginErrorCode ChunkedHttpClient::run(OrthancPluginContext* context) noexcept {
    OrthancPluginErrorCode code = guarded([&] { return transfer->begin(); });
    if (code == OrthancPluginErrorCode_Success) {
        code = OrthancPluginChunkedHttpClient(
            context, transfer.get(), on_chunk, on_header, &transfer->status, method.get(),
            url.get(), headers.count(), headers.keys(), headers.values(), transfer.get(), is_done,
            chunk_data, chunk_size, on_next, username.get(), password.get(), timeout.get(),
            certificate_file.get(), key_file.get(), key_password.get(), pkcs11.get());
    }
    // The script's own exception says more than that Orthanc has broken the transfer off.
    return transfer->broken() ? OrthancPluginErrorCode_Success : code;
}

void parse(ChunkedHttpClient& op, const py::args& values) {
    std::array<PyObject*, 12> all{};
    const auto given = static_cast<Py_ssize_t>(values.size());
    if (given < 2 || given > ChunkedHttpClient::arity) {
        throw py::type_error(std::string("orthanc.ChunkedHttpClient(") +
                             ChunkedHttpClient::parameters +
                             ") takes 2 to 12 arguments: the method and the URL come first");
    }
    const py::int_ zero(0);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool is_number = i == 7 || i == 11;
        all[i] = static_cast<Py_ssize_t>(i) < given ? PyTuple_GET_ITEM(values.ptr(), i)
                 : is_number                        ? zero.ptr()
                                                    : Py_None;
    }
    op.parse(sdk::Arguments(ChunkedHttpClient::label, ChunkedHttpClient::parameters,
                            ChunkedHttpClient::arity, all.data(), ChunkedHttpClient::arity));
}

} // namespace

void add_chunked_client(py::module_& module) {
    module.def("ChunkedHttpClient", [](const py::args& values) {
        ChunkedHttpClient op;
        parse(op, values);
        return sdk::run_blocking(op);
    });
    module.def("chunked_http_client", [](const py::args& values) {
        auto call = std::make_unique<sdk::AwaitableCall<ChunkedHttpClient>>();
        parse(call->op, values);
        sdk::refuse_hanging(call->op);
        const auto transfer = call->op.transfer;
        py::object future = sdk::submit_call(ChunkedHttpClient::label, std::move(call));
        // Who awaits it may be cancelled: the transfer then ends at its next chunk.
        future.attr("add_done_callback")(py::cpp_function([transfer](const py::object& done) {
            if (done.attr("cancelled")().cast<bool>()) {
                transfer->cancel();
            }
        }));
        return future;
    });
}

} // namespace orthanc_async::callbacks
