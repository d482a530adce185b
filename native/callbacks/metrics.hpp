// Metrics that are brought up to date when Orthanc is asked for them.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_metrics(pybind11::module_& module);

} // namespace orthanc_async::callbacks
