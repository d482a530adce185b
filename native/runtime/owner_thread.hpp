// The one thread that owns the interpreter: initialises it, runs the loop, parks.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "interpreter.hpp"

namespace orthanc_async::runtime {

// Lives as long as the process: the interpreter is never finalised, so a host that unloads and
// loads the plugin again finds the same thread waiting.
class OwnerThread {
public:
    // Thread: host. GIL: not held. Runs `session` on the owner thread with the GIL held; returns
    // once it has begun. Throws std::runtime_error when Python cannot start. An earlier session
    // has ended: see wait_ended().
    void begin(const InterpreterOptions& options, std::function<void()> session);

    // Thread: host. GIL: not held. True when no session runs.
    bool wait_ended(std::chrono::steady_clock::time_point deadline);

    // The owner thread takes the GIL and keeps it until the next begin(), so that no leftover
    // Python thread runs while the host tears itself down. False when it could not by the
    // deadline.
    bool park(std::chrono::steady_clock::time_point deadline);

    bool is_current() const { return std::this_thread::get_id() == id_.load(); }

private:
    enum class State { None, Idle, Running, Parked, Failed };

    void main(const InterpreterOptions& options);

    std::atomic<std::thread::id> id_;
    std::mutex mutex_; // a leaf
    std::condition_variable changed_;
    State state_ = State::None;
    bool park_asked_ = false;
    std::function<void()> session_;
    std::string failure_;
};

} // namespace orthanc_async::runtime
