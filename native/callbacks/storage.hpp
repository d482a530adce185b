// Where Orthanc keeps its files: storage areas written in Python.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_storage(pybind11::module_& module);

} // namespace orthanc_async::callbacks
