// C-FIND requests to Orthanc's DICOM server: for resources, and for worklists.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_find(pybind11::module_& module);

} // namespace orthanc_async::callbacks
