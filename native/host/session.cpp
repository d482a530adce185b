#include "session.hpp"

#include <cstdio>
#include <sstream>

#include "../callbacks/changes.hpp"
#include "../callbacks/question.hpp"
#include "../callbacks/registry.hpp"
#include "../callbacks/rest_call.hpp"
#include "../callbacks/stored.hpp"
#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../sdk/explorer.hpp"
#include "../sdk/server.hpp"
#include "module.hpp"

namespace py = pybind11;

namespace orthanc_async::host {

namespace {

using Clock = std::chrono::steady_clock;
using runtime::Gate;
using runtime::Runtime;
using namespace std::chrono_literals;

Clock::duration seconds(double count) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(count));
}

// Tells the loop to end. Thread of deliver(): owner.
class StopMessage final : public runtime::Message {
public:
    explicit StopMessage(Clock::time_point deadline) : deadline_(deadline) {}

    void deliver() override {
        const double left = std::chrono::duration<double>(deadline_ - Clock::now()).count();
        try {
            py::module_::import("orthanc_async._host.main").attr("request_stop")(left);
        } catch (py::error_already_set& error) {
            error.discard_as_unraisable("stopping the event loop");
        }
    }

private:
    Clock::time_point deadline_;
};

std::string names(const std::vector<std::string>& calls) {
    std::string text;
    for (const std::string& call : calls) {
        text += (text.empty() ? "" : "; ") + call;
    }
    return text;
}

// "mainline", of a development build, is newer than any number.
std::tuple<int, int, int> parse_version(const char* text) {
    int major = 999;
    int minor = 0;
    int revision = 0;
    // What is no number keeps its place.
    // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion)
    std::sscanf(text, "%d.%d.%d", &major, &minor, &revision);
    return {major, minor, revision};
}

} // namespace

Session& Session::get() {
    static auto* const session = new Session; // NOLINT: outlives exit()
    return *session;
}

void Session::fail(const std::string& text) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        sdk::Server::get().log_error(line.c_str());
    }
}

void Session::read_configuration(OrthancPluginContext* context) {
    char* const raw = OrthancPluginGetConfiguration(context);
    const std::string json = raw == nullptr ? "{}" : raw;
    if (raw != nullptr) {
        OrthancPluginFreeString(context, raw);
    }
    settings_ = Settings::parse(json);
    for (const std::string& warning : settings_.warnings) {
        sdk::Server::get().log_warning(warning.c_str());
    }
    if (settings_.scripts.empty()) {
        return;
    }
    const std::string conflict = other_interpreter(json);
    if (!conflict.empty()) {
        throw SettingsError(conflict);
    }
    if (first_executable_ && *first_executable_ != settings_.executable) {
        throw SettingsError(
            "configuration: \"Python.Executable\" has changed from \"" + *first_executable_ +
            "\" to \"" + settings_.executable +
            "\", but Python runs already: restart Orthanc instead of resetting it");
    }
    environment_ = Environment::find(settings_.executable);
    first_executable_ = settings_.executable;
}

bool Session::start(OrthancPluginContext* context) {
    auto& runtime = runtime::Runtime::get();
    auto& server = sdk::Server::get();
    server.open(context);
    sdk::ExplorerPieces::get().clear();
    orthanc_version_ = parse_version(context->orthancVersion);
    active_ = false;
    stopped_ = false;
    stuck_ = false;
    try {
        read_configuration(context);
        if (settings_.scripts.empty()) {
            server.log_warning("orthanc-async is idle: no script is configured; give one in "
                               "\"Python\": {\"Scripts\": [\"my_script.py\"]}");
            return true;
        }
        // Its end would close the gate and claim the readiness of this start.
        if (!runtime.owner.wait_ended(Clock::now())) {
            throw std::runtime_error("the Python code of the previous start still runs and cannot "
                                     "be stopped: restart Orthanc");
        }
        active_ = true;
        readiness_.reset();
        runtime.gate.set(Gate::State::Starting);
        runtime::InterpreterOptions options;
        options.program = environment_.executable;
        options.verbose = settings_.verbose;
        options.module_name = "_orthanc";
        options.module_init = create_module;
        runtime.owner.begin(options, [this] { run_python(); });
    } catch (const std::exception& error) {
        active_ = false;
        runtime.gate.set(Gate::State::Closed);
        fail(error.what());
        runtime.owner.park(Clock::now() + 2s);
        server.forget(); // no Finalize follows
        return false;
    }
    std::string failure;
    {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return readiness_.has_value(); });
        failure = *readiness_;
    }
    if (failure.empty()) {
        callbacks::watch_stored(context);
        callbacks::watch_changes(context, [this] { stop(); });
        return true;
    }
    // No Finalize follows a failed Initialize.
    active_ = false;
    runtime.gate.set(Gate::State::Closed);
    const auto deadline = Clock::now() + seconds(settings_.shutdown_timeout);
    runtime.owner.wait_ended(deadline);
    end_threads(deadline);
    fail(failure);
    runtime.owner.park(Clock::now() + 2s);
    server.forget();
    return false;
}

