// The yardstick: what a route costs in Orthanc when no Python is involved at all.
// Routes are registered without Orthanc's lock, as both Python plugins do.

#include <OrthancCPlugin.h>

namespace {

OrthancPluginContext* context = nullptr;

// Thread: any of Orthanc's HTTP threads, several at once.
OrthancPluginErrorCode answer_plain(OrthancPluginRestOutput* output, const char* /*url*/,
                                    const OrthancPluginHttpRequest* /*request*/) {
    constexpr char body[] = "ok\n";
    OrthancPluginAnswerBuffer(context, output, body, sizeof(body) - 1, "text/plain");
    return OrthancPluginErrorCode_Success;
}

// Thread: any of Orthanc's HTTP threads, several at once.
OrthancPluginErrorCode answer_statistics(OrthancPluginRestOutput* output, const char* /*url*/,
                                         const OrthancPluginHttpRequest* /*request*/) {
    OrthancPluginMemoryBuffer statistics;
    const OrthancPluginErrorCode code =
        OrthancPluginRestApiGet(context, &statistics, "/statistics");
    if (code != OrthancPluginErrorCode_Success) {
        return code;
    }
    OrthancPluginAnswerBuffer(context, output, static_cast<const char*>(statistics.data),
                              statistics.size, "application/json");
    OrthancPluginFreeMemoryBuffer(context, &statistics);
    return OrthancPluginErrorCode_Success;
}

} // namespace

extern "C" {

ORTHANC_PLUGINS_API int32_t OrthancPluginInitialize(OrthancPluginContext* c) {
    context = c;
    if (OrthancPluginCheckVersion(c) == 0) {
        OrthancPluginLogError(c, "plain_route was compiled against a newer Orthanc SDK");
        return -1;
    }
    OrthancPluginRegisterRestCallbackNoLock(c, "/bench/plain", answer_plain);
    OrthancPluginRegisterRestCallbackNoLock(c, "/bench/statistics", answer_statistics);
    return 0;
}

ORTHANC_PLUGINS_API void OrthancPluginFinalize() {}

ORTHANC_PLUGINS_API const char* OrthancPluginGetName() {
    return "plain-route";
}

ORTHANC_PLUGINS_API const char* OrthancPluginGetVersion() {
    return "1.0";
}

} // extern "C"
