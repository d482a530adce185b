#include "jobs.hpp"

#include <pybind11/stl.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "../runtime/runtime.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/invoke.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"
#include "job_state.hpp"
#include "job_step.hpp"
#include "question.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

// What Orthanc holds. Owner: its job, whose end deletes it.
using Payload = std::shared_ptr<JobState>;

JobState& state_of(void* payload) {
    return **static_cast<Payload*>(payload);
}

void on_finalize(void* job) noexcept {
    const std::unique_ptr<Payload> payload(static_cast<Payload*>(job));
    in_callback(0, [&] {
        (*payload)->finalize();
        return 0;
    });
}

float on_progress(void* job) noexcept {
    return in_callback(0.0F, [&] { return state_of(job).progress(); });
}

// Orthanc copies the text before it asks again on the same thread.
const char* on_content(void* job) noexcept {
    static thread_local std::string content;
    return in_callback<const char*>("{}", [&] {
        content = state_of(job).content();
        return content.c_str();
    });
}

// Null: the job is not to be saved.
const char* on_serialized(void* job) noexcept {
    static thread_local std::string serialized;
    return in_callback<const char*>(nullptr, [&]() -> const char* {
        auto text = state_of(job).serialized();
        if (!text) {
            return nullptr;
        }
        serialized = std::move(*text);
        return serialized.c_str();
    });
}

OrthancPluginJobStepStatus on_step(void* job) noexcept {
    return in_callback(OrthancPluginJobStepStatus_Failure, [&] { return state_of(job).step(); });
}

OrthancPluginErrorCode on_stop(void* job, OrthancPluginJobStopReason reason) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        state_of(job).stop(reason);
        return OrthancPluginErrorCode_Success;
    });
}

OrthancPluginErrorCode on_reset(void* job) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        state_of(job).reset();
        return OrthancPluginErrorCode_Success;
    });
}

// The object orthanc.Job. The job that a script has made is its own until Orthanc takes it.
class Job {
public:
    explicit Job(std::shared_ptr<JobState> job, OrthancPluginJob* owned = nullptr)
        : state(std::move(job)), owned_(owned) {}
    ~Job() {
        if (owned_ != nullptr) {
            const sdk::WorkerScope scope; // frees memory only: no lock, so the GIL may be held
            if (scope.context() != nullptr) {
                OrthancPluginFreeJob(scope.context(), owned_);
            }
        }
    }
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;

    // GIL: held. Throws when Orthanc has it already.
    OrthancPluginJob* take(const char* function) {
        if (owned_ == nullptr) {
            throw std::runtime_error(std::string("orthanc.") + function +
                                     ": Orthanc has this job already: make another one with "
                                     "orthanc.CreateJob(…)");
        }
        return std::exchange(owned_, nullptr);
    }
    // Orthanc has refused it.
    void give_back(OrthancPluginJob* job) {
        if (!state->finalized()) {
            owned_ = job;
        }
    }

    const std::shared_ptr<JobState> state;

private:
    OrthancPluginJob* owned_;
};

// SubmitJob as the generated operations are; the object is bound by hand.
struct SubmitOperation {
    static constexpr const char* label = "Job.SubmitJob";
    static constexpr const char* awaitable_label = "Job.submit_job";
    static constexpr sdk::Kind kind = sdk::Kind::Blocking;
    static constexpr const char* since = "";

    SubmitOperation() = default;
    SubmitOperation(const SubmitOperation&) = delete;
    SubmitOperation& operator=(const SubmitOperation&) = delete;
    ~SubmitOperation() { // GIL: held
        if (raw != nullptr) {
            owner.cast<Job&>().give_back(raw);
        }
    }

    // Not by the header's inline function, which drops the code.
    OrthancPluginErrorCode run(OrthancPluginContext* context) noexcept {
        char* identifier = nullptr;
        _OrthancPluginSubmitJob call{&identifier, raw, priority};
        const auto code = context->InvokeService(context, _OrthancPluginService_SubmitJob, &call);
        if (code != OrthancPluginErrorCode_Success) {
            return code;
        }
        raw = nullptr;
        return id.set(context, identifier);
    }
    py::object result() { return id.take(); }
    std::string describe() const {
        return std::string(label) + "(" + std::to_string(priority) + ")";
    }

