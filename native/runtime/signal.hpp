// One thread waits, others call: a semaphore.
#pragma once

#include <cerrno>
#include <chrono>
#include <semaphore.h>

#include "cpu_relax.hpp"

namespace orthanc_async::runtime {

// A condition variable would be signalled under its mutex, and the woken thread would then sleep
// again for the mutex; a semaphore costs one wake, and none when the waiter has not slept yet.
class Signal {
public:
    Signal() { sem_init(&semaphore_, 0, 0); }
    ~Signal() { sem_destroy(&semaphore_); }
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;

    void post() noexcept { sem_post(&semaphore_); } // thread: any
    // Looks for at most `most` without sleeping; false when nobody has called.
    bool look(std::chrono::nanoseconds most) noexcept {
        const auto end = std::chrono::steady_clock::now() + most;
        do {
            for (int i = 0; i < 16; ++i) {
                if (sem_trywait(&semaphore_) == 0) {
                    return true;
                }
                cpu_relax();
            }
        } while (std::chrono::steady_clock::now() < end);
        return false;
    }
    void wait() noexcept {
        while (sem_wait(&semaphore_) != 0 && errno == EINTR) {
        }
    }

private:
    sem_t semaphore_;
};

} // namespace orthanc_async::runtime
