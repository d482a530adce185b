#include "core_locks.hpp"

namespace orthanc_async::callbacks {

bool calls_hold_context(OrthancPluginContext* context) {
    return OrthancPluginCheckVersionAdvanced(context, 1, 12, 2) == 0;
}

bool needs_context(const std::string& call) {
    static constexpr const char* functions[] = {
        "RestApi",
        "CallRestApi(",
        "GetDicomForInstance(",
        "Lookup",
        "DecodeDicomImage(",
        "TranscodeDicomInstance(",
        "DicomInstance.GetInstanceDecodedFrame(",
        "GetGlobalProperty(",
        "SetGlobalProperty(",
        "Job.SubmitJob(",
        "SetMetricsValue(",
    };
    return begins_with_any(call, functions);
}

} // namespace orthanc_async::callbacks