    py::object owner;
    OrthancPluginJob* raw = nullptr;
    int priority = 0;
    sdk::StringResult id;
};

void prepare_submit(SubmitOperation& op, const py::object& self, int priority) {
    op.owner = self;
    op.raw = self.cast<Job&>().take(SubmitOperation::label);
    op.priority = priority;
}

JobState::HandlerPointer make_handler(const Registry& registry, py::object callable,
                                      const std::string& what) {
    if (callable.is_none()) {
        return nullptr;
    }
    return keep_handler(registry.make_handler(std::move(callable), what));
}

// The header of 1.11.3 and later prefers a second form, which hands out memory of Orthanc's: this
// one works in every version, and what it hands out is copied for each thread.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
OrthancPluginJob* create_job(OrthancPluginContext* context, Payload* payload,
                             const std::string& type) {
    return OrthancPluginCreateJob(context, payload, on_finalize, type.c_str(), on_progress,
                                  on_content, on_serialized, on_step, on_stop, on_reset);
}
#pragma GCC diagnostic pop

std::unique_ptr<Job> create(const std::string& type, py::object step, py::object stop,
                            py::object reset) {
    const sdk::CallScope scope("CreateJob", "", sdk::Kind::Pure);
    const auto registry = Registry::current();
    if (!registry) {
        throw std::runtime_error("orthanc.CreateJob() was called after Orthanc has stopped");
    }
    const std::string what = "job " + type;
    if (step.is_none()) {
        throw py::type_error(
            "orthanc.CreateJob(): a job needs a function for its steps, not None");
    }
    auto state = std::make_shared<JobState>(type, make_handler(*registry, std::move(step), what),
                                            make_handler(*registry, std::move(stop), what),
                                            make_handler(*registry, std::move(reset), what));
    auto payload = std::make_unique<Payload>(state);
    OrthancPluginJob* const job = create_job(scope.context(), payload.get(), type);
    if (job == nullptr) {
        sdk::throw_sdk_error(OrthancPluginErrorCode_InternalError, "CreateJob('" + type + "')");
    }
    payload.release(); // NOLINT(bugprone-unused-return-value): Orthanc's job owns it
    return std::make_unique<Job>(std::move(state), job);
}

// Orthanc would drop the whole job, or fail its queries, over text that is no JSON object.
std::string checked_object(const std::string& function, std::string text) {
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) {
        throw py::value_error("orthanc.Job." + function +
                              "() takes a JSON object as text, such as '{\"Done\": 3}'");
    }
    return text;
}

void set_serialized(const Job& job, std::optional<std::string> text) {
    if (text) {
        text = checked_object("SetSerialized", std::move(*text));
        if (nlohmann::json::parse(*text).contains("Type")) {
            throw py::value_error("orthanc.Job.SetSerialized(): the field \"Type\" is Orthanc's "
                                  "own: choose another name");
        }
    }
    job.state->set_serialized(std::move(text));
}

void set_progress(const Job& job, double progress) {
    if (!(progress >= 0 && progress <= 1)) {
        throw py::value_error("orthanc.Job.SetProgress() takes a number from 0 to 1, not " +
                              std::to_string(progress));
    }
    job.state->set_progress(progress);
}

// Tells a coroutine that its job is not paused (any more).
class Resumed final : public runtime::Message {
public:
    PyObject* future() const { return awaiter_.future(); }
    void deliver() override { awaiter_.resolve(py::none()); }

private:
    sdk::Awaiter awaiter_;
};

py::object wait_while_paused(const Job& job) {
    auto message = std::make_unique<Resumed>();
    auto future = py::reinterpret_borrow<py::object>(message->future());
    job.state->when_resumed(std::move(message));
    return future;
}

// Saved jobs

class UnserializeQuestion final : public Question {
public:
    UnserializeQuestion(const char* type, const char* serialized)
        : type_(type), serialized_(serialized) {}
    ~UnserializeQuestion() override {
        if (job_ != nullptr) { // nobody has waited for it
            const sdk::WorkerScope scope;
            if (scope.context() != nullptr) {
                OrthancPluginFreeJob(scope.context(), job_);
            }
        }
    }
    UnserializeQuestion(const UnserializeQuestion&) = delete;
    UnserializeQuestion& operator=(const UnserializeQuestion&) = delete;

