#include "attached_pool.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace orthanc_async::runtime {

using Clock = std::chrono::steady_clock;

// Shared with the threads: one that a handler never leaves outlives the pool.
struct AttachedPool::State : std::enable_shared_from_this<AttachedPool::State> {
    struct Waiting {
        std::unique_ptr<Message> message;
        Clock::time_point since;
    };

    State(PoolLimits limits_, Attachment attachment_)
        : limits(limits_), attachment(std::move(attachment_)) {}

    const PoolLimits limits;
    const Attachment attachment;

    mutable std::mutex mutex; // a leaf: never held while the GIL is asked for
    std::condition_variable work;
    mutable std::condition_variable quiet;
    std::deque<Waiting> queue;
    std::size_t threads = 0;
    std::size_t running = 0;  // inside deliver()
    std::size_t paused = 0;   // of these, inside a call without the GIL
    std::size_t sleeping = 0; // waiting with no time limit that matters
    bool watched = false;     // one thread waits for the first message to become overdue
    bool stopping = false;

    bool start_thread() {
        try {
            std::thread([self = shared_from_this()] { self->thread_main(); }).detach();
        } catch (const std::system_error&) {
            return false;
        }
        ++threads;
        return true;
    }

    // Lock held. Sees to it that somebody takes the first message, now or when it is overdue.
    void call_for_hands() {
        if (queue.empty()) {
            return;
        }
        const bool somebody_returns = running > paused;
        if (somebody_returns && (watched || (sleeping == 0 && threads >= limits.threads))) {
            return;
        }
        if (sleeping > 0 || watched) {
            work.notify_one();
        } else if (threads < limits.threads) {
            start_thread();
        }
    }

    // Lock held. False when this thread shall end.
    bool wait_for_turn(std::unique_lock<std::mutex>& lock) {
        for (;;) {
            if (stopping) {
                return false;
            }
            if (queue.empty()) {
                ++sleeping;
                const auto woken = work.wait_for(lock, limits.idle);
                --sleeping;
                if (woken == std::cv_status::timeout && queue.empty() && threads > 1) {
                    return false;
                }
                continue;
            }
            const auto overdue = queue.front().since + limits.grow_after;
            if (running == paused || Clock::now() >= overdue) {
                return true;
            }
            if (watched) {
                ++sleeping;
                work.wait_for(lock, limits.idle);
                --sleeping;
                continue;
            }
            watched = true;
            work.wait_until(lock, overdue);
            watched = false;
        }
    }

    void thread_main();
};

namespace {

// Which pool this thread belongs to, for Pause.
thread_local void* own_pool = nullptr;

} // namespace

void AttachedPool::State::thread_main() {
    own_pool = this;
    attachment.attach();
    std::unique_lock<std::mutex> lock(mutex);
    while (wait_for_turn(lock)) {
        ++running;
        bool held = false;
        while (!queue.empty() && !stopping) {
            std::unique_ptr<Message> message = std::move(queue.front().message);
            queue.pop_front();
            call_for_hands();
            lock.unlock();
            if (!held) {
                attachment.acquire();
                held = true;
            }
            message->deliver();
            message.reset();
            lock.lock();
        }
        lock.unlock();
        if (held) {
            attachment.release();
        }
        lock.lock();
        --running;
        if (running == 0 && queue.empty()) {
            quiet.notify_all();
        }
    }
    lock.unlock();
    attachment.detach();
    lock.lock();
    --threads;
    quiet.notify_all();
}

AttachedPool::AttachedPool(PoolLimits limits, Attachment attachment)
    : state_(std::make_shared<State>(limits, std::move(attachment))) {}

AttachedPool::~AttachedPool() {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stopping = true;
    state_->work.notify_all();
}

bool AttachedPool::submit(std::unique_ptr<Message>& message) {
    State& state = *state_;
    const std::lock_guard<std::mutex> lock(state.mutex);
    if (state.stopping) {
        return false;
    }
    state.queue.push_back({std::move(message), Clock::now()});
    state.call_for_hands();
    return true;
}

std::vector<std::unique_ptr<Message>> AttachedPool::stop(Clock::time_point deadline) {
    State& state = *state_;
    std::vector<std::unique_ptr<Message>> left;
    std::unique_lock<std::mutex> lock(state.mutex);
    state.stopping = true;
    for (auto& waiting : state.queue) {
        left.push_back(std::move(waiting.message));
    }
    state.queue.clear();
    state.work.notify_all();
    state.quiet.wait_until(lock, deadline, [&] { return state.threads == 0; });
    return left;
}

bool AttachedPool::wait_quiet(Clock::time_point deadline) const {
    std::unique_lock<std::mutex> lock(state_->mutex);
    return state_->quiet.wait_until(
        lock, deadline, [&] { return state_->running == 0 && state_->queue.empty(); });
}

std::size_t AttachedPool::threads() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->threads;
}

AttachedPool::Pause::Pause() {
    if (own_pool != nullptr) {
        auto& state = *static_cast<State*>(own_pool);
        const std::lock_guard<std::mutex> lock(state.mutex);
        ++state.paused;
        state.call_for_hands();
    }
}

AttachedPool::Pause::~Pause() {
    if (own_pool != nullptr) {
        auto& state = *static_cast<State*>(own_pool);
        const std::lock_guard<std::mutex> lock(state.mutex);
        --state.paused;
    }
}

} // namespace orthanc_async::runtime
