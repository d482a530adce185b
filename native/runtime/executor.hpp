// Native threads for calls that block, so that the event loop never does.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mailbox.hpp"

namespace orthanc_async::runtime {

// A blocking call and its completion in one: run() on a worker, then deliver() on the loop.
class Operation : public Message {
public:
    // Thread: worker. GIL: not held.
    virtual void run() noexcept = 0;

    // Instead of run(), when no worker could take it. Thread: any. GIL: not held.
    virtual void reject(const std::string& reason) noexcept = 0;

    // True when the outcome is for another loop than the plugin's, which may not run yet, or stand
    // still: a thread of the handlers' pool delivers it then. Thread: any. GIL: any.
    virtual bool elsewhere() const { return false; }

    // For messages: "RestApiGet('/studies')". Thread: any. GIL: not held.
    virtual std::string describe() const = 0;
};

struct ExecutorLimits {
    std::size_t threads = 16;       // the normal size
    std::size_t most_threads = 256; // under re-entry
    std::chrono::milliseconds grow_after{20};
    std::chrono::milliseconds idle{2000};
    std::chrono::milliseconds fail_after{30000};
};

// A call may re-enter a handler that submits another call, so a fixed size would deadlock, and
// growing with every burst would start a thousand threads. Beyond the normal size one more thread
// starts only when a call has waited `grow_after` and none has finished meanwhile.
class Executor {
public:
    // `done` gets every operation after run() or reject(). Thread: worker or supervisor, no GIL.
    using Done = std::function<void(std::unique_ptr<Operation>)>;

    Executor(ExecutorLimits limits, Done done);
    ~Executor(); // does not wait for calls that are running: their threads keep what they need
    Executor(const Executor&) = delete;
    Executor& operator=(const Executor&) = delete;

    // Thread: any. GIL: any. After stop() the operation is rejected at once, on this thread.
    void submit(std::unique_ptr<Operation> operation);

    // Refuses what waits and what comes, waits for what runs until the deadline.
    // Returns descriptions of what still runs. GIL: not held.
    std::vector<std::string> stop(std::chrono::steady_clock::time_point deadline);

    std::size_t threads() const;
    std::vector<std::string> running() const;

private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace orthanc_async::runtime
