#include "question.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <utility>

#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../runtime/task.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/results.hpp"
#include "../sdk/server.hpp"
#include "../sdk/text.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

constexpr auto startup_patience = 10s; // how long a caller waits for on_startup

// One question put to one handler, from the Orthanc thread that waits to the answer.
class Pending final : public std::enable_shared_from_this<Pending> {
public:
    Pending(std::shared_ptr<Registry> registry, const Handler& handler,
            std::shared_ptr<Question> question)
        : registry_(std::move(registry)), handler_(handler), question_(std::move(question)) {}

    // Thread: the loop's. GIL: held. Calls the handler and starts its task.
    void start();
    // Thread: Orthanc's own, which takes the GIL. Calls a plain handler.
    void call_plain();
    // Thread: Orthanc's. GIL: not held.
    Outcome wait();

    // The handler has ended. Thread: the handler's. GIL: held.
    void take(const py::object& result); // throws when it is nonsense; then fail() follows
    void fail();

    // Lets the waiting thread go, whatever the handler does. Thread: any. GIL: any.
    void abandon();

    const Question& question() const { return *question_; }
    bool is_async() const { return handler_.is_async; }
    bool ended() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return finished_ || abandoned_;
    }
    double timeout() const { return handler_.timeout.count(); }
    std::string describe() const { return handler_.name + ", " + question_->describe(); }
    py::object task() const {
        return task_ == nullptr ? py::none() : py::reinterpret_borrow<py::object>(task_);
    }

private:
    // What reads or writes the caller's memory keeps the caller waiting, also beyond its time.
    bool begin_use();
    void end_use();
    void finish(bool failed);

    const std::shared_ptr<Registry> registry_;
    const Handler& handler_;
    const std::shared_ptr<Question> question_;
    PyObject* task_ = nullptr; // owned; only touched under the GIL

    mutable std::mutex mutex_; // a leaf
    std::condition_variable changed_;
    bool in_use_ = false;
    bool finished_ = false;
    bool failed_ = false;
    bool abandoned_ = false;
};

// Every question between its asking and its end.
struct LiveQuestions {
    std::mutex mutex; // a leaf
    std::condition_variable none;
    std::list<Pending*> questions;
};

LiveQuestions& live_questions() {
    static auto* const questions = new LiveQuestions; // NOLINT: outlives exit()
    return *questions;
}

std::vector<std::shared_ptr<Pending>> live() {
    LiveQuestions& all = live_questions();
    const std::lock_guard<std::mutex> lock(all.mutex);
    std::vector<std::shared_ptr<Pending>> questions;
    questions.reserve(all.questions.size());
    for (Pending* pending : all.questions) {
        questions.push_back(pending->shared_from_this());
    }
    return questions;
}

class Alive {
public:
    explicit Alive(Pending* pending) {
        LiveQuestions& all = live_questions();
        const std::lock_guard<std::mutex> lock(all.mutex);
        position_ = all.questions.insert(all.questions.end(), pending);
        ++sdk::handlers_under_locks;
    }
    ~Alive() {
        LiveQuestions& all = live_questions();
        const std::lock_guard<std::mutex> lock(all.mutex);
        all.questions.erase(position_);
        --sdk::handlers_under_locks;
        if (all.questions.empty()) {
            all.none.notify_all();
        }
    }
    Alive(const Alive&) = delete;
    Alive& operator=(const Alive&) = delete;

private:
    std::list<Pending*>::iterator position_;
};

class StartMessage final : public runtime::Message {
public:
    explicit StartMessage(std::shared_ptr<Pending> pending) : pending_(std::move(pending)) {}
    void deliver() override { pending_->start(); }

private:
    std::shared_ptr<Pending> pending_;
};

// Thread: owner. The task learns that nobody waits for it any more.
class TimeoutMessage final : public runtime::Message {
public:
    TimeoutMessage(std::shared_ptr<Registry> registry, std::shared_ptr<Pending> pending)
        : registry_(std::move(registry)), pending_(std::move(pending)) {}
    void deliver() override {
        try {
            registry_->host.timed_out(pending_);
        } catch (py::error_already_set& error) {
            error.discard_as_unraisable("a handler that took too long");
        }
    }

private:
    std::shared_ptr<Registry> registry_;
    std::shared_ptr<Pending> pending_;
};

// The question whose plain handler runs on this thread.
thread_local Pending* asked_here = nullptr;

// Holds the question of the `async def` handler that a task belongs to. Made once per process.
PyObject* current_question() {
    static PyObject* const variable = PyContextVar_New("orthanc_question", nullptr);
    return variable;
}

void refuse_to_hang(const Pending& pending, const std::string& call) {
    if (!pending.ended() && pending.question().would_hang(call)) {
        throw std::runtime_error(
            "orthanc." + call + " inside " + pending.describe() +
            " would wait for ever: Orthanc holds the lock that it needs until the handler has "
            "answered. Do it after the answer, in background(…) or in a change handler");
    }
}

