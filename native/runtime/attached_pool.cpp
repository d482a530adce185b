#include "attached_pool.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
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
    std::size_t threads = 0;  // without those that have decided to end
    std::size_t leaving = 0;  // these: a thread may wait long for the GIL before it has ended
    std::size_t starting = 0; // not yet attached, which may take as long; they look by themselves
    std::size_t running = 0;  // inside deliver()
    std::size_t paused = 0;   // of these, inside a call without the GIL
    std::size_t sleeping = 0; // waiting with no time limit that matters
    bool watched = false;     // one thread waits for the first message to become overdue
    bool stopping = false;

    // Lock held. When the system gives no thread, the others serve what waits.
    void start_thread() {
        try {
            std::thread([self = shared_from_this()] { self->thread_main(); }).detach();
        } catch (const std::exception&) { // std::system_error, std::bad_alloc
            return;
        }
        ++threads;
        ++starting;
    }

    // Lock held. Sees to it that somebody takes the first message, now or when it is overdue.
    void call_for_hands() {
        if (queue.empty() || stopping) {
            return;
        }
        const bool somebody_returns = running > paused;
        if (somebody_returns && watched) {
            return;
        }
        if (sleeping > 0 || watched) {
            work.notify_one();
        } else if (starting == 0 && threads < limits.threads) {
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
    void serve(std::unique_lock<std::mutex>& lock);
};

namespace {

// For Pause: the pool whose message this thread delivers, and how many pauses are nested there.
thread_local void* own_pool = nullptr;
thread_local int pauses = 0;

} // namespace

void AttachedPool::State::thread_main() {
    attachment.attach();
    std::unique_lock<std::mutex> lock(mutex);
    --starting;
    while (wait_for_turn(lock)) {
        ++running;
        serve(lock);
        --running;
        if (running == 0 && queue.empty()) {
            quiet.notify_all();
        }
    }
    --threads;
    ++leaving;
    // Only a pool destroyed without stop() has some: they too end where the GIL is held.
    std::deque<Waiting> left;
    left.swap(queue);
    lock.unlock();
    if (!left.empty()) {
        attachment.acquire();
        left.clear();
        attachment.release();
    }
    attachment.detach();
    lock.lock();
    --leaving;
    quiet.notify_all();
}

// Delivers until nothing waits. Lock held at both ends, not in between.
void AttachedPool::State::serve(std::unique_lock<std::mutex>& lock) {
    own_pool = this;
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
    own_pool = nullptr;
    if (held) {
        lock.unlock();
        attachment.release();
        lock.lock();
    }
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
    if (state.threads == 0) {
        // The system gives no thread: nobody would ever take it.
        message = std::move(state.queue.back().message);
        state.queue.pop_back();
        return false;
    }
    return true;
}

std::vector<std::unique_ptr<Message>> AttachedPool::stop(Clock::time_point deadline) {
    State& state = *state_;
    std::vector<std::unique_ptr<Message>> left;
    std::unique_lock<std::mutex> lock(state.mutex);
    state.stopping = true;
    left.reserve(state.queue.size());
    for (auto& waiting : state.queue) {
        left.push_back(std::move(waiting.message));
    }
    state.queue.clear();
    state.work.notify_all();
    state.quiet.notify_all();
    state.quiet.wait_until(lock, deadline,
                           [&] { return state.threads == 0 && state.leaving == 0; });
    return left;
}

bool AttachedPool::wait_quiet(Clock::time_point deadline) const {
    std::unique_lock<std::mutex> lock(state_->mutex);
    return state_->quiet.wait_until(lock, deadline,
                                    [&] { return state_->running == 0 && state_->queue.empty(); });
}

std::size_t AttachedPool::threads() const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    return state_->threads;
}

AttachedPool::Pause::Pause() {
    if (own_pool != nullptr && ++pauses == 1) {
        auto& state = *static_cast<State*>(own_pool);
        const std::lock_guard<std::mutex> lock(state.mutex);
        ++state.paused;
        state.call_for_hands();
    }
}

AttachedPool::Pause::~Pause() {
    if (own_pool != nullptr && --pauses == 0) {
        auto& state = *static_cast<State*>(own_pool);
        const std::lock_guard<std::mutex> lock(state.mutex);
        --state.paused;
    }
}

} // namespace orthanc_async::runtime
