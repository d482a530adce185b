#include "mailbox.hpp"

#include <utility>

#include "cpu_relax.hpp"

namespace orthanc_async::runtime {

bool Mailbox::post(std::unique_ptr<Message> message) {
    bool wake = false;
    bool open = false;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        incoming_.push_back(std::move(message));
        waiting_.store(true, std::memory_order_release);
        open = open_;
        if (open && !signalled_ && !watched_) {
            signalled_ = true;
            wake = true;
            ++wakes_;
        }
    }
    if (wake) {
        wakeup_.signal();
    }
    return open;
}

bool Mailbox::drain(std::size_t most) {
    if (batch_.empty()) {
        // The descriptor is cleared before the swap: a producer that comes in between signals
        // again, so no message is left without a wake.
        std::vector<std::unique_ptr<Message>> taken;
        bool signalled = false;
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            signalled = signalled_;
        }
        if (signalled) {
            wakeup_.clear();
        }
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            signalled_ = signalled_ && !signalled;
            waiting_ = false;
            taken.swap(incoming_);
        }
        for (auto& message : taken) {
            batch_.push_back(std::move(message));
        }
    }
    for (; most > 0 && !batch_.empty(); --most) {
        const std::unique_ptr<Message> message = std::move(batch_.front());
        batch_.pop_front();
        try {
            message->deliver();
        } catch (...) {
            if (!batch_.empty()) { // the consumer does not learn that some are left
                {
                    const std::lock_guard<std::mutex> lock(mutex_);
                    signalled_ = true; // or nobody would clear the descriptor again
                }
                wakeup_.signal();
            }
            throw;
        }
    }
    return !batch_.empty();
}

bool Mailbox::watch(std::chrono::nanoseconds most) {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (!incoming_.empty()) {
            return true;
        }
        watched_ = true;
    }
    const auto end = std::chrono::steady_clock::now() + most;
    while (!waiting_.load(std::memory_order_acquire) && std::chrono::steady_clock::now() < end) {
        for (int i = 0; i < 16; ++i) {
            cpu_relax();
        }
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    watched_ = false;
    return !incoming_.empty();
}

void Mailbox::open() {
    std::vector<std::unique_ptr<Message>> late;
    // Cleared first, as in drain(): cleared last, it would swallow the signal of a producer that
    // posts as soon as the mailbox is open, and nobody would signal again.
    wakeup_.clear();
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        late.swap(incoming_);
        signalled_ = false;
        open_ = true;
    }
}

void Mailbox::close() {
    std::vector<std::unique_ptr<Message>> waiting;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        open_ = false;
        signalled_ = false;
        waiting.swap(incoming_);
    }
    batch_.clear();
}

std::size_t Mailbox::wakes() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return wakes_;
}

} // namespace orthanc_async::runtime
