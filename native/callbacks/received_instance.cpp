#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "../runtime/kept.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "filters.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// The instance on its way through the handlers.
struct Dicom {
    const void* data; // Orthanc's, until a handler has modified it; then that of `view`
    std::uint64_t size;
    runtime::Kept view;   // a contiguous memoryview of what a handler has returned; may be null
    runtime::Kept object; // the same as bytes, made for the first handler that gets it
    bool modified() const { return view != nullptr; }
};

const char* sender(OrthancPluginInstanceOrigin origin) {
    switch (origin) {
    case OrthancPluginInstanceOrigin_DicomProtocol:
        return "by C-STORE";
    case OrthancPluginInstanceOrigin_RestApi:
        return "by HTTP";
    case OrthancPluginInstanceOrigin_Plugin:
        return "from a plugin";
    case OrthancPluginInstanceOrigin_Lua:
        return "from a Lua script";
    default:
        return "from elsewhere";
    }
}

class ReceivedQuestion final : public Question {
public:
    ReceivedQuestion(Dicom dicom, OrthancPluginInstanceOrigin origin, const Handler& handler)
        : dicom_(std::move(dicom)), origin_(origin), elsewhere_(handler.is_async),
          what_("an instance of " + std::to_string(dicom_.size) + " bytes received " +
                sender(origin)) {}

    py::tuple arguments() override {
        if (!dicom_.object) {
            dicom_.object = runtime::keep(sdk::to_bytes(dicom_.data, dicom_.size));
        }
        return py::make_tuple(runtime::object_of(dicom_.object),
                              sdk::to_enum("InstanceOrigin", origin_));
    }
    void take(const py::object& result) override {
        if (!py::isinstance<py::tuple>(result) || py::len(result) != 2) {
            throw py::type_error("a handler of received instances returns a tuple (action, bytes "
                                 "or None), not " +
                                 std::string(Py_TYPE(result.ptr())->tp_name));
        }
        const py::tuple pair = result;
        const py::object action = pair[0];
        if (PyLong_Check(action.ptr()) == 0) {
            throw py::type_error("the action must be an orthanc.ReceivedInstanceAction, not " +
                                 std::string(py::repr(action)));
        }
        int overflow = 0;
        action_ = static_cast<OrthancPluginReceivedInstanceAction>(
            PyLong_AsLongAndOverflow(action.ptr(), &overflow));
        if (overflow == 0 && action_ == OrthancPluginReceivedInstanceAction_Modify) {
            replace(pair[1]);
        } else if (overflow != 0 || (action_ != OrthancPluginReceivedInstanceAction_KeepAsIs &&
                                     action_ != OrthancPluginReceivedInstanceAction_Discard)) {
            throw py::value_error("the action must be an orthanc.ReceivedInstanceAction, not " +
                                  std::string(py::repr(action)));
        }
    }
    std::string describe() const override { return what_; }
    // A `def` handler runs on the thread whose lock it is.
    bool would_hang(const std::string& call) const override {
        return elsewhere_ && needs_service_lock(call);
    }

    bool discarded() const { return action_ == OrthancPluginReceivedInstanceAction_Discard; }
    const Dicom& dicom() const { return dicom_; } // what the next handler gets

private:
    void replace(const py::object& bytes) {
        const auto view = py::reinterpret_steal<py::object>(
            PyMemoryView_GetContiguous(bytes.ptr(), PyBUF_READ, 'C'));
        if (!view) {
            throw py::error_already_set();
        }
        const Py_buffer* const buffer = PyMemoryView_GET_BUFFER(view.ptr());
        if (buffer->len == 0) {
            throw py::value_error("the modified instance is empty");
        }
        dicom_.data = buffer->buf;
        dicom_.size = static_cast<std::uint64_t>(buffer->len);
        dicom_.view = runtime::keep(view);
        dicom_.object = PyBytes_CheckExact(bytes.ptr()) != 0 ? runtime::keep(bytes) : nullptr;
    }

    Dicom dicom_;
    const OrthancPluginInstanceOrigin origin_;
    const bool elsewhere_;
    const std::string what_;
    OrthancPluginReceivedInstanceAction action_ = OrthancPluginReceivedInstanceAction_KeepAsIs;
};

// "Modified" without a modified instance: the one answer that Orthanc always turns into a failure
// which the sender sees. A discard would tell it that the instance is stored.
OrthancPluginReceivedInstanceAction refuse_instance(OrthancPluginMemoryBuffer64* modified) {
    modified->data = nullptr;
    modified->size = 0;
    return OrthancPluginReceivedInstanceAction_Modify;
}

OrthancPluginReceivedInstanceAction decide(OrthancPluginMemoryBuffer64* modified, Dicom dicom,
                                           OrthancPluginInstanceOrigin origin) {
    const auto registry = Registry::current();
    if (!registry || !may_ask({})) {
        sdk::Server::get().log_warning(
            (std::string("an instance received ") + sender(origin) +
             " is refused while Orthanc starts or stops: its sender has to send it again")
                .c_str());
        return refuse_instance(modified);
    }
    for (const Handler* handler : handlers_of(registry, Family::ReceivedInstance)) {
        const auto question = std::make_shared<ReceivedQuestion>(dicom, origin, *handler);
        const Verdict verdict = consult(registry, *handler, question);
        if (verdict == Verdict::Refused) {
            return refuse_instance(modified);
        }
        if (verdict == Verdict::Answered) {
            if (question->discarded()) {
                return OrthancPluginReceivedInstanceAction_Discard;
            }
            dicom = question->dicom();
        }
    }
    if (!dicom.modified()) {
        return OrthancPluginReceivedInstanceAction_KeepAsIs;
    }
    hand_over(modified, dicom.data, dicom.size); // here, without the GIL, as it may be large
    return OrthancPluginReceivedInstanceAction_Modify;
}

OrthancPluginReceivedInstanceAction on_received(OrthancPluginMemoryBuffer64* modified,
                                                const void* data, std::uint64_t size,
                                                OrthancPluginInstanceOrigin origin) noexcept {
    const auto decision = in_callback<std::optional<OrthancPluginReceivedInstanceAction>>(
        std::nullopt, [&] { return decide(modified, {data, size, nullptr, nullptr}, origin); });
    return decision ? *decision : refuse_instance(modified);
}

} // namespace

void add_received_instance(py::module_& module) {
    Registration registration{"RegisterReceivedInstanceCallback", "received instance",
                              Family::ReceivedInstance};
    registration.hook = [](OrthancPluginContext* context) {
        check_hooked(context, OrthancPluginRegisterReceivedInstanceCallback(context, on_received),
                     "RegisterReceivedInstanceCallback", "1.10.0",
                     "Another plugin handles received instances, and Orthanc allows one only");
    };
    define(module, registration);
}

} // namespace orthanc_async::callbacks
