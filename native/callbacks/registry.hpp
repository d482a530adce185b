// Who handles what: the Python callables that scripts have registered in this session.
#pragma once

#include <pybind11/pybind11.h>

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "family.hpp"

namespace orthanc_async::callbacks {

// Orthanc hands no pointer of ours to a REST callback, so each route has a function of its own.
constexpr std::size_t most_routes = 1024;
// Of one family, so that the table never moves.
constexpr std::size_t most_handlers = 256;

struct Handler {
    pybind11::object callable;
    bool is_async = false;
    bool wants_query = false; // repeated query arguments too, in the field "_query"
    std::string name;         // "module.function (GET /x)", for messages
    std::string place;        // "file:line"
    int form = 0;             // which of a family's signatures it has
    std::chrono::duration<double> timeout{30}; // how long an Orthanc thread waits for it
};

// A handler that is not the registry's: of one job, of one HTTP request. GIL: held. The last
// reference may be dropped anywhere.
std::shared_ptr<const Handler> keep_handler(Handler handler);

struct FamilyHandlers {
    std::vector<std::unique_ptr<Handler>> handlers;
    std::atomic<std::size_t> count{0}; // read by Orthanc's threads without the GIL
    bool hooked = false;               // Orthanc knows of the family. GIL: held
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
    pybind11::object ask;          // coroutine function(pending, coroutine): an async answer
    pybind11::object plain_answer; // (pending, callable, arguments, keywords): a plain one
    pybind11::object raised;       // (pending, exception): log it
    pybind11::object timed_out;    // (pending): log it, cancel the task
    pybind11::object place;        // (callable) -> "file:line"
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
    FamilyHandlers& family(Family family) { return families_[static_cast<std::size_t>(family)]; }

    // Read by Orthanc's threads without the GIL.
    std::atomic<std::size_t> rest_count{0};
    std::atomic<std::size_t> plain_changes{0};
    std::atomic<std::size_t> async_changes{0};
    std::atomic<std::size_t> plain_stored{0};
    std::atomic<std::size_t> async_stored{0};

    // What a filter decides that fails: false refuses. Set before scripts are loaded.
    bool accept_on_filter_error = false;

    // True until OrthancPluginInitialize returns: registering with Orthanc is safe then.
    std::atomic<bool> loading{true};

private:
    Registry(const pybind11::module_& dispatch, bool limits);

    pybind11::object is_async_;
    std::array<FamilyHandlers, static_cast<std::size_t>(Family::Count)> families_;
};

} // namespace orthanc_async::callbacks
