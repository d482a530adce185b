// Decoders and transcoders of DICOM images.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_images(pybind11::module_& module);

} // namespace orthanc_async::callbacks
