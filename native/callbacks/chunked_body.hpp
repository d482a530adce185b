// The body of an HTTP request that arrives chunk by chunk, from Orthanc's thread to a handler.
#pragma once

#include <pybind11/pybind11.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

namespace orthanc_async::callbacks {

// One chunk waits at most while the handler works on another: Orthanc's thread, and so the client,
// goes on when the handler asks for more.
class ChunkedBody final : public std::enable_shared_from_this<ChunkedBody> {
public:
    ChunkedBody();
    ~ChunkedBody();
    ChunkedBody(const ChunkedBody&) = delete;
    ChunkedBody& operator=(const ChunkedBody&) = delete;

    // Thread: Orthanc's. GIL: not held.
    void add(const void* data, std::size_t size);
    // Nothing follows. `whole`: false when the client has gone before the end.
    void end(bool whole);

    // The handler has ended, or nobody waits for it: what follows is thrown away. Thread: any.
    // GIL: any.
    void stop_reading();

    // The handler. GIL: held.
    pybind11::object next_awaitable(); // a future
    pybind11::object next_blocking();  // throws StopIteration's C++ twin at the end

private:
    class Waiter;

    std::mutex mutex_; // a leaf
    std::condition_variable changed_;
    std::deque<std::string> chunks_;
    std::unique_ptr<Waiter> waiter_; // a coroutine that waits; then there are no chunks
    bool ended_ = false;
    bool whole_ = true;
    bool unwanted_ = false;
};

// The Python object: an iterator and an async iterator of bytes. GIL: held.
pybind11::object make_chunked_body(const std::shared_ptr<ChunkedBody>& body);

void add_chunked_body(pybind11::module_& module);

} // namespace orthanc_async::callbacks
