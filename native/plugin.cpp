// The four functions that Orthanc looks for in a plugin.
#include <orthanc/OrthancCPlugin.h>

#include <exception>

#include "host/session.hpp"
#include "sdk/server.hpp"

using orthanc_async::host::Session;

extern "C" {

ORTHANC_PLUGINS_API int32_t OrthancPluginInitialize(OrthancPluginContext* context) {
    try {
        return Session::get().start(context) ? 0 : -1;
    } catch (const std::exception& error) {
        OrthancPluginLogError(context, error.what());
        return -1;
    }
}

ORTHANC_PLUGINS_API void OrthancPluginFinalize() {
    try {
        Session::get().finalize();
    } catch (const std::exception& error) {
        orthanc_async::sdk::Server::get().log_error(error.what());
    }
}

ORTHANC_PLUGINS_API const char* OrthancPluginGetName() {
    return "orthanc-async";
}

ORTHANC_PLUGINS_API const char* OrthancPluginGetVersion() {
    return ORTHANC_ASYNC_VERSION;
}
}
