#include "selector.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <sys/epoll.h>
#include <utility>

#include "brief_look.hpp"
#include "gil.hpp"
#include "runtime.hpp"

namespace py = pybind11;

namespace orthanc_async::runtime {

namespace {

// How many messages one turn of the loop handles before others have theirs.
constexpr std::size_t drain_batch = 64;

// Python's own limit for one call: the smaller batch only means another turn.
constexpr int most_events = 64;

// How many waits in a row may end with messages alone.
constexpr int most_skipped = 16;

int milliseconds(PyObject* timeout) {
    if (timeout == Py_None) {
        return -1;
    }
    const double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred() != nullptr) {
        throw py::error_already_set();
    }
    // Rounded up, or the loop would turn many times before a timer is due.
    return seconds <= 0 ? 0 : static_cast<int>(std::min(std::ceil(seconds * 1e3), 86400e3));
}

int wait(int epoll, std::array<epoll_event, most_events>& events, int timeout) {
    if (timeout == 0) {
        return epoll_wait(epoll, events.data(), most_events, 0);
    }
    const WithoutGil without;
    return epoll_wait(epoll, events.data(), most_events, timeout);
}

// A lone client sends its next request a few microseconds after it has the answer: sooner than a
// sleep and a wake take. So after such a call, and once only, the loop looks before it sleeps.
bool watch_mailbox() {
    constexpr std::chrono::microseconds patience{60};
    auto& runtime = Runtime::get();
    static BriefLook brief;
    if (!std::exchange(runtime.lone_call, false) || !brief.worth_it()) {
        return false;
    }
    const WithoutGil without;
    return brief.learn(runtime.mailbox.watch(patience));
}

py::list select(int epoll, py::handle keys, PyObject* timeout) {
    std::array<epoll_event, most_events> events; // NOLINT: filled by the kernel
    int timeout_ms = milliseconds(timeout);
    if (timeout_ms != 0 && watch_mailbox()) {
        drain_mailbox();
        // A client that never pauses must not keep the other descriptors from being looked at.
        static int skipped = 0;
        if (++skipped % most_skipped != 0) {
            return py::list();
        }
        timeout_ms = 0;
    }
    const int count = wait(epoll, events, timeout_ms);
    py::list ready;
    if (count < 0) {
        if (errno == EINTR) {
            return ready;
        }
        PyErr_SetFromErrno(PyExc_OSError);
        throw py::error_already_set();
    }
    const int mailbox = Runtime::get().mailbox.fd();
    bool messages = false;
    for (int i = 0; i < count; ++i) {
        const auto& event = events[static_cast<std::size_t>(i)];
        if (event.data.fd == mailbox) {
            messages = true;
            continue;
        }
        const auto descriptor = py::int_(event.data.fd);
        if (!PySequence_Contains(keys.ptr(), descriptor.ptr())) {
            continue; // unregistered by an earlier callback
        }
        const py::object key = keys[descriptor];
        // selectors' own masks: EVENT_READ is 1, EVENT_WRITE is 2.
        const int mask = ((event.events & ~static_cast<unsigned>(EPOLLIN)) != 0 ? 2 : 0) |
                         ((event.events & ~static_cast<unsigned>(EPOLLOUT)) != 0 ? 1 : 0);
        const int wanted = mask & key.attr("events").cast<int>();
        if (wanted != 0) {
            ready.append(py::make_tuple(key, wanted));
        }
    }
    if (messages) {
        drain_mailbox();
    }
    return ready;
}

PyObject* select_entry(PyObject* /*module*/, PyObject* const* values, Py_ssize_t count) noexcept {
    try {
        if (count != 3) {
            throw py::type_error("_select takes an epoll descriptor, a mapping and a timeout");
        }
        return select(static_cast<int>(PyLong_AsLong(values[0])), values[1], values[2])
            .release()
            .ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

PyMethodDef definition = {
    "_select", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(select_entry)),
    METH_FASTCALL, nullptr};

} // namespace

void drain_mailbox() {
    auto& runtime = Runtime::get();
    if (runtime.mailbox.drain(drain_batch) && runtime.loop) {
        runtime.loop->call_soon(runtime.loop->drain);
    }
}

void add_selector(py::module_& module) {
    module.add_object(
        "_select", py::reinterpret_steal<py::object>(PyCFunction_New(&definition, module.ptr())));
}

} // namespace orthanc_async::runtime