void check_hang(const std::string& call) {
    if (asked_here != nullptr) {
        refuse_to_hang(*asked_here, call);
        return;
    }
    PyObject* value = nullptr;
    if (PyContextVar_Get(current_question(), nullptr, &value) != 0) {
        throw py::error_already_set();
    }
    if (value != nullptr) {
        const auto pending = py::reinterpret_steal<py::object>(value);
        refuse_to_hang(*pending.cast<std::shared_ptr<Pending>>(), call);
    }
}

bool Pending::begin_use() {
    const std::lock_guard<std::mutex> lock(mutex_);
    in_use_ = !abandoned_;
    return in_use_;
}

void Pending::end_use() {
    const std::lock_guard<std::mutex> lock(mutex_);
    in_use_ = false;
    changed_.notify_all();
}

void Pending::finish(bool failed) {
    PyObject* task = nullptr;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        in_use_ = false;
        finished_ = true;
        failed_ = failed;
        task = std::exchange(task_, nullptr);
        changed_.notify_all();
    }
    Py_XDECREF(task);
}

void Pending::take(const py::object& result) {
    if (!begin_use()) {
        finish(false); // nobody waits any more
        return;
    }
    try {
        question_->take(result);
    } catch (...) {
        end_use();
        throw;
    }
    finish(false);
}

void Pending::fail() {
    finish(true);
}

void Pending::start() {
    const auto self = shared_from_this();
    try {
        if (!begin_use()) {
            return;
        }
        py::object coroutine;
        try {
            coroutine = handler_.callable(*question_->arguments(), **question_->keywords());
        } catch (...) {
            end_use();
            throw;
        }
        end_use();
        const py::object task = runtime::start_task(registry_->host.ask(self, coroutine));
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!finished_) { // an eager task may have ended already
            task_ = py::object(task).release().ptr();
        }
    } catch (py::error_already_set& error) {
        try {
            registry_->host.raised(self, sdk::exception_of(error));
        } catch (py::error_already_set& again) {
            again.discard_as_unraisable("reporting an error of a handler");
        }
        fail();
    } catch (const std::exception& error) {
        sdk::Server::get().log_error((describe() + ": " + error.what()).c_str());
        fail();
    }
}

void Pending::call_plain() {
    const runtime::WithGil with;
    Pending* const outer = std::exchange(asked_here, this);
    try {
        registry_->host.plain_answer(shared_from_this(), handler_.callable, question_->arguments(),
                                     question_->keywords());
    } catch (py::error_already_set& error) {
        error.discard_as_unraisable("a handler");
        fail();
    } catch (const std::exception& error) {
        sdk::Server::get().log_error((describe() + ": " + error.what()).c_str());
        fail();
    }
    asked_here = outer;
}

Outcome Pending::wait() {
    auto& runtime = runtime::Runtime::get();
    const auto deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(handler_.timeout);
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_until(lock, deadline, [&] { return finished_ || (abandoned_ && !in_use_); });
    changed_.wait(lock, [&] { return !in_use_; });
    if (finished_) {
        return failed_ ? Outcome::Failed : Outcome::Answered;
    }
    const bool let_go = std::exchange(abandoned_, true);
    lock.unlock();
    if (let_go) {
        return Outcome::Absent;
    }
    runtime.mailbox.post(std::make_unique<TimeoutMessage>(registry_, shared_from_this()));
    return Outcome::Failed;
}

void Pending::abandon() {
    const std::lock_guard<std::mutex> lock(mutex_);
    abandoned_ = true;
    changed_.notify_all();
}

Outcome absent(const Pending& pending, const char* why) {
    sdk::Server::get().log_warning((pending.describe() + " was not called: " + why).c_str());
    return Outcome::Absent;
}

} // namespace

bool may_ask(const When& when) {
    using State = runtime::Gate::State;
    auto& gate = runtime::Runtime::get().gate;
    // What a hook of the script's own stores does not wait for that hook's end.
    const bool own = sdk::Server::calling_here();
    const bool waits = when.waits_for_start && !own;
    const State state = waits ? gate.pass(startup_patience) : gate.state();
    return state == State::Open || (state == State::Starting && !waits) ||
           (state == State::Draining && (own || when.while_draining));
}

