#include "rest_entries.hpp"

#include <array>
#include <utility>

#include "registry.hpp"

namespace orthanc_async::callbacks {

namespace {

template <std::size_t Route>
OrthancPluginErrorCode answer(OrthancPluginRestOutput* output, const char* uri,
                              const OrthancPluginHttpRequest* request) noexcept {
    return enter_rest(Route, output, uri, request);
}

template <std::size_t Route>
OrthancPluginErrorCode read(OrthancPluginServerChunkedRequestReader** reader, const char* uri,
                            const OrthancPluginHttpRequest* request) noexcept {
    return open_rest_body(Route, reader, uri, request);
}

template <std::size_t... Routes>
constexpr auto make_entries(std::index_sequence<Routes...> /*unused*/) {
    return std::array<RestEntry, sizeof...(Routes)>{RestEntry{answer<Routes>, read<Routes>}...};
}

constexpr auto entries = make_entries(std::make_index_sequence<most_routes>());

} // namespace

RestEntry rest_entry(std::size_t route) {
    return entries[route];
}

} // namespace orthanc_async::callbacks
