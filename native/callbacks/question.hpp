// A callback whose result Orthanc waits for: a filter, a find, a storage area, …
//
// A family (one file each) describes what it asks as a Question, registers its C function with
// Orthanc, and in that function hands the question to ask(), once a handler. The rest is here: an
// `async def` handler runs on the loop while Orthanc's thread waits without the GIL, for a limited
// time; a `def` handler runs in place, on the thread whose core locks are its own.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "boundary.hpp"
#include "registry.hpp"

namespace orthanc_async::callbacks {

// What is asked, and where the answer goes: native values only, as it is destroyed on any thread.
// Borrowed memory of Orthanc's is read in arguments() or taken in the constructor; afterwards the
// caller may have left.
class Question {
public:
    Question() = default;
    virtual ~Question() = default;
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;

    // What the handler is called with. Thread: the handler's, while Orthanc's caller surely waits.
    // GIL: held. Throws.
    virtual pybind11::tuple arguments() = 0;
    virtual pybind11::dict keywords() { return {}; }

    // Takes what the handler has returned. Throws TypeError or ValueError that says what was
    // expected; the handler has then failed. Thread: the handler's, while the caller surely waits.
    // GIL: held.
    virtual void take(const pybind11::object& result) = 0;

    // For messages: "C-FIND by 'MODALITY'". Thread: any. GIL: any.
    virtual std::string describe() const = 0;

    // True when the call (as text: RestApiPost('/instances', …)), made by the handler, is certain
    // to wait for a lock that Orthanc's caller holds. Thread: any. GIL: held.
    virtual bool would_hang(const std::string& /*call*/) const { return false; }
};

// When a family is served.
struct When {
    bool waits_for_start = true; // for on_startup, as what comes from clients does
    bool while_draining = false; // what Orthanc needs to end its own work
};

enum class Outcome {
    Answered, // take() has run
    Failed,   // the handler raised, returned nonsense or took too long: the log says so
    Absent,   // Orthanc starts or stops, or no loop could run the handler: the log says so too
};

// Whether handlers of the family may be called now. Waits for on_startup where the family does, at
// most 10 s; not for what a call of ours on this thread has caused. Thread: Orthanc's. GIL: not
// held.
// most 10 s; not for what a call of ours on this thread has caused. Thread: Orthanc's.
// GIL: not held.
bool may_ask(const When& when);

// Calls one handler and waits for its answer. Thread: Orthanc's, inside a callback. GIL: not held,
// but where a `def` handler itself has called Orthanc.
Outcome ask(const std::shared_ptr<Registry>& registry, const Handler& handler,
            const std::shared_ptr<Question>& question);

// The handlers of a family, in the order of registration. A registry that is null has none.
std::vector<const Handler*> handlers_of(const std::shared_ptr<Registry>& registry, Family family);

// What a script registers.
struct Registration {
    const char* function; // "RegisterFindCallback"
    const char* what;     // "C-FIND", for messages
    Family family;
    int form = 0;          // Handler::form
    bool only_one = false; // a second registration raises, naming both places
    // How long Orthanc waits, unless the handler says otherwise (__orthanc_timeout__).
    std::chrono::duration<double> timeout = Handler{}.timeout;
    // Registers the family's C function with Orthanc, when a session's first handler comes.
    // Thread: any. GIL: not held.
    void (*hook)(OrthancPluginContext* context) = nullptr;
};

// Adds a handler. While scripts are loaded that is always possible; later a family's first handler
// cannot be added on the running loop. Throws. GIL: held.
void add_handler(const Registration& registration, pybind11::object callable);

// Adds the function of that name, whose only argument is the handler, to the module. GIL: held.
void define(pybind11::module_& module, const Registration& registration);

// Throws RuntimeError's twin when Orthanc has refused a family's C function. `since`: the first
// Orthanc that has it; `hint`: what else may be the reason. GIL: any.
void check_hooked(OrthancPluginContext* context, OrthancPluginErrorCode code, const char* function,
                  const char* since, const char* hint = "");

// At the stop of Orthanc: every waiting thread is let go. Thread: any. GIL: any.
void abandon_questions();

void add_questions(pybind11::module_& module);

} // namespace orthanc_async::callbacks
