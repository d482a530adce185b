// Jobs written in Python: orthanc.CreateJob, the class orthanc.Job, and what makes saved jobs
// again.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::callbacks {

void add_jobs(pybind11::module_& module);

} // namespace orthanc_async::callbacks
