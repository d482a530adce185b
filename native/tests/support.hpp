// What the tests share: waiting with a deadline, and a system that gives no more threads.
#pragma once

#include <pthread.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <ostream> // doctest prints the ids of threads
#include <thread>

namespace orthanc_async::tests {

using Clock = std::chrono::steady_clock;

// Longer than anything takes on a busy machine: only a test that fails waits that long.
constexpr std::chrono::seconds patience{10};

inline Clock::time_point soon() {
    return Clock::now() + patience;
}

// Opens once. Thread: any.
class Latch {
public:
    void open() {
        const std::lock_guard<std::mutex> lock(mutex_);
        open_ = true;
        changed_.notify_all();
    }

    // False when it has not opened in time.
    bool wait(Clock::duration most = patience) const {
        std::unique_lock<std::mutex> lock(mutex_);
        return changed_.wait_until(lock, Clock::now() + most, [&] { return open_; });
    }

    bool is_open() const {
        const std::lock_guard<std::mutex> lock(mutex_);
        return open_;
    }

private:
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
    bool open_ = false;
};

// For states that nobody announces.
template <typename Predicate>
bool eventually(Predicate predicate, Clock::duration most = patience) {
    const auto deadline = Clock::now() + most;
    while (!predicate()) {
        if (Clock::now() >= deadline) {
            return false;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

// While one exists, no thread can be started: its stack would not fit into the address space.
class NoThreads {
public:
    NoThreads() {
        pthread_getattr_default_np(&before_);
        pthread_attr_t huge;
        pthread_getattr_default_np(&huge);
        pthread_attr_setstacksize(&huge, std::size_t{1} << 50);
        pthread_setattr_default_np(&huge);
        pthread_attr_destroy(&huge);
    }
    ~NoThreads() {
        pthread_setattr_default_np(&before_);
        pthread_attr_destroy(&before_);
    }
    NoThreads(const NoThreads&) = delete;
    NoThreads& operator=(const NoThreads&) = delete;

private:
    pthread_attr_t before_{};
};

} // namespace orthanc_async::tests
