#include "filters.hpp"

#if ORTHANC_PLUGINS_VERSION_IS_ABOVE(1, 12, 9)

#include <string>
#include <utility>

#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

class AuditQuestion final : public Question {
public:
    // Borrowed: read while Orthanc's thread waits.
    struct Entry {
        const char* source;
        const char* user;
        OrthancPluginResourceType level;
        const char* resource;
        const char* action;
        const void* data;
        std::uint32_t size;
    };

    explicit AuditQuestion(const Entry& entry)
        : entry_(entry), what_("audit log of " + std::string(entry.source)) {}

    py::tuple arguments() override {
        return py::make_tuple(sdk::to_text(entry_.source), sdk::to_text(entry_.user),
                              sdk::to_enum("ResourceType", entry_.level),
                              sdk::to_text(entry_.resource), sdk::to_text(entry_.action),
                              sdk::to_bytes(entry_.data, entry_.size));
    }
    void take(const py::object& /*result*/) override {}
    std::string describe() const override { return what_; }

private:
    const Entry entry_;
    const std::string what_;
};

// Waits, so that whoever emits an entry goes on when it has been taken down. A handler that fails
// keeps no other from its copy.
void pass_on(const AuditQuestion::Entry& entry) {
    const auto registry = Registry::current();
    // What is done while Orthanc starts or stops is worth its entry too.
    if (!registry || !may_ask({false, true})) {
        sdk::Server::get().log_error(
            ("an audit log of " + std::string(entry.source) + " is lost while Orthanc stops")
                .c_str());
        return;
    }
    for (const Handler* handler : handlers_of(registry, Family::AuditLog)) {
        const auto question = std::make_shared<AuditQuestion>(entry);
        ask(registry, *handler, question);
    }
}

OrthancPluginErrorCode on_entry(const char* source, const char* user,
                                OrthancPluginResourceType level, const char* resource,
                                const char* action, const void* data,
                                std::uint32_t size) noexcept {
    // An error would keep the entry from other plugins, and who emits it sees none.
    return in_callback(OrthancPluginErrorCode_Success, [&] {
        pass_on({source, user, level, resource, action, data, size});
        return OrthancPluginErrorCode_Success;
    });
}

} // namespace

void add_audit_log(py::module_& module) {
    Registration registration{"RegisterAuditLogHandler", "audit log", Family::AuditLog};
    registration.hook = [](OrthancPluginContext* context) {
        check_hooked(context, OrthancPluginRegisterAuditLogHandler(context, on_entry),
                     "RegisterAuditLogHandler", "1.12.9");
    };
    define(module, registration);
}

} // namespace orthanc_async::callbacks

#else

namespace orthanc_async::callbacks {

void add_audit_log(pybind11::module_& /*module*/) {}

} // namespace orthanc_async::callbacks

#endif
