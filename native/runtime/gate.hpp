// What threads of the host see of the runtime.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace orthanc_async::runtime {

class Gate {
public:
    enum class State { Closed, Starting, Open, Draining };

    // Thread: any. GIL: any (a leaf lock).
    State state() const { return state_.load(std::memory_order_acquire); }
    void set(State state);

    // Waits while Starting, at most `most`; returns the state seen then. GIL: not held.
    State pass(std::chrono::milliseconds most) const;

    // While one exists, nobody waits in pass(): those who do go on with what they see.
    class Hurry {
    public:
        explicit Hurry(Gate& gate) : gate_(gate) { gate_.hurry(1); }
        ~Hurry() { gate_.hurry(-1); }
        Hurry(const Hurry&) = delete;
        Hurry& operator=(const Hurry&) = delete;

    private:
        Gate& gate_;
    };

private:
    void hurry(int by);

    std::atomic<State> state_{State::Closed};
    int hurries_ = 0;
    mutable std::mutex mutex_;
    mutable std::condition_variable changed_;
};

} // namespace orthanc_async::runtime
