// Which REST calls are live: the part of RestCall that all calls share.
#include <condition_variable>
#include <list>
#include <mutex>

#include "rest_call.hpp"

namespace orthanc_async::callbacks {

namespace {

using Clock = std::chrono::steady_clock;

// Every call that has arrived and not left.
struct LiveCalls {
    std::mutex mutex; // a leaf
    std::condition_variable none;
    std::list<RestCall*> calls;
    int quiet = 0; // how many keep calls from arriving
};

LiveCalls& live_calls() {
    static auto* const calls = new LiveCalls; // NOLINT: outlives exit()
    return *calls;
}

} // namespace

bool RestCall::arrive() {
    LiveCalls& live = live_calls();
    const std::lock_guard<std::mutex> lock(live.mutex);
    if (live.quiet > 0) {
        return false;
    }
    position_ = live.calls.insert(live.calls.end(), this);
    alone_ = live.calls.size() == 1;
    return true;
}

void RestCall::leave() {
    LiveCalls& live = live_calls();
    const std::lock_guard<std::mutex> lock(live.mutex);
    live.calls.erase(position_);
    if (live.calls.empty()) {
        live.none.notify_all();
    }
}

std::vector<std::shared_ptr<RestCall>> RestCall::live() {
    LiveCalls& live = live_calls();
    const std::lock_guard<std::mutex> lock(live.mutex);
    std::vector<std::shared_ptr<RestCall>> calls;
    calls.reserve(live.calls.size());
    for (RestCall* call : live.calls) {
        calls.push_back(call->shared_from_this());
    }
    return calls;
}

std::size_t RestCall::live_count() {
    LiveCalls& live = live_calls();
    const std::lock_guard<std::mutex> lock(live.mutex);
    return live.calls.size();
}

bool RestCall::wait_none(Clock::time_point deadline) {
    LiveCalls& live = live_calls();
    std::unique_lock<std::mutex> lock(live.mutex);
    return live.none.wait_until(lock, deadline, [&] { return live.calls.empty(); });
}

RestCall::Quiet::Quiet(Clock::time_point deadline) {
    LiveCalls& live = live_calls();
    std::unique_lock<std::mutex> lock(live.mutex);
    reached_ = live.none.wait_until(lock, deadline, [&] { return live.calls.empty(); });
    live.quiet += reached_ ? 1 : 0;
}

RestCall::Quiet::~Quiet() {
    if (reached_) {
        LiveCalls& live = live_calls();
        const std::lock_guard<std::mutex> lock(live.mutex);
        --live.quiet;
    }
}

} // namespace orthanc_async::callbacks
