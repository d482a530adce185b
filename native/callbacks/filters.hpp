// Callbacks that decide what Orthanc lets in: HTTP requests and DICOM instances.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <string>

#include "question.hpp"

namespace orthanc_async::callbacks {

// What one filter's answer means for the filters after it.
enum class Verdict {
    Answered, // the question knows the answer
    Skipped,  // it failed, and the configuration says that the others decide
    Refused,  // it failed: the sender must see a failure
};

// ask(), and what the configuration makes of a failure. Thread and GIL: as ask().
Verdict consult(const std::shared_ptr<Registry>& registry, const Handler& handler,
                const std::shared_ptr<Question>& question);

// Orthanc calls those who judge instances under its lock for plugins' services, which the call (as
// text) needs too when it comes from another thread. What else may store cannot be told from its
// name: the time limit is for that.
bool needs_service_lock(const std::string& call);

// What Orthanc tells of an HTTP request that it asks about. Borrowed: read while its thread waits.
struct HttpFields {
    const char* uri;
    const char* ip;
    std::uint32_t headers_count;
    const char* const* headers_keys;
    const char* const* headers_values;
    std::uint32_t get_count;
    const char* const* get_keys;
    const char* const* get_values;

    // Adds "ip", "headers" and, with `query`, "get". GIL: held. Throws.
    void add_to(pybind11::dict& keywords, bool query) const;
};

// Hands bytes over to Orthanc, which frees them. Thread: Orthanc's. GIL: any. Throws.
void hand_over(OrthancPluginMemoryBuffer* target, const std::string& bytes);
void hand_over(OrthancPluginMemoryBuffer64* target, const void* data, std::uint64_t size);

void add_http_filter(pybind11::module_& module);
void add_instance_filters(pybind11::module_& module);
void add_received_instance(pybind11::module_& module);
// Nothing where the SDK's header is older than Orthanc 1.12.9.
void add_http_authentication(pybind11::module_& module);
void add_audit_log(pybind11::module_& module);

} // namespace orthanc_async::callbacks
