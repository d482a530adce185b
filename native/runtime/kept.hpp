// A Python object held by native code that may let go of it on any thread.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>

#include "runtime.hpp"

namespace orthanc_async::runtime {

using Kept = std::shared_ptr<PyObject>;

// GIL: held. The last copy may be dropped anywhere: the mailbox carries the reference to where the
// GIL is held.
inline Kept keep(const pybind11::object& object) {
    class Burial final : public Message {
    public:
        explicit Burial(PyObject* object) : object_(object) {}
        ~Burial() override { Py_DECREF(object_); }
        Burial(const Burial&) = delete;
        Burial& operator=(const Burial&) = delete;
        void deliver() override {}

    private:
        PyObject* object_;
    };
    return {pybind11::object(object).release().ptr(),
            [](PyObject* kept) { Runtime::get().mailbox.post(std::make_unique<Burial>(kept)); }};
}

// GIL: held.
inline pybind11::object object_of(const Kept& kept) {
    return pybind11::reinterpret_borrow<pybind11::object>(kept.get());
}

} // namespace orthanc_async::runtime
