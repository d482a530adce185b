// A step of a job that is an `async def`: a task of the loop, which may take longer than Orthanc's
// thread should be held.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "job_state.hpp"

namespace orthanc_async::callbacks {

class JobStep final : public std::enable_shared_from_this<JobStep> {
public:
    JobStep(std::shared_ptr<JobState> job, JobState::HandlerPointer handler)
        : job_(std::move(job)), handler_(std::move(handler)) {}

    // False when no loop runs any more. Thread: the job's. GIL: not held.
    bool begin();
    // Empty when it has not ended within that time. Thread: the job's. GIL: not held.
    std::optional<OrthancPluginJobStepStatus> wait(std::chrono::milliseconds most);
    // Cancels the task, now or when it exists. Thread: any. GIL: not held.
    void cancel();

    // The Python half. Thread: the loop's. GIL: held.
    void start();
    void take(const pybind11::object& result); // throws TypeError when it is no status
    void fail() { finish(OrthancPluginJobStepStatus_Failure); }
    void cancelled();
    std::string describe() const;

private:
    class Start;
    class Cancel;

    void finish(OrthancPluginJobStepStatus status);
    void cancel_task();

    const std::shared_ptr<JobState> job_;
    const JobState::HandlerPointer handler_;
    PyObject* task_ = nullptr; // owned; only touched under the GIL
    bool cancelling_ = false;  // only touched under the GIL
    std::mutex mutex_;         // a leaf
    std::condition_variable ended_;
    std::optional<OrthancPluginJobStepStatus> status_;
};

// Reads what a step has returned. GIL: held. Throws TypeError.
OrthancPluginJobStepStatus job_step_status(const pybind11::object& result);

} // namespace orthanc_async::callbacks
