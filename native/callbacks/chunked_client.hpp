// HTTP requests whose body and answer go chunk by chunk, so that neither is whole in memory.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_chunked_client(pybind11::module_& module);

} // namespace orthanc_async::callbacks
