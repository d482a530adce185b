// One job of a script's, as Orthanc's jobs engine sees it.
//
// Orthanc asks for progress, content and serialization often, some of it under the mutex of its
// job registry, and on several threads: they are answered from what Python has set, without
// Python. Only a step, the end of a run and a reset call Python, on the thread that Orthanc gives
// to each running job and that holds no lock.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "../runtime/mailbox.hpp"
#include "registry.hpp"

namespace orthanc_async::callbacks {

class JobStep;
class Question;

class JobState final : public std::enable_shared_from_this<JobState> {
public:
    // Destroyed where the GIL is held, wherever the last reference goes.
    using HandlerPointer = std::shared_ptr<const Handler>;

    JobState(std::string type, HandlerPointer step, HandlerPointer stop, HandlerPointer reset);

    // What Orthanc calls. Thread: the job's, and for the first three any. GIL: not held.
    float progress() const;
    std::string content() const;
    std::optional<std::string> serialized() const;
    OrthancPluginJobStepStatus step();
    void stop(OrthancPluginJobStopReason reason);
    void reset();
    void finalize();

    // What Python sets. GIL: any (a leaf lock).
    void set_progress(double progress);
    void set_content(std::string json);
    void set_serialized(std::optional<std::string> json);

    // Queues the message until the job is not paused; delivers it at once when it is not.
    // Thread: any. GIL: any.
    void when_resumed(std::unique_ptr<runtime::Message> message);

    // The OrthancPluginJob that Orthanc was given has been freed. Thread: any. GIL: any.
    bool finalized() const;
    bool paused() const;
    const std::string& type() const { return type_; }

private:
    HandlerPointer handler(HandlerPointer JobState::* member) const;
    OrthancPluginJobStepStatus step_plain(const HandlerPointer& handler);
    void resume();
    void tell(const HandlerPointer& handler, const std::shared_ptr<Question>& question);

    const std::string type_;
    mutable std::mutex mutex_; // a leaf
    // Dropped by finalize(): they may refer to the job itself.
    HandlerPointer step_;
    HandlerPointer stop_;
    HandlerPointer reset_;
    double progress_ = 0;
    std::string content_ = "{}";
    std::optional<std::string> serialized_;
    bool paused_ = false;
    bool finalized_ = false;
    std::vector<std::unique_ptr<runtime::Message>> resumed_;
    std::shared_ptr<JobStep> running_; // the step of an `async def`, beyond one call of Orthanc's
};

// The Python object. Copies of it are the same job. GIL: held.
pybind11::object make_job(std::shared_ptr<JobState> state);

} // namespace orthanc_async::callbacks
