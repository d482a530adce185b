// Storage commitment: remote modalities ask whether Orthanc vouches for their instances.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_storage_commitment(pybind11::module_& module);

} // namespace orthanc_async::callbacks
