#include "job_state.hpp"

#include <thread>

#include "../runtime/runtime.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "job_step.hpp"
#include "question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

using namespace std::chrono_literals;
using runtime::Gate;

// Between two steps Orthanc sees whether the job is to be paused or cancelled.
constexpr auto one_step = 200ms;
// How long the end of a run waits for its task, which may clean up.
constexpr auto cancel_patience = 5s;
constexpr When until_the_end{false, true};

// A call of a job's `def` step, or of its stop or reset. Nothing is locked meanwhile.
class JobQuestion final : public Question {
public:
    enum class Kind { Step, Stop, Reset };

    JobQuestion(std::shared_ptr<JobState> job, JobState::HandlerPointer handler, Kind kind,
                OrthancPluginJobStopReason reason = OrthancPluginJobStopReason_Success)
        : job_(std::move(job)), handler_(std::move(handler)), kind_(kind), reason_(reason) {}

    py::tuple arguments() override {
        if (kind_ == Kind::Stop) {
            return py::make_tuple(make_job(job_), sdk::to_enum("JobStopReason", reason_));
        }
        return py::make_tuple(make_job(job_));
    }
    void take(const py::object& result) override {
        if (kind_ == Kind::Step) {
            status_ = job_step_status(result);
        }
    }
    std::string describe() const override {
        return kind_ == Kind::Step   ? "a step of the job"
               : kind_ == Kind::Stop ? "the end of the job's run"
                                     : "the job's reset";
    }

    OrthancPluginJobStepStatus status() const { return status_; }

private:
    const std::shared_ptr<JobState> job_;
    const JobState::HandlerPointer handler_; // outlives the call, also when nobody waits any more
    const Kind kind_;
    const OrthancPluginJobStopReason reason_;
    OrthancPluginJobStepStatus status_ = OrthancPluginJobStepStatus_Failure;
};

} // namespace

JobState::JobState(std::string type, HandlerPointer step, HandlerPointer stop,
                   HandlerPointer reset)
    : type_(std::move(type)), step_(std::move(step)), stop_(std::move(stop)),
      reset_(std::move(reset)) {}

float JobState::progress() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<float>(progress_);
}

std::string JobState::content() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return content_;
}

std::optional<std::string> JobState::serialized() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return serialized_;
}

void JobState::set_progress(double progress) {
    const std::lock_guard<std::mutex> lock(mutex_);
    progress_ = progress;
}

void JobState::set_content(std::string json) {
    const std::lock_guard<std::mutex> lock(mutex_);
    content_ = std::move(json);
}

void JobState::set_serialized(std::optional<std::string> json) {
    const std::lock_guard<std::mutex> lock(mutex_);
    serialized_ = std::move(json);
}

bool JobState::finalized() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return finalized_;
}

bool JobState::paused() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return paused_;
}

void JobState::when_resumed(std::unique_ptr<runtime::Message> message) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (paused_ && !finalized_) {
            resumed_.push_back(std::move(message));
            return;
        }
    }
    runtime::Runtime::get().mailbox.post(std::move(message));
}

void JobState::resume() {
    std::vector<std::unique_ptr<runtime::Message>> waiting;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        paused_ = false;
        waiting.swap(resumed_);
    }
    for (auto& message : waiting) {
        runtime::Runtime::get().mailbox.post(std::move(message));
    }
}

JobState::HandlerPointer JobState::handler(HandlerPointer JobState::* member) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return this->*member;
}

OrthancPluginJobStepStatus JobState::step() {
    resume();
    if (runtime::Runtime::get().gate.pass(one_step) != Gate::State::Open) {
        // Orthanc starts, or stops: there it asks again and again until it has ended.
        std::this_thread::sleep_for(one_step / 4);
        return OrthancPluginJobStepStatus_Continue;
    }
    const HandlerPointer handler = this->handler(&JobState::step_);
    if (!handler) {
        return OrthancPluginJobStepStatus_Failure;
    }
    if (!handler->is_async) {
        return step_plain(handler);
    }
    std::shared_ptr<JobStep> running;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        running = running_;
    }
    if (!running) {
        running = std::make_shared<JobStep>(shared_from_this(), handler);
        if (!running->begin()) {
            return OrthancPluginJobStepStatus_Continue;
        }
        const std::lock_guard<std::mutex> lock(mutex_);
        running_ = running;
    }
    const auto status = running->wait(one_step);
    if (!status) {
        return OrthancPluginJobStepStatus_Continue;
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    running_ = nullptr;
    return *status;
}

OrthancPluginJobStepStatus JobState::step_plain(const HandlerPointer& handler) {
    const auto registry = Registry::current();
    const auto question =
        std::make_shared<JobQuestion>(shared_from_this(), handler, JobQuestion::Kind::Step);
    const Outcome outcome = registry ? ask(registry, *handler, question) : Outcome::Absent;
    if (outcome == Outcome::Absent) {
        return OrthancPluginJobStepStatus_Continue; // Orthanc stops
    }
    return outcome == Outcome::Answered ? question->status() : OrthancPluginJobStepStatus_Failure;
}

void JobState::stop(OrthancPluginJobStopReason reason) {
    std::shared_ptr<JobStep> running;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        paused_ = reason == OrthancPluginJobStopReason_Paused;
        if (!paused_) {
            running = std::move(running_);
            running_ = nullptr;
        }
    }
    if (running) {
        running->cancel();
        if (may_ask(until_the_end)) {
            running->wait(cancel_patience);
        }
    }
    const HandlerPointer handler = this->handler(&JobState::stop_);
    tell(handler, std::make_shared<JobQuestion>(shared_from_this(), handler,
                                                JobQuestion::Kind::Stop, reason));
}

void JobState::reset() {
    std::shared_ptr<JobStep> running; // of a job that was cancelled while it was paused
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        running = std::move(running_);
        running_ = nullptr;
        progress_ = 0;
    }
    if (running) {
        running->cancel();
    }
    resume();
    const HandlerPointer handler = this->handler(&JobState::reset_);
    tell(handler,
         std::make_shared<JobQuestion>(shared_from_this(), handler, JobQuestion::Kind::Reset));
}

void JobState::tell(const HandlerPointer& handler, const std::shared_ptr<Question>& question) {
    const auto registry = Registry::current();
    if (handler && registry && may_ask(until_the_end)) {
        ask(registry, *handler, question);
    }
}

void JobState::finalize() {
    std::shared_ptr<JobStep> running;
    HandlerPointer handlers[3];
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        finalized_ = true;
        running = std::move(running_);
        running_ = nullptr;
        handlers[0].swap(step_);
        handlers[1].swap(stop_);
        handlers[2].swap(reset_);
    }
    if (running) {
        running->cancel();
    }
    resume();
}

} // namespace orthanc_async::callbacks
