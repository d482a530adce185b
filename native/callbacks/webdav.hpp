// WebDAV folders whose content comes from Python.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_webdav(pybind11::module_& module);

} // namespace orthanc_async::callbacks
