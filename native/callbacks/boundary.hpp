// The boundary to C.
#pragma once

#include <exception>

#include "../sdk/server.hpp"

namespace orthanc_async::callbacks {

// Runs what Orthanc has called; nothing may leave a C function, so what is thrown is logged and
// `otherwise` returned. Thread: Orthanc's. GIL: not held, but where a `def` handler itself has
// called Orthanc.
template <class Result, class Body>
Result in_callback(Result otherwise, const Body& body) noexcept {
    const sdk::InsideCallback inside;
    try {
        return body();
    } catch (const std::exception& error) {
        sdk::Server::get().log_error(error.what());
        return otherwise;
    }
}

} // namespace orthanc_async::callbacks
