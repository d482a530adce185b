#include "executor.hpp"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <list>
#include <mutex>
#include <thread>
#include <utility>

namespace orthanc_async::runtime {

using Clock = std::chrono::steady_clock;

namespace {

std::string join(const std::vector<std::string>& names, std::size_t most) {
    std::string text;
    for (std::size_t i = 0; i < names.size() && i < most; ++i) {
        text += (i == 0 ? "" : ", ") + names[i];
    }
    if (names.size() > most) {
        text += " and " + std::to_string(names.size() - most) + " more";
    }
    return text;
}

} // namespace

// Shared with the workers: one that is stuck inside a call outlives the executor.
struct Executor::State : std::enable_shared_from_this<Executor::State> {
    struct Waiting {
        std::unique_ptr<Operation> operation;
        Clock::time_point since;
    };

    State(ExecutorLimits limits_, Done done_) : limits(limits_), done(std::move(done_)) {}

    const ExecutorLimits limits;
    const Done done;

    mutable std::mutex mutex; // a leaf: never held while an operation runs or is destroyed
    std::condition_variable work;
    std::condition_variable changed; // stop()
    std::condition_variable overdue; // supervisor
    std::deque<Waiting> queue;
    std::list<const Operation*> running;
    std::size_t threads = 0;
    std::size_t idle = 0;
    Clock::time_point last_finish = Clock::now();
    bool supervised = false;
    bool supervisor_sleeps = false; // without a time limit: somebody must wake it
    bool stopping = false;

    std::vector<std::string> describe_running() const {
        std::vector<std::string> names;
        names.reserve(running.size());
        for (const Operation* operation : running) {
            names.push_back(operation->describe());
        }
        return names;
    }

    // Lock held. False when the system gives no thread: what waits is then served by the others.
    bool start_worker() {
        try {
            std::thread([self = shared_from_this()] { self->work_loop(); }).detach();
        } catch (const std::exception&) { // std::system_error, std::bad_alloc
            return false;
        }
        ++threads;
        return true;
    }

    // Lock held. Sees to it that the supervisor looks at the queue. Where the system gives no
    // thread for it, the pool keeps its size until the next call tries again.
    void call_supervisor() {
        if (supervisor_sleeps) {
            overdue.notify_one();
        } else if (!supervised) {
            try {
                std::thread([self = shared_from_this()] { self->supervise(); }).detach();
                supervised = true;
            } catch (const std::exception&) {
                supervised = false;
            }
        }
    }

    void work_loop() {
        std::unique_lock<std::mutex> lock(mutex);
        for (;;) {
            if (queue.empty()) {
                if (stopping) {
                    break;
                }
                ++idle;
                const auto woken = work.wait_for(lock, limits.idle);
                --idle;
                if (woken == std::cv_status::timeout && queue.empty() &&
                    threads > limits.threads) {
                    break;
                }
                continue;
            }
            std::unique_ptr<Operation> operation = std::move(queue.front().operation);
            queue.pop_front();
            const auto position = running.insert(running.end(), operation.get());
            lock.unlock();
            operation->run();
            lock.lock();
            running.erase(position);
            last_finish = Clock::now();
            lock.unlock();
            done(std::move(operation));
            lock.lock();
        }
        --threads;
        changed.notify_all();
    }

    // One thread that looks after the queue while anything waits, and sleeps otherwise.
    void supervise() {
        std::unique_lock<std::mutex> lock(mutex);
        while (!stopping) {
            if (queue.empty()) {
                supervisor_sleeps = true;
                overdue.wait(lock);
                supervisor_sleeps = false;
                continue;
            }
            const auto still_since = std::max(queue.front().since, last_finish);
            const auto still = Clock::now() - still_since;
            if (still >= limits.grow_after && idle > 0) {
                work.notify_one();
            } else if (still >= limits.grow_after && threads < limits.most_threads &&
                       start_worker()) {
                last_finish = Clock::now(); // the next one is due a whole period later
            } else if (still >= limits.fail_after) {
                reject_waiting(lock);
                continue;
            }
            overdue.wait_for(lock, limits.grow_after);
        }
        supervised = false;
        changed.notify_all();
    }

    void reject_waiting(std::unique_lock<std::mutex>& lock) {
        std::deque<Waiting> refused;
        refused.swap(queue);
        const auto names = describe_running();
        const std::string reason =
            "all " + std::to_string(threads) +
            " threads for Orthanc's functions are busy and none has finished for " +
            std::to_string(limits.fail_after.count() / 1000) + " s; running: " + join(names, 8);
        lock.unlock();
        for (auto& waiting : refused) {
            waiting.operation->reject(reason);
            done(std::move(waiting.operation));
        }
        lock.lock();
    }
};

Executor::Executor(ExecutorLimits limits, Done done)
    : state_(std::make_shared<State>(limits, std::move(done))) {}

Executor::~Executor() {
    stop(Clock::now());
}

void Executor::submit(std::unique_ptr<Operation> operation) {
    State& state = *state_;
    std::unique_lock<std::mutex> lock(state.mutex);
    const char* refusal = "Orthanc has stopped";
    if (!state.stopping) {
        state.queue.push_back({std::move(operation), Clock::now()});
        if (state.idle >= state.queue.size()) {
            state.work.notify_one();
            return;
        }
        if (state.threads < state.limits.threads && state.start_worker()) {
            return;
        }
        state.work.notify_one();
        state.call_supervisor();
        if (state.threads > 0 || state.supervised) {
            return;
        }
        // Nobody would ever take it.
        operation = std::move(state.queue.back().operation);
        state.queue.pop_back();
        refusal = "the system gives no thread to run Orthanc's functions on: raise its limit on "
                  "threads or memory";
    }
    lock.unlock();
    operation->reject(refusal);
    state.done(std::move(operation));
}

std::vector<std::string> Executor::stop(Clock::time_point deadline) {
    State& state = *state_;
    std::deque<State::Waiting> refused;
    std::unique_lock<std::mutex> lock(state.mutex);
    state.stopping = true;
    refused.swap(state.queue);
    state.work.notify_all();
    state.overdue.notify_all();
    lock.unlock();
    for (auto& waiting : refused) {
        waiting.operation->reject("Orthanc has stopped");
        state.done(std::move(waiting.operation));
    }
    lock.lock();
    state.changed.wait_until(lock, deadline,
                             [&] { return state.threads == 0 && !state.supervised; });
    return state.describe_running();
}

std::size_t Executor::threads() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->threads;
}

std::vector<std::string> Executor::running() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->describe_running();
}

} // namespace orthanc_async::runtime
