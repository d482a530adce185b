// A Python object held by native code that may let go of it on any thread.
#pragma once

#include <pybind11/pybind11.h>

#include <memory>
#include <utility>

#include "runtime.hpp"

namespace orthanc_async::runtime {

// Carries what must be destroyed under the GIL to where it is held.
template <class Object> class Burial final : public Message {
public:
    explicit Burial(std::unique_ptr<Object> object) : object_(std::move(object)) {}
    void deliver() override {}

private:
    std::unique_ptr<Object> object_;
};

// The last reference may be dropped on any thread: the mailbox carries the object to where it may
// be destroyed. GIL: any.
template <class Object> std::shared_ptr<Object> buried_in_the_end(std::unique_ptr<Object> object) {
    return {object.release(), [](Object* last) {
                Runtime::get().mailbox.post(
                    std::make_unique<Burial<Object>>(std::unique_ptr<Object>(last)));
            }};
}

using Kept = std::shared_ptr<PyObject>;

// GIL: held. The last copy may be dropped anywhere.
inline Kept keep(const pybind11::object& object) {
    const auto owner = buried_in_the_end(std::make_unique<pybind11::object>(object));
    return {owner, owner->ptr()};
}

// GIL: held.
inline pybind11::object object_of(const Kept& kept) {
    return pybind11::reinterpret_borrow<pybind11::object>(kept.get());
}

} // namespace orthanc_async::runtime
