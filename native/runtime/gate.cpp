#include "gate.hpp"

namespace orthanc_async::runtime {

void Gate::set(State state) {
    const std::lock_guard<std::mutex> lock(mutex_);
    state_.store(state, std::memory_order_release);
    changed_.notify_all();
}

Gate::State Gate::pass(std::chrono::milliseconds most) const {
    const State now = state();
    if (now != State::Starting) {
        return now;
    }
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_until(lock, std::chrono::steady_clock::now() + most,
                        [&] { return state() != State::Starting || hurries_ > 0; });
    return state();
}

void Gate::hurry(int by) {
    const std::lock_guard<std::mutex> lock(mutex_);
    hurries_ += by;
    changed_.notify_all();
}

} // namespace orthanc_async::runtime
