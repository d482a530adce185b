// The event loop's wait, with a short way for the mailbox.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::runtime {

// Adds _select(epoll_fd, keys, timeout) to the module: what selectors.EpollSelector.select does,
// but that messages are delivered right here instead of by a callback of the loop, which spares
// half of the loop's own work for a request. `keys` maps descriptors to selector keys. Returns
// the list of (key, events) of the other descriptors. GIL: held.
void add_selector(pybind11::module_& module);

// Delivers a batch of messages; the rest in later turns of the loop. Thread: owner. GIL: held.
void drain_mailbox();

} // namespace orthanc_async::runtime
