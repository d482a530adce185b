// Stored instances: orthanc.RegisterOnStoredInstanceCallback.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

// Adds RegisterOnStoredInstanceCallback. GIL: held.
void add_stored(pybind11::module_& module);

} // namespace orthanc_async::callbacks
