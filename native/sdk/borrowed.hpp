// SDK objects that belong to Orthanc and live only as long as one of its calls.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

namespace orthanc_async::sdk {

// Python may keep the object for longer than the call, and another thread may be inside it when
// the call ends. Each SDK call in it is counted, and end() waits for them: the object must not
// vanish under another thread's feet.
template <class T> class Borrowed {
public:
    // `what`: the call it belongs to, for messages.
    Borrowed(T* object, std::string what) : object_(object), what_(std::move(what)) {}
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    ~Borrowed() = default;

    // Null once the call has ended. Thread: any. GIL: any (a leaf lock).
    T* pin() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (object_ != nullptr) {
            ++pins_;
        }
        return object_;
    }
    void unpin() {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (--pins_ == 0) {
            unpinned_.notify_all();
        }
    }

    // Thread: Orthanc's. GIL: not held.
    void end() {
        std::unique_lock<std::mutex> lock(mutex_);
        object_ = nullptr;
        unpinned_.wait(lock, [&] { return pins_ == 0; });
    }

    const std::string& what() const { return what_; }

private:
    std::mutex mutex_;
    std::condition_variable unpinned_;
    T* object_;
    std::size_t pins_ = 0;
    const std::string what_;
};

// Lends the object for one scope: the call. Thread: Orthanc's. GIL: not held at the end.
template <class Object> class Loan {
public:
    template <class T>
    Loan(T* object, std::string what)
        : borrowed_(std::make_shared<Object>(object, std::move(what))) {}
    ~Loan() { borrowed_->end(); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

    const std::shared_ptr<Object>& get() const { return borrowed_; }

private:
    std::shared_ptr<Object> borrowed_;
};

// Throws RuntimeError's C++ twin. `function`: "FindQuery.GetFindQuerySize".
[[noreturn]] inline void throw_call_has_ended(const std::string& function,
                                              const std::string& what) {
    throw std::runtime_error("orthanc." + function +
                             "() was called after the call it belongs to has ended (" + what +
                             "): read what is needed before the handler returns");
}

// The same for an owned object that is Orthanc's now. `name`: "Image".
[[noreturn]] inline void throw_was_given(const std::string& name, const std::string& function) {
    throw std::runtime_error("orthanc." + function + "() was called with an " + name +
                             " that was handed over to Orthanc, as a handler has returned it: "
                             "make another one");
}

} // namespace orthanc_async::sdk
