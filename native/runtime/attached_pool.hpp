// Native threads on which plain `def` handlers run.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "mailbox.hpp"

namespace orthanc_async::runtime {

// How a thread of the pool comes to own what its messages need (the GIL; nothing in unit tests).
struct Attachment {
    std::function<void()> attach;  // once, when the thread starts; ends released
    std::function<void()> acquire; // before the first of a run of messages
    std::function<void()> release; // after the last of it
    std::function<void()> detach;  // once, when the thread ends
};

struct PoolLimits {
    std::size_t threads = 1;
    std::chrono::microseconds grow_after{1000};
    std::chrono::milliseconds idle{10000};
};

// Messages are taken in order. One thread serves message after message without giving up the GIL
// between them; a further thread joins only when the first message in the queue has waited
// `grow_after`, or the running one has said that it blocks (Pause). With threads = 1 messages are
// delivered strictly one at a time.
class AttachedPool {
public:
    AttachedPool(PoolLimits limits, Attachment attachment);
    ~AttachedPool(); // does not wait
    AttachedPool(const AttachedPool&) = delete;
    AttachedPool& operator=(const AttachedPool&) = delete;

    // Thread: any. GIL: any. False after stop(), or when the system gives no thread at
    // all; the message is then still the caller's.
    bool submit(std::unique_ptr<Message>& message);

    // What was not begun comes back, to be destroyed where the GIL is held. Running handlers are
    // waited for until the deadline. GIL: not held.
    std::vector<std::unique_ptr<Message>> stop(std::chrono::steady_clock::time_point deadline);

    // True when nothing waits and nothing runs before the deadline. GIL: not held.
    bool wait_quiet(std::chrono::steady_clock::time_point deadline) const;

    std::size_t threads() const;

    // While one exists on a thread of a pool, its place is free for another thread: the handler is
    // inside a call that releases the GIL. On other threads it does nothing.
    class Pause {
    public:
        Pause();
        ~Pause();
        Pause(const Pause&) = delete;
        Pause& operator=(const Pause&) = delete;
    };

private:
    struct State;
    std::shared_ptr<State> state_;
};

} // namespace orthanc_async::runtime