Outcome ask(const std::shared_ptr<Registry>& registry, const Handler& handler,
            const std::shared_ptr<Question>& question) {
    auto& runtime = runtime::Runtime::get();
    const auto pending = std::make_shared<Pending>(registry, handler, question);
    const Alive alive(pending.get());
    // Who closes the gate abandons the live questions afterwards: a later one must see it.
    if (runtime.gate.state() == runtime::Gate::State::Closed) {
        return absent(*pending, "Orthanc stops");
    }
    if (!handler.is_async) {
        pending->call_plain();
        return pending->wait();
    }
    if (runtime.owner.is_current()) {
        return absent(*pending, "it is an `async def`, and the thread that runs the event loop "
                                "itself has called Orthanc: make the handler a `def`");
    }
    if (!runtime.mailbox.post(std::make_unique<StartMessage>(pending))) {
        return absent(*pending, "Orthanc stops");
    }
    const Outcome outcome = pending->wait();
    return outcome == Outcome::Absent ? absent(*pending, "Orthanc stops") : outcome;
}

std::vector<const Handler*> handlers_of(const std::shared_ptr<Registry>& registry, Family family) {
    std::vector<const Handler*> handlers;
    if (registry) {
        FamilyHandlers& all = registry->family(family);
        const std::size_t count = all.count;
        for (std::size_t i = 0; i < count; ++i) {
            handlers.push_back(all.handlers[i].get());
        }
    }
    return handlers;
}

void add_handler(const Registration& registration, py::object callable) {
    const std::string function = std::string("orthanc.") + registration.function;
    const auto registry = Registry::current();
    if (!registry) {
        throw std::runtime_error(function + "() was called after Orthanc has stopped");
    }
    FamilyHandlers& family = registry->family(registration.family);
    auto handler =
        std::make_unique<Handler>(registry->make_handler(std::move(callable), registration.what));
    handler->form = registration.form;
    if (!py::hasattr(handler->callable, "__orthanc_timeout__")) {
        handler->timeout = registration.timeout;
    }
    if (registration.only_one && family.count > 0) {
        const Handler& first = *family.handlers.front();
        throw std::runtime_error(function + "(): there can be only one handler, and " +
                                 first.name + " at " + first.place +
                                 " is registered already; the second is " + handler->name +
                                 " at " + handler->place);
    }
    if (family.handlers.size() >= most_handlers) {
        throw std::runtime_error(function + "(): more than " + std::to_string(most_handlers) +
                                 " handlers");
    }
    const bool first = !std::exchange(family.hooked, true);
    try {
        if (first && registration.hook != nullptr) {
            check_hang(std::string(registration.function) + "(…)");
            // Registering takes a lock of Orthanc's, which it may hold while it waits for the
            // loop.
            const sdk::CallScope scope(registration.function, registration.function,
                                       sdk::Kind::Pure);
            if (!registry->loading && runtime::Runtime::get().on_running_loop()) {
                throw std::runtime_error(
                    function + "() on the event loop would wait for handlers that run on it: "
                               "register while the script is imported, or in a thread");
            }
            const runtime::WithoutGil without;
            registration.hook(scope.context());
        }
    } catch (...) {
        family.hooked = !first;
        throw;
    }
    family.handlers.push_back(std::move(handler));
    family.count = family.handlers.size();
}

void define(py::module_& module, const Registration& registration) {
    module.def(
        registration.function,
        [registration](py::object callable) { add_handler(registration, std::move(callable)); },
        py::arg(), py::pos_only());
}

void check_hooked(OrthancPluginContext* context, OrthancPluginErrorCode code, const char* function,
                  const char* since, const char* hint) {
    if (code == OrthancPluginErrorCode_Success) {
        return;
    }
    const std::string name = std::string("orthanc.") + function;
    if (code == OrthancPluginErrorCode_UnknownPluginService) {
        throw std::runtime_error(name + "() needs Orthanc " + since + " or newer, and this is " +
                                 context->orthancVersion);
    }
    throw std::runtime_error(name + "(): Orthanc has refused (error " + std::to_string(code) +
                             "). " + hint);
}

void abandon_questions() {
    for (const auto& pending : live()) {
        pending->abandon();
    }
}

void add_questions(py::module_& module) {
    sdk::hang_check = &check_hang;
    module.attr("_current_question") = py::reinterpret_borrow<py::object>(current_question());

    // A question as the Python half sees it.
    py::class_<Pending, std::shared_ptr<Pending>>(module, "_Pending")
        .def("describe", &Pending::describe)
        .def("take", &Pending::take)
        .def("fail", &Pending::fail)
        .def_property_readonly("task", &Pending::task)
        .def_property_readonly("is_async", &Pending::is_async)
        .def_property_readonly("ended", &Pending::ended)
        .def_property_readonly("timeout", &Pending::timeout);
    module.def("_live_questions", &live);
    // Waits until nobody waits for an answer; false when somebody still does. Not on the loop.
    module.def("_wait_questions", [](double seconds) {
        const auto deadline =
            Clock::now() + std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6));
        const runtime::WithoutGil without;
        LiveQuestions& all = live_questions();
        std::unique_lock<std::mutex> lock(all.mutex);
        return all.none.wait_until(lock, deadline, [&] { return all.questions.empty(); });
    });
}

} // namespace orthanc_async::callbacks
