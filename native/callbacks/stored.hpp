// Stored instances: orthanc.RegisterOnStoredInstanceCallback.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

// Registers the one callback through which all stored instances come: once, at the start, because
// Orthanc takes its lock for stored instances, which a handler may hold while it waits for the
// loop. Thread: Orthanc's main, inside OrthancPluginInitialize.
void watch_stored(OrthancPluginContext* context);

// Adds RegisterOnStoredInstanceCallback. GIL: held.
void add_stored(pybind11::module_& module);

} // namespace orthanc_async::callbacks
