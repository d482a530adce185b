// The entry into what native/codegen writes.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::sdk {

// Adds every function, blocking and awaitable, and the classes of SDK objects to the built-in
// module. GIL: held. Throws pybind11::error_already_set.
void add_generated(pybind11::module_& module);

} // namespace orthanc_async::sdk
