#include "owner_thread.hpp"

#include <stdexcept>
#include <utility>

namespace orthanc_async::runtime {

void OwnerThread::begin(const InterpreterOptions& options, std::function<void()> session) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (state_ == State::Failed) {
        throw std::runtime_error(failure_);
    }
    if (state_ == State::Running) {
        throw std::logic_error("a session still runs");
    }
    park_asked_ = false;
    session_ = std::move(session);
    if (state_ == State::None) {
        std::thread(&OwnerThread::main, this, options).detach();
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return state_ == State::Failed || !session_; });
    if (state_ == State::Failed) {
        throw std::runtime_error(failure_);
    }
}

void OwnerThread::main(const InterpreterOptions& options) {
    id_.store(std::this_thread::get_id());
    try {
        start_interpreter(options);
    } catch (const std::exception& error) {
        const std::lock_guard<std::mutex> lock(mutex_);
        state_ = State::Failed;
        failure_ = error.what();
        session_ = nullptr;
        changed_.notify_all();
        return;
    }
    PyThreadState* own = PyEval_SaveThread();
    std::unique_lock<std::mutex> lock(mutex_);
    state_ = State::Idle;
    bool held = false;
    for (;;) {
        changed_.wait(lock, [&] {
            return static_cast<bool>(session_) || (park_asked_ && state_ == State::Idle);
        });
        const std::function<void()> session = std::exchange(session_, nullptr);
        if (session) {
            state_ = State::Running;
            changed_.notify_all();
        }
        lock.unlock();
        if (!held) {
            PyEval_RestoreThread(own);
            held = true;
        }
        if (session) {
            session();
            own = PyEval_SaveThread();
            held = false;
        }
        lock.lock();
        state_ = held ? State::Parked : State::Idle;
        changed_.notify_all();
    }
}

bool OwnerThread::wait_ended(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    return changed_.wait_until(lock, deadline,
                               [&] { return state_ != State::Running && !session_; });
}

bool OwnerThread::park(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (state_ == State::None || state_ == State::Failed) {
        return true;
    }
    park_asked_ = true;
    changed_.notify_all();
    return changed_.wait_until(lock, deadline, [&] { return state_ == State::Parked; });
}

} // namespace orthanc_async::runtime
