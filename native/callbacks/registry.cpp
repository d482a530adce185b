#include "registry.hpp"

#include "../runtime/kept.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

std::shared_ptr<Registry>& slot() {
    static auto* const registry = new std::shared_ptr<Registry>; // NOLINT: outlives exit()
    return *registry;
}

} // namespace

std::shared_ptr<const Handler> keep_handler(Handler handler) {
    return runtime::buried_in_the_end(std::make_unique<Handler>(std::move(handler)));
}

std::shared_ptr<Registry> Registry::create(const py::module_& dispatch, bool limits_handlers) {
    // A call of Orthanc's may hold the last reference on a thread without the GIL.
    return runtime::buried_in_the_end(
        std::unique_ptr<Registry>(new Registry(dispatch, limits_handlers))); // NOLINT: private
}

Registry::Registry(const py::module_& dispatch, bool limits)
    : host{dispatch.attr("limit"),        dispatch.attr("awaiting"),
           dispatch.attr("report"),       dispatch.attr("change"),
           dispatch.attr("plain_change"), dispatch.attr("stored"),
           dispatch.attr("plain_stored"), dispatch.attr("ask"),
           dispatch.attr("plain_answer"), dispatch.attr("raised"),
           dispatch.attr("timed_out"),    dispatch.attr("place")},
      limits_handlers(limits), is_async_(dispatch.attr("is_async")) {
    // Orthanc's threads look handlers up without the GIL: the tables never move.
    rest.reserve(most_routes);
    for (FamilyHandlers& family : families_) {
        family.handlers.reserve(most_handlers);
    }
}

std::shared_ptr<Registry> Registry::current() {
    return std::atomic_load(&slot());
}

void Registry::set_current(std::shared_ptr<Registry> registry) {
    std::atomic_store(&slot(), std::move(registry));
}

Handler Registry::make_handler(py::object callable, const std::string& what) const {
    if (PyCallable_Check(callable.ptr()) == 0) {
        throw py::type_error(what + ": the handler must be a function (def or async def), not " +
                             std::string(Py_TYPE(callable.ptr())->tp_name));
    }
    const bool is_async = is_async_(callable).cast<bool>();
    std::string name;
    if (py::hasattr(callable, "__orthanc_handler__")) {
        name = py::str(callable.attr("__orthanc_handler__"));
    } else {
        const py::object module = py::getattr(callable, "__module__", py::none());
        const py::object qualname = py::getattr(callable, "__qualname__", py::none());
        name = qualname.is_none()
                   ? std::string(py::repr(callable))
                   : std::string(py::str(module)) + "." + std::string(py::str(qualname));
        name += " (" + what + ")";
    }
    const bool wants_query = py::hasattr(callable, "__orthanc_query__");
    Handler handler;
    handler.place = py::str(host.place(callable));
    const py::object timeout = py::getattr(callable, "__orthanc_timeout__", py::none());
    if (!timeout.is_none()) {
        handler.timeout = std::chrono::duration<double>(timeout.cast<double>());
    }
    handler.callable = std::move(callable);
    handler.is_async = is_async;
    handler.wants_query = wants_query;
    handler.name = std::move(name);
    return handler;
}

} // namespace orthanc_async::callbacks
