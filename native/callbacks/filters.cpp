#include "filters.hpp"

#include <cstring>
#include <stdexcept>

#include "../sdk/call_scope.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "core_locks.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

Verdict consult(const std::shared_ptr<Registry>& registry, const Handler& handler,
                const std::shared_ptr<Question>& question) {
    const Outcome outcome = ask(registry, handler, question);
    if (outcome == Outcome::Answered) {
        return Verdict::Answered;
    }
    // A handler that was not called at all has not failed: Orthanc starts or stops.
    const bool accept = outcome == Outcome::Failed && registry->accept_on_filter_error;
    const std::string what = handler.name + ", " + question->describe();
    sdk::Server::get().log_warning(
        (what + (accept ? ": let through without it (OnFilterError is \"accept\")" : ": refused"))
            .c_str());
    return accept ? Verdict::Skipped : Verdict::Refused;
}

bool needs_service_lock(const std::string& call) {
    // As calls describe themselves; a method of HTTP is shown as its number.
    static constexpr const char* beginnings[] = {
        "Register",
        "GenerateRestApiAuthorizationToken(",
        "GetCommandLineArgument",
        "GetDatabaseServerIdentifier(",
        "ReconstructMainDicomTags(",
        "RestApiGet('/system'",
        "RestApiGet2('/system'",
        "RestApiGetAfterPlugins('/system'",
        "RestApiPost('/instances'",
        "RestApiPostAfterPlugins('/instances'",
        "RestApiPost('/tools/create-dicom'",
        "RestApiPostAfterPlugins('/tools/create-dicom'",
        "CallRestApi(1, '/system'",
        "CallRestApi(2, '/instances'",
        "CallRestApi(2, '/tools/create-dicom'",
    };
    return begins_with_any(call, beginnings);
}

void HttpFields::add_to(py::dict& keywords, bool query) const {
    keywords["ip"] = sdk::to_text(ip);
    keywords["headers"] = sdk::to_text_map(headers_count, headers_keys, headers_values);
    if (query) {
        keywords["get"] = sdk::to_text_map(get_count, get_keys, get_values);
    }
}

namespace {

template <class Buffer, class Create>
void fill(Buffer* target, const void* data, std::uint64_t size, Create create) {
    const sdk::WorkerScope scope;
    if (scope.context() == nullptr) {
        throw std::runtime_error("Orthanc has stopped");
    }
    const OrthancPluginErrorCode code = create(scope.context(), target);
    if (code != OrthancPluginErrorCode_Success) {
        throw std::runtime_error("no memory for an answer of " + std::to_string(size) + " bytes");
    }
    if (size > 0) {
        std::memcpy(target->data, data, size);
    }
}

} // namespace

void hand_over(OrthancPluginMemoryBuffer* target, const std::string& bytes) {
    fill(target, bytes.data(), bytes.size(), [&](auto* context, auto* buffer) {
        return OrthancPluginCreateMemoryBuffer(context, buffer,
                                               static_cast<std::uint32_t>(bytes.size()));
    });
}

void hand_over(OrthancPluginMemoryBuffer64* target, const void* data, std::uint64_t size) {
    fill(target, data, size, [&](auto* context, auto* buffer) {
        return OrthancPluginCreateMemoryBuffer64(context, buffer, size);
    });
}

} // namespace orthanc_async::callbacks
