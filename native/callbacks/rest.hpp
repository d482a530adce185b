// REST routes: orthanc.RegisterRestCallback and its awaitable twin.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

// Adds RegisterRestCallback, and what the Python half needs to run and end a call. GIL: held.
void add_rest(pybind11::module_& module);

} // namespace orthanc_async::callbacks
