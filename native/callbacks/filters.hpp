// Callbacks that decide what Orthanc lets in: HTTP requests and DICOM instances.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

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

// Throws RuntimeError's C++ twin unless Orthanc has accepted the family's C function. `since`: the
// first Orthanc that has it.
void check_registered(OrthancPluginErrorCode code, const char* function, const char* since,
                      const char* one_plugin_only = nullptr);

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