    py::tuple arguments() override {
        return py::make_tuple(sdk::to_text(type_.c_str()), sdk::to_text(serialized_.c_str()));
    }
    void take(const py::object& result) override {
        if (result.is_none()) {
            return;
        }
        if (!py::isinstance<Job>(result)) {
            throw py::type_error("an unserializer returns an orthanc.Job, or None for a type that "
                                 "is not its own, not " +
                                 std::string(py::repr(result)));
        }
        job_ = result.cast<Job&>().take("RegisterJobsUnserializer");
    }
    std::string describe() const override { return "a saved job of type '" + type_ + "'"; }
    bool would_hang(const std::string& /*call*/) const override { return false; }

    OrthancPluginJob* release() { return std::exchange(job_, nullptr); }

private:
    const std::string type_;
    const std::string serialized_;
    OrthancPluginJob* job_ = nullptr;
};

OrthancPluginJob* unserialize(const char* type, const char* serialized) {
    const auto registry = Registry::current();
    // Orthanc loads its jobs before it tells that it has started.
    if (!registry || !may_ask({false, false})) {
        return nullptr;
    }
    for (const Handler* handler : handlers_of(registry, Family::JobsUnserializer)) {
        const auto question = std::make_shared<UnserializeQuestion>(type, serialized);
        if (ask(registry, *handler, question) == Outcome::Answered) {
            if (OrthancPluginJob* const job = question->release()) {
                return job;
            }
        }
    }
    return nullptr;
}

OrthancPluginJob* on_unserialize(const char* type, const char* serialized) noexcept {
    return in_callback<OrthancPluginJob*>(nullptr, [&] { return unserialize(type, serialized); });
}

} // namespace

py::object make_job(std::shared_ptr<JobState> state) {
    return py::cast(std::make_unique<Job>(std::move(state)));
}

void add_jobs(py::module_& module) {
    py::class_<Job>(module, "Job")
        .def(
            "SubmitJob",
            [](const py::object& self, int priority) {
                SubmitOperation op;
                prepare_submit(op, self, priority);
                return sdk::run_blocking(op);
            },
            py::arg(), py::pos_only())
        .def(
            "submit_job",
            [](const py::object& self, int priority) {
                auto call = std::make_unique<sdk::AwaitableCall<SubmitOperation>>();
                prepare_submit(call->op, self, priority);
                sdk::refuse_hanging(call->op);
                return sdk::submit_call(SubmitOperation::label, std::move(call));
            },
            py::arg(), py::pos_only())
        .def("SetProgress", &set_progress, py::arg(), py::pos_only())
        .def(
            "SetContent",
            [](const Job& job, std::string json) {
                job.state->set_content(checked_object("SetContent", std::move(json)));
            },
            py::arg(), py::pos_only())
        .def("SetSerialized", &set_serialized, py::arg(), py::pos_only())
        .def("wait_while_paused", &wait_while_paused)
        .def_property_readonly("paused", [](const Job& job) { return job.state->paused(); })
        .def_property_readonly("type", [](const Job& job) { return job.state->type(); })
        .attr("__module__") = "orthanc";
    module.def("CreateJob", &create, py::arg(), py::arg(), py::arg() = py::none(),
               py::arg() = py::none(), py::pos_only());
    Registration unserializer{"RegisterJobsUnserializer", "jobs unserializer",
                              Family::JobsUnserializer};
    unserializer.hook = [](OrthancPluginContext* context) {
        OrthancPluginRegisterJobsUnserializer(context, on_unserialize);
    };
    define(module, unserializer);

    py::class_<JobStep, std::shared_ptr<JobStep>>(module, "_JobStep")
        .def("describe", &JobStep::describe)
        .def("take", &JobStep::take)
        .def("fail", &JobStep::fail)
        .def("cancelled", &JobStep::cancelled);
}

} // namespace orthanc_async::callbacks
