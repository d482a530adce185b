// The Orthanc that this process is part of, as seen by calls into its SDK.
#pragma once

#include <orthanc/OrthancCPlugin.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace orthanc_async::sdk {

class Server {
public:
    static Server& get(); // never destroyed

    // Thread: Orthanc's main. The context is another one after /tools/reset.
    void open(OrthancPluginContext* context);
    void mark_started() { started_ = true; }

    // From here on only threads inside one of Orthanc's callbacks may call.
    void close() { closed_ = true; }
    // No call is inside the SDK any more. GIL: not held.
    bool wait_idle(std::chrono::steady_clock::time_point deadline);
    // The context is about to die.
    void forget();

    void mark_forked() { forked_ = true; }
    bool forked() const { return forked_; }
    bool started() const { return started_; }
    bool closed() const { return closed_; }

    // Null when this thread may not call now. Every non-null enter() is followed by leave().
    OrthancPluginContext* enter() noexcept;
    void leave() noexcept;
    // This thread is inside a call of ours, and Orthanc now calls back because of it.
    static bool calling_here() noexcept;

    // For messages when nothing else is sure to work. Thread: any. GIL: any.
    void log_error(const char* text) noexcept;
    void log_warning(const char* text) noexcept;

private:
    Server() = default;
    std::atomic<OrthancPluginContext*> context_{nullptr};
    std::atomic<bool> closed_{true};
    std::atomic<bool> started_{false};
    std::atomic<bool> forked_{false};
    std::atomic<int> inside_{0};
    std::mutex mutex_;
    std::condition_variable left_;
};

// Marks the current thread as being inside a callback of Orthanc's.
class InsideCallback {
public:
    InsideCallback() noexcept;
    ~InsideCallback();
    InsideCallback(const InsideCallback&) = delete;
    InsideCallback& operator=(const InsideCallback&) = delete;

    static bool current() noexcept;
};

} // namespace orthanc_async::sdk
