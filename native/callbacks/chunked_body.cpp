#include "chunked_body.hpp"

#include "../runtime/gil.hpp"
#include "../runtime/runtime.hpp"
#include "../sdk/call_scope.hpp"
#include "../sdk/results.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

py::object broken_body() {
    return py::reinterpret_borrow<py::object>(PyExc_ConnectionError)(
        "the client has gone before the request's body was whole");
}

} // namespace

// A coroutine that waits for the next chunk, and carries it to the loop. Destroyed there.
class ChunkedBody::Waiter final : public runtime::Message {
public:
    PyObject* future() const { return awaiter_.future(); }
    void give(std::string chunk) { chunk_ = std::move(chunk); }
    void end(bool whole) { whole_ = whole; }

    void deliver() override {
        if (chunk_) {
            awaiter_.resolve(sdk::to_bytes(chunk_->data(), chunk_->size()));
        } else if (whole_) {
            awaiter_.fail(py::reinterpret_borrow<py::object>(PyExc_StopAsyncIteration)());
        } else {
            awaiter_.fail(broken_body());
        }
    }

private:
    sdk::Awaiter awaiter_;
    std::optional<std::string> chunk_;
    bool whole_ = true;
};

ChunkedBody::ChunkedBody() = default;
ChunkedBody::~ChunkedBody() = default;

void ChunkedBody::add(const void* data, std::size_t size) {
    if (size == 0) {
        return;
    }
    std::unique_ptr<Waiter> waiter;
    {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return chunks_.empty() || unwanted_; });
        if (unwanted_) {
            return;
        }
        waiter = std::move(waiter_);
        std::string chunk(static_cast<const char*>(data), size);
        if (waiter) {
            waiter->give(std::move(chunk));
        } else {
            chunks_.push_back(std::move(chunk));
            changed_.notify_all();
        }
    }
    if (waiter) {
        runtime::Runtime::get().mailbox.post(std::move(waiter));
    }
}

void ChunkedBody::end(bool whole) {
    std::unique_ptr<Waiter> waiter;
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (ended_) {
            return;
        }
        ended_ = true;
        whole_ = whole;
        waiter = std::move(waiter_);
        changed_.notify_all();
    }
    if (waiter) {
        waiter->end(whole);
        runtime::Runtime::get().mailbox.post(std::move(waiter));
    }
}

void ChunkedBody::stop_reading() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        unwanted_ = true;
        chunks_.clear();
    }
    changed_.notify_all();
    end(false);
}

py::object ChunkedBody::next_awaitable() {
    auto waiter = std::make_unique<Waiter>();
    auto future = py::reinterpret_borrow<py::object>(waiter->future());
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (waiter_) {
            throw std::runtime_error("two coroutines read the same request's body");
        }
        if (!chunks_.empty()) {
            waiter->give(std::move(chunks_.front()));
            chunks_.pop_front();
            changed_.notify_all();
        } else if (ended_) {
            waiter->end(whole_);
        } else {
            waiter_ = std::move(waiter);
            return future;
        }
    }
    waiter->deliver();
    return future;
}

py::object ChunkedBody::next_blocking() {
    if (runtime::Runtime::get().on_running_loop()) {
        throw std::runtime_error("reading a request's body with `for` would block the event loop: "
                                 "use `async for` in an `async def` handler");
    }
    std::string chunk;
    bool whole = true;
    {
        const runtime::WithoutGil without;
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] { return !chunks_.empty() || ended_; });
        whole = whole_;
        if (!chunks_.empty()) {
            chunk = std::move(chunks_.front());
            chunks_.pop_front();
            changed_.notify_all();
        }
    }
    if (!chunk.empty()) {
        return sdk::to_bytes(chunk.data(), chunk.size());
    }
    if (whole) {
        throw py::stop_iteration();
    }
    const py::object error = broken_body();
    PyErr_SetObject(py::type::handle_of(error).ptr(), error.ptr());
    throw py::error_already_set();
}

py::object make_chunked_body(const std::shared_ptr<ChunkedBody>& body) {
    return py::cast(body);
}

void add_chunked_body(py::module_& module) {
    const auto itself = [](const py::object& self) { return self; };
    py::class_<ChunkedBody, std::shared_ptr<ChunkedBody>>(module, "ChunkedBody")
        .def("__iter__", itself)
        .def("__next__", &ChunkedBody::next_blocking)
        .def("__aiter__", itself)
        .def("__anext__", &ChunkedBody::next_awaitable)
        .attr("__module__") = "orthanc";
}

} // namespace orthanc_async::callbacks
