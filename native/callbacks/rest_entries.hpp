#pragma once

#include <orthanc/OrthancCPlugin.h>

#include <cstddef>

namespace orthanc_async::callbacks {

// Orthanc tells a REST callback only the path, not which route it was found by: so each route has
// C functions of its own. They are many, and do no more than pass its number on to the two below.
struct RestEntry {
    OrthancPluginRestCallback answer;
    OrthancPluginServerChunkedRequestReaderFactory read;
};

// Args: route: less than most_routes.
RestEntry rest_entry(std::size_t route);

// Thread: one of Orthanc's HTTP threads, or any that calls …AfterPlugins. GIL: not held.
OrthancPluginErrorCode enter_rest(std::size_t route, OrthancPluginRestOutput* output,
                                  const char* uri,
                                  const OrthancPluginHttpRequest* request) noexcept;
OrthancPluginErrorCode open_rest_body(std::size_t route,
                                      OrthancPluginServerChunkedRequestReader** reader,
                                      const char* uri,
                                      const OrthancPluginHttpRequest* request) noexcept;

} // namespace orthanc_async::callbacks
