#include "changes.hpp"

#include <string>
#include <utility>

#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "boundary.hpp"
#include "registry.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

std::function<void()>& stop_function() {
    static auto* const function = new std::function<void()>; // NOLINT: outlives exit()
    return *function;
}

// What a waiting event costs: no more than this, however many wait.
struct Change {
    int type;
    int level;
    std::string id;
};

// Thread: owner. Hands the event to the queues of the `async def` handlers.
class AsyncChange final : public runtime::Message {
public:
    explicit AsyncChange(Change change) : change_(std::move(change)) {}

    void deliver() override {
        const auto registry = Registry::current();
        if (!registry) {
            return;
        }
        try {
            registry->host.change(change_.type, change_.level, sdk::to_text(change_.id.c_str()));
        } catch (py::error_already_set& error) {
            error.discard_as_unraisable("a change event");
        }
    }

private:
    Change change_;
};

// Thread: the events' own, one event at a time, as the official plugin does.
class PlainChange final : public runtime::Message {
public:
    explicit PlainChange(Change change) : change_(std::move(change)) {}

    void deliver() override {
        const auto registry = Registry::current();
        // Those that a handler registers meanwhile begin with the next event.
        const std::size_t count = registry ? registry->changes.size() : 0;
        for (std::size_t i = 0; i < count; ++i) {
            const Handler& handler = *registry->changes[i];
            if (handler.is_async) {
                continue;
            }
            try {
                registry->host.plain_change(handler.callable, handler.name, change_.type,
                                            change_.level, sdk::to_text(change_.id.c_str()));
            } catch (py::error_already_set& error) {
                error.discard_as_unraisable("a change handler");
            }
        }
    }

private:
    Change change_;
};

// Thread: any of Orthanc's. GIL: not held. The core holds its lock for changes here.
void receive(OrthancPluginChangeType type, OrthancPluginResourceType level, const char* id) {
    auto& runtime = runtime::Runtime::get();
    const Change change{static_cast<int>(type), static_cast<int>(level), id == nullptr ? "" : id};
    const bool started = type == OrthancPluginChangeType_OrthancStarted;
    const bool stopped = type == OrthancPluginChangeType_OrthancStopped;
    if (started) {
        sdk::Server::get().mark_started();
    }
    if (const auto registry = Registry::current()) {
        const auto events = runtime.events();
        if (registry->plain_changes > 0 && events) {
            std::unique_ptr<runtime::Message> message = std::make_unique<PlainChange>(change);
            if (!events->submit(message)) {
                sdk::Server::get().log_error("a change event is lost: Orthanc stops, or the "
                                             "system gives no thread for its handlers");
            }
        }
        // The start is for the host too. The stop reaches the async handlers from stop().
        if (started || (registry->async_changes > 0 && !stopped)) {
            runtime.mailbox.post(std::make_unique<AsyncChange>(change));
        }
    }
    if (stopped && stop_function()) {
        stop_function()();
    }
}

OrthancPluginErrorCode on_change(OrthancPluginChangeType type, OrthancPluginResourceType level,
                                 const char* id) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        receive(type, level, id);
        return OrthancPluginErrorCode_Success;
    });
}

void register_on_change(py::object callable) {
    const auto registry = Registry::current();
    if (!registry) {
        throw std::runtime_error(
            "orthanc.RegisterOnChangeCallback() was called after Orthanc has stopped");
    }
    auto handler =
        std::make_unique<Handler>(registry->make_handler(std::move(callable), "on change"));
    const bool is_async = handler->is_async;
    registry->changes.push_back(std::move(handler));
    ++(is_async ? registry->async_changes : registry->plain_changes);
}

} // namespace

void add_changes(py::module_& module) {
    module.def("RegisterOnChangeCallback", &register_on_change, py::arg(), py::pos_only());
    // (callable, name) of every `async def` handler, in the order of registration.
    module.def("_async_change_handlers", [] {
        py::list handlers;
        if (const auto registry = Registry::current()) {
            // By index: what is made here may collect garbage, whose end may register more.
            // By index: a finaliser that runs meanwhile may register, and move the table.
            // NOLINTNEXTLINE(modernize-loop-convert)
            for (std::size_t i = 0; i < registry->changes.size(); ++i) {
                const Handler& handler = *registry->changes[i];
                if (handler.is_async) {
                    handlers.append(py::make_tuple(handler.callable, handler.name));
                }
            }
        }
        return handlers;
    });
    // Waits until the plain handlers have had every event so far. Not on the loop.
    module.def("_wait_events_quiet", [](double seconds) {
        const auto events = runtime::Runtime::get().events();
        const runtime::WithoutGil without;
        return !events || events->wait_quiet(
                              std::chrono::steady_clock::now() +
                              std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6)));
    });
}

void watch_changes(OrthancPluginContext* context, std::function<void()> stop) {
    stop_function() = std::move(stop);
    OrthancPluginRegisterOnChangeCallback(context, on_change);
}

} // namespace orthanc_async::callbacks
