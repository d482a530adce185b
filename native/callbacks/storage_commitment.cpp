#include "storage_commitment.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "../runtime/kept.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "dicom_scp.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

using Reason = OrthancPluginStorageCommitmentFailureReason;

// What Orthanc holds for one request, from the factory's call to the destructor's.
struct Commitment {
    std::shared_ptr<Registry> registry;
    std::string remote;
    runtime::Kept data; // null: the factory has failed, and nothing is vouched for
};

// Borrowed: read while Orthanc's thread waits.
struct References {
    const char* job;
    const char* transaction;
    const char* const* classes;
    const char* const* instances;
    std::uint32_t count;
};

py::list to_list(const char* const* texts, std::uint32_t count) {
    py::list list;
    for (std::uint32_t i = 0; i < count; ++i) {
        list.append(sdk::to_text(texts[i]));
    }
    return list;
}

class FactoryQuestion final : public Question {
public:
    FactoryQuestion(const References& references, Peer peer)
        : references_(references), transaction_(references.transaction), peer_(std::move(peer)) {}

    py::tuple arguments() override {
        const py::tuple fields =
            py::make_tuple(sdk::to_text(references_.job), sdk::to_text(references_.transaction),
                           to_list(references_.classes, references_.count),
                           to_list(references_.instances, references_.count));
        return fields + peer_.arguments();
    }
    void take(const py::object& result) override { data_ = runtime::keep(result); }
    std::string describe() const override {
        return "storage commitment " + transaction_ + " by " + peer_.remote();
    }

    const runtime::Kept& data() const { return data_; }

private:
    const References references_;
    const std::string transaction_;
    const Peer peer_;
    runtime::Kept data_;
};

class LookupQuestion final : public Question {
public:
    LookupQuestion(const Commitment& commitment, const char* sop_class, const char* instance)
        : data_(commitment.data), remote_(commitment.remote), class_(sop_class),
          instance_(instance) {}

    py::tuple arguments() override {
        return py::make_tuple(sdk::to_text(class_.c_str()), sdk::to_text(instance_.c_str()),
                              runtime::object_of(data_));
    }
    // A bool is an int too, and False would vouch for what is not there.
    void take(const py::object& result) override {
        const py::object reasons =
            py::module_::import("orthanc").attr("StorageCommitmentFailureReason");
        if (py::isinstance<py::bool_>(result) || PyLong_Check(result.ptr()) == 0) {
            throw py::type_error("the look-up of a storage commitment returns an "
                                 "orthanc.StorageCommitmentFailureReason, not " +
                                 std::string(py::repr(result)));
        }
        reason_ = static_cast<Reason>(reasons(result).cast<int>()); // ValueError: no member
    }
    std::string describe() const override {
        return "storage commitment of " + instance_ + " to " + remote_;
    }

    Reason reason() const { return reason_; }

private:
    const runtime::Kept data_;
    const std::string remote_;
    const std::string class_;
    const std::string instance_;
    Reason reason_ = OrthancPluginStorageCommitmentFailureReason_ProcessingFailure;
};

// A factory that fails is a failure of every instance, which the modality is told; only while
// Orthanc starts or stops the job itself fails. Thread: a worker of Orthanc's jobs. GIL: not held.
// `peer`: what Peer's constructors take.
template <class... Arguments>
OrthancPluginErrorCode open_commitment(void** handler, const References& references,
                                       Arguments... peer) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const auto registry = Registry::current();
        if (!registry || !may_ask({})) {
            return OrthancPluginErrorCode_Plugin;
        }
        const Peer asking(peer...);
        const Peer::Call call(asking);
        const auto question = std::make_shared<FactoryQuestion>(references, asking);
        if (ask_only(registry, Family::StorageCommitment, question) == Outcome::Absent) {
            return OrthancPluginErrorCode_Plugin;
        }
        *handler = new Commitment{registry, asking.remote(), question->data()}; // NOLINT
        return OrthancPluginErrorCode_Success;
    });
}

OrthancPluginErrorCode on_factory(void** handler, const char* job, const char* transaction,
                                  const char* const* classes, const char* const* instances,
                                  std::uint32_t count, const char* remote,
                                  const char* called) noexcept {
    return open_commitment(handler, {job, transaction, classes, instances, count}, remote, called);
}

#if ORTHANC_ASYNC_HAS_CONNECTIONS
OrthancPluginErrorCode on_connected_factory(void** handler, const char* job,
                                            const char* transaction, const char* const* classes,
                                            const char* const* instances, std::uint32_t count,
                                            const OrthancPluginDicomConnection* peer) noexcept {
    return open_commitment(handler, {job, transaction, classes, instances, count}, peer);
}
#endif

void on_destroy(void* handler) noexcept {
    delete static_cast<Commitment*>(handler); // NOLINT: made by the factory
}

// Never vouches for an instance whose look-up has failed: the modality would delete its copy.
OrthancPluginErrorCode on_lookup(Reason* target, void* handler, const char* sop_class,
                                 const char* instance) noexcept {
    *target = OrthancPluginStorageCommitmentFailureReason_ProcessingFailure;
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const Commitment& commitment = *static_cast<Commitment*>(handler);
        if (!commitment.data) {
            return OrthancPluginErrorCode_Success;
        }
        if (!may_ask({})) {
            return OrthancPluginErrorCode_Plugin;
        }
        const auto question = std::make_shared<LookupQuestion>(commitment, sop_class, instance);
        const Outcome outcome =
            ask_only(commitment.registry, Family::StorageCommitmentLookup, question);
        if (outcome == Outcome::Answered) {
            *target = question->reason();
        }
        return outcome == Outcome::Absent ? OrthancPluginErrorCode_Plugin
                                          : OrthancPluginErrorCode_Success;
    });
}

void define(py::module_& module, const char* function, void (*hook)(OrthancPluginContext*)) {
    module.def(
        function,
        [function, hook](const py::object& factory, const py::object& lookup) {
            const auto registry = Registry::current();
            const bool taken = registry && registry->family(Family::StorageCommitment).count > 0;
            if (registry && !taken) { // else the last line says so
                (void)registry->make_handler(factory, "storage commitment");
                add_handler({function, "storage commitment", Family::StorageCommitmentLookup},
                            lookup);
            }
            Registration registration{function, "storage commitment", Family::StorageCommitment};
            registration.only_one = true;
            registration.hook = hook;
            // The last one: Orthanc hears of it when both are there.
            add_handler(registration, factory);
        },
        py::arg(), py::arg(), py::pos_only());
}

} // namespace

void add_storage_commitment(py::module_& module) {
    define(module, "RegisterStorageCommitmentScpCallback", [](OrthancPluginContext* context) {
        check_scp_hooked(context,
                         OrthancPluginRegisterStorageCommitmentScpCallback(context, on_factory,
                                                                           on_destroy, on_lookup),
                         "RegisterStorageCommitmentScpCallback", "1.6.0");
    });
#if ORTHANC_ASYNC_HAS_CONNECTIONS
    define(module, "RegisterStorageCommitmentScpCallback2", [](OrthancPluginContext* context) {
        check_scp_hooked(context,
                         OrthancPluginRegisterStorageCommitmentScpCallback2(
                             context, on_connected_factory, on_destroy, on_lookup),
                         "RegisterStorageCommitmentScpCallback2", "1.12.10");
    });
#endif
}

} // namespace orthanc_async::callbacks
