#include <string>
#include <utility>

#include "../sdk/dicom_instance.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "filters.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

constexpr std::int32_t discard = 0;
constexpr std::int32_t keep = 1;
constexpr std::int32_t not_filtered = -1; // HTTP 500, or 0xA700 to who sends by C-STORE

// What a sender of C-STORE understands as "not stored, send it again": out of resources.
constexpr std::int32_t dimse_failure = 0xa700;

// One instance put to one filter. The object stays usable until all have answered.
class InstanceQuestion final : public Question {
public:
    InstanceQuestion(std::shared_ptr<sdk::BorrowedInstance> instance, const Handler& handler,
                     bool c_store)
        : instance_(std::move(instance)), elsewhere_(handler.is_async), c_store_(c_store) {}

    py::tuple arguments() override {
        return py::make_tuple(sdk::make_borrowed_instance(instance_));
    }
    void take(const py::object& result) override {
        // What has no __index__ is no int, whatever it can be converted to.
        const py::object number = py::reinterpret_steal<py::object>(PyNumber_Index(result.ptr()));
        int overflow = 0;
        const long value = number ? PyLong_AsLongAndOverflow(number.ptr(), &overflow) : 0;
        const bool known =
            number && overflow == 0 && value >= 0 && value <= (c_store_ ? 0xffff : keep);
        // True is status 0x0001, which no sender takes for a failure, for an instance that is
        // lost.
        const bool mistaken = c_store_ && result.ptr() == Py_True;
        if (!known || mistaken) {
            PyErr_Clear();
            const std::string shown = py::repr(result);
            if (c_store_) {
                throw py::value_error("a C-STORE filter returns a DIMSE status, 0 to store the "
                                      "instance, else one such as 0xA700, not " +
                                      shown);
            }
            throw py::value_error("an instance filter returns 1 to store the instance, 0 to "
                                  "discard it, not " +
                                  shown);
        }
        value_ = static_cast<std::int32_t>(value);
    }
    std::string describe() const override { return instance_->what(); }
    // A `def` handler runs on the thread whose lock it is.
    bool would_hang(const std::string& call) const override {
        return elsewhere_ && needs_service_lock(call);
    }

    std::int32_t value() const { return value_; }

private:
    const std::shared_ptr<sdk::BorrowedInstance> instance_;
    const bool elsewhere_;
    const bool c_store_;
    std::int32_t value_ = 0;
};

// Calls filter after filter while `go_on` likes their answer. False: one has failed.
template <class GoOn>
bool each_filter(Family family, const OrthancPluginDicomInstance* instance, const char* what,
                 GoOn go_on) {
    const auto registry = Registry::current();
    if (!registry || !may_ask({})) {
        sdk::Server::get().log_warning(
            (std::string(what) + " is refused while Orthanc starts or stops").c_str());
        return false;
    }
    const sdk::Loan<sdk::BorrowedInstance> loan(instance, what);
    for (const Handler* handler : handlers_of(registry, family)) {
        const auto question = std::make_shared<InstanceQuestion>(loan.get(), *handler,
                                                                 family == Family::CStoreFilter);
        const Verdict verdict = consult(registry, *handler, question);
        if (verdict == Verdict::Refused) {
            return false;
        }
        if (verdict == Verdict::Answered && !go_on(question->value())) {
            break;
        }
    }
    return true;
}

std::int32_t on_instance(const OrthancPluginDicomInstance* instance) noexcept {
    return in_callback(not_filtered, [&] {
        std::int32_t decision = keep;
        const bool decided = each_filter(Family::DicomInstanceFilter, instance,
                                         "an incoming instance", [&](std::int32_t value) {
                                             decision = value;
                                             return decision == keep;
                                         });
        return decided ? decision : not_filtered;
    });
}

std::int32_t on_c_store(std::uint16_t* status,
                        const OrthancPluginDicomInstance* instance) noexcept {
    const auto answer = in_callback<std::int32_t>(dimse_failure, [&] {
        std::int32_t wanted = 0;
        const bool decided =
            each_filter(Family::CStoreFilter, instance, "an instance received by C-STORE",
                        [&](std::int32_t value) {
                            wanted = value;
                            return wanted == 0;
                        });
        return decided ? wanted : dimse_failure;
    });
    if (answer == 0) {
        return keep;
    }
    *status = static_cast<std::uint16_t>(answer);
    return discard;
}

} // namespace

void add_instance_filters(py::module_& module) {
    Registration of_any{"RegisterIncomingDicomInstanceFilter", "instance filter",
                        Family::DicomInstanceFilter};
    of_any.hook = [](OrthancPluginContext* context) {
        check_hooked(context,
                     OrthancPluginRegisterIncomingDicomInstanceFilter(context, on_instance),
                     "RegisterIncomingDicomInstanceFilter", "1.6.1");
    };
    define(module, of_any);
    Registration of_c_store{"RegisterIncomingCStoreInstanceFilter", "C-STORE filter",
                            Family::CStoreFilter};
    of_c_store.hook = [](OrthancPluginContext* context) {
        check_hooked(context,
                     OrthancPluginRegisterIncomingCStoreInstanceFilter(context, on_c_store),
                     "RegisterIncomingCStoreInstanceFilter", "1.10.0");
    };
    define(module, of_c_store);
}

} // namespace orthanc_async::callbacks
