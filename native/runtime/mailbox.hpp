// Messages from any thread to the thread that runs the event loop.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "wakeup.hpp"

namespace orthanc_async::runtime {

// What travels: a call, a completion, an event. A message may hold Python references, so it is
// delivered and destroyed where the GIL is held.
class Message {
public:
    Message() = default;
    Message(const Message&) = delete;
    Message& operator=(const Message&) = delete;
    virtual ~Message() = default;

    // Thread: the consumer's. GIL: held. What it throws reaches the caller of Mailbox::drain(); on
    // a thread of a pool it must not throw.
    virtual void deliver() = 0;
};

// Many producers, one consumer, first in first out. The producer never takes the GIL: taking it,
// not the queue, is what costs (a mutex and a swapped vector measured 6 times the throughput of
// one call_soon_threadsafe per message).
class Mailbox {
public:
    // Thread: any. GIL: any. False once closed: the message is then kept, undelivered, until the
    // consumer next opens or clears the mailbox, so that the producer never destroys Python
    // references.
    bool post(std::unique_ptr<Message> message);

    // Thread: consumer. GIL: held. Delivers at most `most` messages; true when some are left, and
    // then the consumer calls again without waiting for the descriptor.
    bool drain(std::size_t most);

    // Thread: consumer. GIL: held, as waiting messages are destroyed.
    void open();
    void close();

    // Looks for messages without sleeping, for at most `most`; true when some have come. Producers
    // meanwhile spare the descriptor, and the consumer its sleep: worth it only while the next
    // message is likely to be microseconds away. Thread: consumer. GIL: not held.
    bool watch(std::chrono::nanoseconds most);

    // Readable while messages wait.
    int fd() const { return wakeup_.fd(); }

    std::size_t wakes() const;

private:
    Wakeup wakeup_;
    mutable std::mutex mutex_; // a leaf: its holder never waits and never asks for the GIL
    std::vector<std::unique_ptr<Message>> incoming_;
    std::atomic<bool> waiting_{false}; // incoming_ is not empty
    bool signalled_ = false;
    bool watched_ = false; // the consumer looks by itself
    bool open_ = false;
    std::size_t wakes_ = 0;
    std::deque<std::unique_ptr<Message>> batch_; // consumer only
};

} // namespace orthanc_async::runtime
