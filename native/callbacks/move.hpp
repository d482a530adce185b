// C-MOVE requests to Orthanc's DICOM server.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_move(pybind11::module_& module);

} // namespace orthanc_async::callbacks
