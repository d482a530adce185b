// Whether requests carry what an HTTP authentication has said about their client.
#pragma once

#include <atomic>

namespace orthanc_async::callbacks {

// True once Orthanc has accepted an HTTP authentication of ours: then it is new enough for its
// requests to have the field. Thread: any.
inline std::atomic<bool> requests_have_payloads{false};

} // namespace orthanc_async::callbacks
