#include "stored.hpp"

#include <atomic>
#include <memory>
#include <string>
#include <utility>

#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/dicom_instance.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "boundary.hpp"
#include "registry.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// Thread: owner. The core holds its lock for stored instances while it waits for no one here.
class StoredMessage final : public runtime::Message {
public:
    explicit StoredMessage(std::shared_ptr<const sdk::InstanceSnapshot> snapshot)
        : snapshot_(std::move(snapshot)) {}

    void deliver() override {
        const auto registry = Registry::current();
        if (!registry) {
            return;
        }
        try {
            py::list handlers;
            // By index: what is made here may collect garbage, whose end may register more.
            // By index: a finaliser that runs meanwhile may register, and move the table.
            // NOLINTNEXTLINE(modernize-loop-convert)
            for (std::size_t i = 0; i < registry->stored.size(); ++i) {
                const Handler& handler = *registry->stored[i];
                if (handler.is_async) {
                    handlers.append(py::make_tuple(handler.callable, handler.name));
                }
            }
            registry->host.stored(handlers, sdk::make_instance_snapshot(snapshot_),
                                  sdk::to_text(snapshot_->id.c_str()));
        } catch (py::error_already_set& error) {
            error.discard_as_unraisable("a stored-instance event");
        }
    }

private:
    std::shared_ptr<const sdk::InstanceSnapshot> snapshot_;
};

// Thread: Orthanc's own, which may hold core locks that are recursive for this thread only: a
// plain handler that stores again relies on running right here. GIL: taken and given back.
void call_plain(const Registry& registry, const OrthancPluginDicomInstance* instance,
                const char* id) {
    const sdk::Loan<sdk::BorrowedInstance> loan(instance, "instance " + std::string(id));
    const runtime::WithGil with;
    try {
        const py::object dicom = sdk::make_borrowed_instance(loan.get());
        const py::object name = sdk::to_text(id);
        // Those that a handler registers meanwhile begin with the next instance.
        const std::size_t count = registry.stored.size();
        for (std::size_t i = 0; i < count; ++i) {
            const Handler& handler = *registry.stored[i];
            if (!handler.is_async) {
                registry.host.plain_stored(handler.callable, handler.name, dicom, name);
            }
        }
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("a stored-instance handler");
    }
}

// Whether this session has, or had, handlers. Read on Orthanc's threads, also after the stop.
std::atomic<bool> anybody_listens{false};

OrthancPluginErrorCode on_stored(const OrthancPluginDicomInstance* instance,
                                 const char* id) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const auto registry = Registry::current();
        auto& runtime = runtime::Runtime::get();
        if (!anybody_listens) {
            return OrthancPluginErrorCode_Success;
        }
        if (!registry || runtime.gate.state() == runtime::Gate::State::Closed) {
            sdk::Server::get().log_warning(
                ("instance " + std::string(id) +
                 " was stored while Orthanc stops: no handler has seen it")
                    .c_str());
            return OrthancPluginErrorCode_Success;
        }
        if (registry->async_stored > 0) {
            const sdk::WorkerScope scope;
            if (scope.context() != nullptr) {
                runtime.mailbox.post(std::make_unique<StoredMessage>(
                    sdk::InstanceSnapshot::take(scope.context(), instance, id)));
            }
        }
        if (registry->plain_stored > 0) {
            call_plain(*registry, instance, id);
        }
        return OrthancPluginErrorCode_Success;
    });
}

void register_on_stored(py::object callable) {
    constexpr const char* name = "RegisterOnStoredInstanceCallback";
    const auto registry = Registry::current();
    if (!registry) {
        throw std::runtime_error("orthanc." + std::string(name) +
                                 "() was called after Orthanc has stopped");
    }
    auto handler =
        std::make_unique<Handler>(registry->make_handler(std::move(callable), "stored instance"));
    const bool is_async = handler->is_async;
    registry->stored.push_back(std::move(handler));
    ++(is_async ? registry->async_stored : registry->plain_stored);
    anybody_listens = true;
}

} // namespace

void watch_stored(OrthancPluginContext* context) {
    const auto registry = Registry::current();
    anybody_listens = registry && registry->async_stored + registry->plain_stored > 0;
    OrthancPluginRegisterOnStoredInstanceCallback(context, on_stored);
}

void add_stored(py::module_& module) {
    module.def("RegisterOnStoredInstanceCallback", &register_on_stored, py::arg(), py::pos_only());
}

} // namespace orthanc_async::callbacks
