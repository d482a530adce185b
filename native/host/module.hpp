// The built-in module _orthanc.
#pragma once

#include <Python.h>

namespace orthanc_async::host {

// For PyImport_AppendInittab.
extern "C" PyObject* orthanc_async_create_module();
constexpr auto create_module = orthanc_async_create_module;

} // namespace orthanc_async::host
