#include "job_step.hpp"

#include "../runtime/runtime.hpp"
#include "../runtime/task.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

py::object host(const char* function) {
    return py::module_::import("orthanc_async._host.jobs").attr(function);
}

} // namespace

class JobStep::Start final : public runtime::Message {
public:
    explicit Start(std::shared_ptr<JobStep> step) : step_(std::move(step)) {}
    void deliver() override { step_->start(); }

private:
    std::shared_ptr<JobStep> step_;
};

class JobStep::Cancel final : public runtime::Message {
public:
    explicit Cancel(std::shared_ptr<JobStep> step) : step_(std::move(step)) {}
    void deliver() override { step_->cancel_task(); }

private:
    std::shared_ptr<JobStep> step_;
};

OrthancPluginJobStepStatus job_step_status(const py::object& result) {
    const bool is_number = PyLong_Check(result.ptr()) && !py::isinstance<py::bool_>(result);
    const long value = is_number ? PyLong_AsLong(result.ptr()) : 0;
    if (value < OrthancPluginJobStepStatus_Success ||
        value > OrthancPluginJobStepStatus_Continue) {
        PyErr_Clear(); // a number too large
        throw py::type_error("a job's step returns an orthanc.JobStepStatus, not " +
                             std::string(py::repr(result)));
    }
    return static_cast<OrthancPluginJobStepStatus>(value);
}

bool JobStep::begin() {
    return runtime::Runtime::get().mailbox.post(std::make_unique<Start>(shared_from_this()));
}

std::optional<OrthancPluginJobStepStatus> JobStep::wait(std::chrono::milliseconds most) {
    std::unique_lock<std::mutex> lock(mutex_);
    ended_.wait_for(lock, most, [&] { return status_.has_value(); });
    return status_;
}

void JobStep::cancel() {
    runtime::Runtime::get().mailbox.post(std::make_unique<Cancel>(shared_from_this()));
}

void JobStep::start() {
    const auto self = shared_from_this();
    try {
        if (cancelling_) {
            cancelled();
            return;
        }
        const py::object coroutine = handler_->callable(make_job(job_));
        const py::object task = runtime::start_task(host("run_step")(self, coroutine));
        if (!wait(std::chrono::milliseconds(0))) { // an eager task may have ended already
            task_ = py::object(task).release().ptr();
        }
    } catch (py::error_already_set& error) {
        try {
            host("raised")(self, sdk::exception_of(error));
        } catch (py::error_already_set& again) {
            again.discard_as_unraisable("reporting an error of a job");
        }
        fail();
    } catch (const std::exception& error) {
        sdk::Server::get().log_error((describe() + ": " + error.what()).c_str());
        fail();
    }
}

void JobStep::take(const py::object& result) {
    finish(job_step_status(result));
}

// A stop of Orthanc cancels every task. Orthanc has saved the job as running by then, and goes on
// with it at its next start.
void JobStep::cancelled() {
    const bool stopping = runtime::Runtime::get().gate.state() != runtime::Gate::State::Open;
    finish(stopping ? OrthancPluginJobStepStatus_Continue : OrthancPluginJobStepStatus_Failure);
}

std::string JobStep::describe() const {
    return handler_->name;
}

void JobStep::finish(OrthancPluginJobStepStatus status) {
    PyObject* const task = std::exchange(task_, nullptr);
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        status_ = status;
        ended_.notify_all();
    }
    Py_XDECREF(task);
}

void JobStep::cancel_task() {
    cancelling_ = true;
    if (task_ == nullptr) {
        return;
    }
    try {
        py::reinterpret_borrow<py::object>(task_).attr("cancel")();
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("cancelling a job");
    }
}

} // namespace orthanc_async::callbacks
