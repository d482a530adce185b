// orthanc.MemoryBuffer: what an SDK function has allocated, read in place.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>

namespace orthanc_async::sdk {

// The context's own function, whose address stays valid when Orthanc has stopped.
using Free = void (*)(void*);

// The Python object owns `data`, which is freed when that fails. GIL: held. Throws.
pybind11::object make_memory_buffer(void* data, std::uint64_t size, Free free);

// orthanc.without_copy() asks the operation that is made next on this thread for a MemoryBuffer;
// its result says here that it has heard. Thread: the caller's. GIL: held.
bool take_without_copy() noexcept;

void add_memory_buffer(pybind11::module_& module);

} // namespace orthanc_async::sdk
