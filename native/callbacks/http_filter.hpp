// The filter that each HTTP request from outside must pass.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_http_filter(pybind11::module_& module);

} // namespace orthanc_async::callbacks
