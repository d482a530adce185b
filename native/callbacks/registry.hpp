// Who handles what: the Python callables that scripts have registered in this session.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

namespace orthanc_async::callbacks {

// Orthanc hands no pointer of ours to a REST callback, so each route has a function of its own.
constexpr std::size_t most_routes = 1024;

struct Handler {
    pybind11::object callable;
    bool is_async = false;
    bool wants_query = false; // repeated query arguments too, in the field "_query"
    std::string name;         // "module.function (GET /x)", for messages
};

// The Python half of the plugin, looked up once. Owner: the registry.
struct HostFunctions {
    pybind11::object limit;        // (output): HandlerTimeout for the current task
    pybind11::object awaiting;     // (awaitable): a coroutine that awaits it
    pybind11::object report;       // (output, exception or None): log it, answer if nothing was
    pybind11::object change;       // (handlers, type, level, id): queue for the async handlers
    pybind11::object plain_change; // (callable, name, type, level, id): call one plain handler
    pybind11::object stored;       // (handlers, dicom, id): start the async handlers
    pybind11::object plain_stored; // (callable, name, dicom, id): call one plain handler
};

// Created and destroyed on the owner thread. Handlers are added under the GIL and never removed
// before the registry goes, so that an index stays valid and a count may be read without the GIL.
class Registry {
public:
    // `dispatch` is orthanc_async._host.dispatch. GIL: held. The last reference may be dropped
    // anywhere.
    static std::shared_ptr<Registry> create(const pybind11::module_& dispatch,
                                            bool limits_handlers);

    static std::shared_ptr<Registry> current(); // any thread; null between sessions
    static void set_current(std::shared_ptr<Registry> registry);

    // Throws TypeError when `callable` is not callable. GIL: held.
    Handler make_handler(pybind11::object callable, const std::string& what) const;

    HostFunctions host;
    const bool limits_handlers;                 // there is a HandlerTimeout
    std::vector<std::unique_ptr<Handler>> rest; // by route index
    std::vector<std::unique_ptr<Handler>> changes;
    std::vector<std::unique_ptr<Handler>> stored;

    // Read by Orthanc's threads without the GIL.
    std::atomic<std::size_t> rest_count{0};
    std::atomic<std::size_t> plain_changes{0};
    std::atomic<std::size_t> async_changes{0};
    std::atomic<std::size_t> plain_stored{0};
    std::atomic<std::size_t> async_stored{0};

    // True until OrthancPluginInitialize returns: registering with Orthanc is safe then.
    std::atomic<bool> loading{true};

private:
    Registry(const pybind11::module_& dispatch, bool limits);

    pybind11::object is_async_;
};

} // namespace orthanc_async::callbacks
