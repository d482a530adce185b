// Change events: orthanc.RegisterOnChangeCallback.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <functional>

namespace orthanc_async::callbacks {

// Adds RegisterOnChangeCallback. GIL: held.
void add_changes(pybind11::module_& module);

// Registers the one callback through which all events come, and which never waits but for
// ORTHANC_STOPPED: there `stop` runs on Orthanc's main thread, the last moment when the SDK works.
// Thread: Orthanc's main, inside OrthancPluginInitialize.
void watch_changes(OrthancPluginContext* context, std::function<void()> stop);

} // namespace orthanc_async::callbacks