void Session::ready(const std::string& failure) {
    if (failure.empty()) {
        callbacks::Registry::current()->loading = false;
    }
    signals_.reset();
    const std::lock_guard<std::mutex> lock(mutex_);
    readiness_ = failure;
    changed_.notify_all();
}

void Session::run_python() {
    auto& runtime = runtime::Runtime::get();
    std::string failure;
    signals_.emplace();
    try {
        py::list path = py::module_::import("sys").attr("path");
        try {
            py::module_::import("orthanc_async");
        } catch (py::error_already_set& error) {
            if (!error.matches(PyExc_ModuleNotFoundError)) {
                throw;
            }
            path.append(environment_.package_parent);
        }
        runtime.start_threads(settings_.sdk_threads);
        runtime.mailbox.open();
        auto registry = callbacks::Registry::create(
            py::module_::import("orthanc_async._host.dispatch"), settings_.handler_timeout > 0);
        registry->accept_on_filter_error = settings_.on_filter_error == "accept";
        if (registry->accept_on_filter_error) {
            sdk::Server::get().log_warning(
                "OnFilterError is \"accept\": where a filter or a handler of received instances "
                "fails, requests and instances are let through unchecked and unchanged");
        }
        callbacks::Registry::set_current(std::move(registry));
        py::module_::import("orthanc_async._host.main").attr("run")();
    } catch (py::error_already_set& error) {
        failure = error.what();
    } catch (const std::exception& error) {
        failure = error.what();
    }
    // Nothing of this session is reachable from Orthanc's threads any more.
    runtime.gate.set(Gate::State::Closed);
    for (const auto& call : callbacks::RestCall::live()) {
        call->abandon();
    }
    callbacks::abandon_questions();
    callbacks::Registry::set_current(nullptr);
    runtime.loop.reset();
    runtime.mailbox.close();
    signals_.reset();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!readiness_) {
            readiness_ = failure.empty() ? "the event loop ended while it started" : failure;
            failure.clear(); // start() logs it
        }
        changed_.notify_all();
    }
    if (!failure.empty()) {
        const runtime::WithoutGil without;
        fail(failure);
    }
}

void Session::end_python(Clock::time_point deadline, double seconds) {
    auto& runtime = runtime::Runtime::get();
    auto& server = sdk::Server::get();
    runtime.mailbox.post(std::make_unique<StopMessage>(deadline));
    if (!runtime.owner.wait_ended(deadline + 250ms)) {
        server.log_error(("the event loop has not ended within ShutdownTimeout (" +
                          std::to_string(seconds) +
                          " s): a handler blocks it; Orthanc stops without it")
                             .c_str());
    }
    runtime.gate.set(Gate::State::Closed);
    for (const auto& call : callbacks::RestCall::live()) {
        server.log_warning(
            ("still running when Orthanc stops, its client gets 503: " + call->describe())
                .c_str());
        call->abandon();
    }
    callbacks::abandon_questions();
    end_threads(deadline);
}

void Session::end_threads(Clock::time_point deadline) {
    auto& runtime = runtime::Runtime::get();
    auto& server = sdk::Server::get();
    if (const auto executor = runtime.executor()) {
        const auto running = executor->stop(std::max(deadline, Clock::now() + 100ms));
        if (!running.empty()) {
            server.log_warning(
                ("calls still inside Orthanc when it stops: " + names(running)).c_str());
        }
    }
    std::vector<std::unique_ptr<runtime::Message>> left;
    for (const auto& pool : {runtime.handlers(), runtime.events()}) {
        if (pool) {
            auto rest = pool->stop(std::max(deadline, Clock::now() + 100ms));
            std::move(rest.begin(), rest.end(), std::back_inserter(left));
        }
    }
    for (auto& message : left) {
        runtime.mailbox.post(std::move(message)); // destroyed by the owner thread
    }
    runtime.drop_threads();
    // What came back after the loop had ended may hold an instance of Orthanc's that one of its
    // threads waits for: the owner thread lets go of it now, not at the next start.
    try {
        runtime.owner.begin({}, [] { Runtime::get().mailbox.close(); });
        runtime.owner.wait_ended(std::max(deadline, Clock::now() + 100ms));
    } catch (const std::exception&) {
        stuck_ = true; // it is inside a handler that never ends
    }
}

void Session::stop() {
    if (!active_ || stopped_) {
        return;
    }
    stopped_ = true;
    const double timeout = settings_.shutdown_timeout;
    const auto deadline = Clock::now() + seconds(timeout);
    auto& server = sdk::Server::get();
    end_python(deadline, timeout);
    server.close();
    if (!server.wait_idle(std::max(deadline, Clock::now() + 100ms))) {
        server.log_warning("a thread of a script is still inside a call of Orthanc's");
    }
}

void Session::finalize() {
    auto& server = sdk::Server::get();
    server.forget();
    if (!active_) {
        return;
    }
    if (!stopped_) {
        stopped_ = true;
        end_python(Clock::now() + seconds(settings_.shutdown_timeout), settings_.shutdown_timeout);
    }
    if (!runtime::Runtime::get().owner.park(Clock::now() + (stuck_ ? 300ms : 2000ms))) {
        server.log_warning("Python code still runs while Orthanc ends");
    }
}

} // namespace orthanc_async::host
