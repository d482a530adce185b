#include "module.hpp"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "../callbacks/changes.hpp"
#include "../callbacks/chunked_client.hpp"
#include "../callbacks/filters.hpp"
#include "../callbacks/find.hpp"
#include "../callbacks/images.hpp"
#include "../callbacks/jobs.hpp"
#include "../callbacks/metrics.hpp"
#include "../callbacks/move.hpp"
#include "../callbacks/question.hpp"
#include "../callbacks/rest.hpp"
#include "../callbacks/storage.hpp"
#include "../callbacks/storage_commitment.hpp"
#include "../callbacks/stored.hpp"
#include "../callbacks/webdav.hpp"
#include "../runtime/gil.hpp"

#include "../runtime/runtime.hpp"
#include "../runtime/selector.hpp"
#include "../runtime/task.hpp"
#include "../sdk/dicom_instance.hpp"
#include "../sdk/dicom_web.hpp"
#include "../sdk/explorer.hpp"
#include "../sdk/generated.hpp"
#include "../sdk/memory_buffer.hpp"
#include "../sdk/rest_output.hpp"
#include "../sdk/server.hpp"
#include "session.hpp"

namespace py = pybind11;

namespace orthanc_async::host {

namespace {

using runtime::Gate;
using runtime::Runtime;

py::dict settings() {
    const Settings& settings = Session::get().settings();
    py::dict values;
    values["scripts"] = settings.scripts;
    values["event_loop"] = settings.event_loop;
    values["event_concurrency"] = settings.event_concurrency;
    values["handler_timeout"] = settings.handler_timeout;
    values["shutdown_timeout"] = settings.shutdown_timeout;
    values["on_filter_error"] = settings.on_filter_error;
    values["store"] = settings.store;
    values["debug"] = settings.debug;
    values["display_memory_usage"] = settings.display_memory_usage;
    values["orthanc_version"] = Session::get().orthanc_version();
    values["package_parent"] = Session::get().environment().package_parent;
    return values;
}

void attach_loop(const py::object& loop, const py::object& task_type, bool eager, bool capture) {
    auto& runtime = Runtime::get();
    runtime.loop = std::make_unique<runtime::LoopReferences>();
    runtime.loop->loop = loop;
    runtime.loop->create_future = loop.attr("create_future");
    runtime.loop->call_soon = loop.attr("call_soon");
    runtime.loop->drain = py::cpp_function(&runtime::drain_mailbox);
    runtime::prepare_tasks(loop, task_type, eager, capture);
    loop.attr("add_reader")(runtime.mailbox.fd(), runtime.loop->drain);
}

void set_gate(const std::string& state) {
    Runtime::get().gate.set(state == "open"       ? Gate::State::Open
                            : state == "draining" ? Gate::State::Draining
                                                  : Gate::State::Starting);
}

// Python's levels to Orthanc's three. GIL: released, as the log has a lock of its own.
void log(int level, const std::string& text) {
    const runtime::WithoutGil without;
    sdk::Server& server = sdk::Server::get();
    OrthancPluginContext* const context = server.enter();
    if (context == nullptr) {
        // To stderr, or Orthanc's log while it stops: there nobody asks for more than warnings.
        if (level >= 40) {
            server.log_error(text.c_str());
        } else if (level >= 30) {
            server.log_warning(text.c_str());
        }
        return;
    }
    if (level >= 40) {
        OrthancPluginLogError(context, text.c_str());
    } else if (level >= 30) {
        OrthancPluginLogWarning(context, text.c_str());
    } else {
        OrthancPluginLogInfo(context, text.c_str());
    }
    server.leave();
}

py::object running_sdk_calls() {
    const auto executor = Runtime::get().executor();
    return executor ? py::cast(executor->running()) : py::cast(std::vector<std::string>());
}

void fill(py::module_& module) {
    module.doc() = "The native half of orthanc-async. Private: use orthanc and orthanc_async.";
    sdk::add_generated(module);
    sdk::add_rest_output(module);
    sdk::add_dicom_instance(module);
    sdk::add_memory_buffer(module);
    sdk::add_dicom_web(module);
    sdk::add_explorer(module);
    runtime::add_selector(module);
    callbacks::add_rest(module);
    callbacks::add_changes(module);
    callbacks::add_stored(module);
    callbacks::add_questions(module);
    callbacks::add_http_filter(module);
    callbacks::add_instance_filters(module);
    callbacks::add_received_instance(module);
    callbacks::add_http_authentication(module);
    callbacks::add_audit_log(module);
    callbacks::add_images(module);
    callbacks::add_storage(module);
    callbacks::add_metrics(module);
    callbacks::add_webdav(module);
    callbacks::add_find(module);
    callbacks::add_move(module);
    callbacks::add_storage_commitment(module);
    callbacks::add_jobs(module);
    callbacks::add_chunked_client(module);

    module.def("_settings", &settings);
    module.def("_attach_loop", &attach_loop);
    module.def("_loop_runs", [](bool runs) { Runtime::get().loop_runs = runs; });
    module.def("_ready", [](const std::string& failure) { Session::get().ready(failure); });
    module.def("_set_gate", &set_gate);
    module.def("_log", &log);
    module.def("_running_sdk_calls", &running_sdk_calls);
    module.def("_mark_forked", [] { sdk::Server::get().mark_forked(); });
}

PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_orthanc", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};

} // namespace

extern "C" PyObject* orthanc_async_create_module() {
    try {
        auto module = py::module_::create_extension_module("_orthanc", nullptr, &definition);
        fill(module);
        return module.release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_ImportError, error.what());
    }
    return nullptr;
}

} // namespace orthanc_async::host
