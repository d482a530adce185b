#include "dicom_scp.hpp"

#include <stdexcept>

#include "../sdk/call_scope.hpp"
#include "../sdk/text.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

#if ORTHANC_ASYNC_HAS_CONNECTIONS

Peer::Peer(const OrthancPluginDicomConnection* connection)
    // Nothing is written through it: the class of the Python object has no const.
    : connection_(std::make_shared<Connection>(
          const_cast<OrthancPluginDicomConnection*>(connection), "a DICOM request")) {
    const sdk::WorkerScope scope;
    if (scope.context() != nullptr) {
        const char* const remote =
            OrthancPluginGetConnectionRemoteAet(scope.context(), connection);
        remote_ = remote == nullptr ? "" : remote;
    }
}

py::tuple Peer::arguments() const {
    if (connection_) {
        return py::make_tuple(sdk::lend_handle(connection_));
    }
    return py::make_tuple(sdk::to_text(remote_.c_str()), sdk::to_text(called_.c_str()));
}

#else

py::tuple Peer::arguments() const {
    return py::make_tuple(sdk::to_text(remote_.c_str()), sdk::to_text(called_.c_str()));
}

#endif

Outcome ask_only(const std::shared_ptr<Registry>& registry, Family family,
                 const std::shared_ptr<Question>& question) {
    const auto handlers = handlers_of(registry, family);
    return handlers.empty() ? Outcome::Absent : ask(registry, *handlers.back(), question);
}

void check_scp_hooked(OrthancPluginContext* context, OrthancPluginErrorCode code,
                      const char* function, const char* since) {
    check_hooked(context, code, function, since,
                 "Only one plugin can handle these requests: another one, such as "
                 "ModalityWorklists, may be doing so already");
}

} // namespace orthanc_async::callbacks
