// orthanc.RestOutput: what a REST handler answers with.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <string>

#include "../runtime/mailbox.hpp"

namespace orthanc_async::sdk {

// One thing to do with the output. It runs on the Orthanc thread that waits for the handler, and
// is delivered to the loop afterwards when it holds Python references or somebody awaits it.
class OutputOperation : public runtime::Message {
public:
    // Thread: Orthanc's. GIL: not held.
    virtual void run(OrthancPluginContext* context, OrthancPluginRestOutput* output) noexcept = 0;

    // Instead of run(), when the call has ended first. Thread: Orthanc's. GIL: not held.
    virtual void drop() noexcept {}

    // Must be destroyed under the GIL, by way of the mailbox. Otherwise where it ran.
    virtual bool returns() const = 0;

    void deliver() override {}
};

// The call that an output belongs to. Implemented by the REST callback.
class OutputTarget {
public:
    virtual ~OutputTarget() = default;

    // What an operation is to the answer: Parts is an answer that is whole only when the handler
    // has ended well.
    enum class Role { Preparation, Answer, Parts };
    enum class Verdict { Accepted, Answered, Ended };

    // Queues for the waiting thread, which begins at once. Otherwise the operation is untouched:
    // the request has been answered already, or the call has ended. One step, so that every call
    // whose answer was accepted is answered by it, and every other one by the waiting thread.
    // Thread: any. GIL: any.
    virtual Verdict perform(std::unique_ptr<OutputOperation>& operation, Role role) = 0;

    // "my_script.my_route (GET /x)". Thread: any, GIL: any.
    virtual std::string describe() const = 0;

    // The body of a 500 with this message. Thread: any. GIL: any.
    virtual std::string error_answer(const std::string& message) const = 0;
};

// A Python object orthanc.RestOutput for the call. GIL: held.
pybind11::object make_rest_output(std::shared_ptr<OutputTarget> target);

// The call of such an object; null for anything else. GIL: held.
std::shared_ptr<OutputTarget> rest_output_target(pybind11::handle output);

// Adds the class to the module. GIL: held.
void add_rest_output(pybind11::module_& module);

// The two operations of every request, without Python references for bodies up to this size: such
// a copy is cheaper than a way back through the mailbox.
constexpr std::size_t copied_body = 64 * 1024;

std::unique_ptr<OutputOperation> answer_buffer(std::string body, std::string mime);
std::unique_ptr<OutputOperation> send_status(int status, std::string body, std::string mime);

// For a status that Orthanc may refuse: the client then gets a 500 with this body, and the log the
// message.
struct Refusal {
    std::string message;
    std::string body;
};
std::unique_ptr<OutputOperation> send_status(int status, std::string body, Refusal refusal);

} // namespace orthanc_async::sdk
