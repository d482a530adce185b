// Which calls of a handler wait for a lock that Orthanc holds while it asks. Calls are texts as
// operations describe themselves: RestApiPost('/instances', …).
#pragma once

#include <orthanc/OrthancCPlugin.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

namespace orthanc_async::callbacks {

inline bool begins_with(const std::string& text, const char* beginning) {
    return text.compare(0, std::strlen(beginning), beginning) == 0;
}

template <class Beginnings>
bool begins_with_any(const std::string& text, const Beginnings& beginnings) {
    return std::any_of(std::begin(beginnings), std::end(beginnings),
                       [&](const char* beginning) { return begins_with(text, beginning); });
}

// Before Orthanc 1.12.2 an SDK function that needs a file or an image held the lock of Orthanc's
// context, which is not recursive, until it had it. Thread: any.
bool calls_hold_context(OrthancPluginContext* context);

// Whether the call takes that lock.
bool needs_context(const std::string& call);

} // namespace orthanc_async::callbacks
