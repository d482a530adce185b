// An `async def` REST handler from its first step to its end: what its task runs.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "rest_call.hpp"

namespace orthanc_async::callbacks {

// A coroutine around the handler's own, which ends without an error whatever the handler does, and
// lets the waiting thread go then. In C++, because every request runs through it. GIL: held, as
// for all below.
pybind11::object make_served(std::shared_ptr<RestCall> call, const pybind11::object& output,
                             const pybind11::object& coroutine);

// The call of such an object; null for anything else.
std::shared_ptr<RestCall> served_call(pybind11::handle object);

// Holds the RestOutput of the async handler that a task belongs to. Made once per process.
PyObject* current_output();

// Prepares the class. Once per process.
void add_served(pybind11::module_& module);

} // namespace orthanc_async::callbacks
