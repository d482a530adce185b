// One REST request, from the Orthanc thread that waits for it to the handler that answers it.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../runtime/signal.hpp"
#include "../sdk/rest_output.hpp"
#include "chunked_body.hpp"
#include "registry.hpp"

namespace orthanc_async::callbacks {

const char* method_name(OrthancPluginHttpMethod method);

// The same short JSON that the Python half writes. GIL: any.
std::string error_body(int status, const char* reason, const std::string& message,
                       OrthancPluginHttpMethod method, const std::string& uri);

class RestCall final : public sdk::OutputTarget, public std::enable_shared_from_this<RestCall> {
public:
    // `chunks`: the body, where it does not come with the request.
    RestCall(std::shared_ptr<Registry> registry, std::size_t route, const char* uri,
             const OrthancPluginHttpRequest* request,
             std::shared_ptr<ChunkedBody> chunks = nullptr);
    ~RestCall() override;
    RestCall(const RestCall&) = delete;
    RestCall& operator=(const RestCall&) = delete;

    // Thread: Orthanc's, before the call is handed over, and when nobody takes it. Arriving fails
    // while a route is being registered.
    bool arrive();
    void leave();

    // Thread: Orthanc's. GIL: not held. Carries out what the handler asks for, until it has ended
    // or has been abandoned.
    OrthancPluginErrorCode serve(OrthancPluginContext* context, OrthancPluginRestOutput* output);

    // Waits until the request may go, which is before the handler has ended. Thread: Orthanc's.
    // GIL: not held.
    void wait_until_read();
    // Instead of serve(), when there is nobody to answer. Thread: Orthanc's. GIL: not held.
    void discard();

    // Runs the handler. Thread: owner (async) or one of the handlers' pool (def). GIL: held.
    void start();

    // The handler has ended. Thread: any. GIL: held.
    void finish();

    // The same, after an error or without an answer (null): it is logged, and answered.
    void fail(const pybind11::object& output, pybind11::error_already_set* error) noexcept;

    // What cancels the current task after HandlerTimeout; null without one. GIL: held.
    pybind11::object new_limit(pybind11::handle output) const;
    static void end_limit(pybind11::handle limit) noexcept;

    // Lets the waiting thread go with a 503, whatever the handler does. Thread: any. GIL: any.
    void abandon();

    // OutputTarget
    Verdict perform(std::unique_ptr<sdk::OutputOperation>& operation, Role role) override;
    std::string describe() const override;
    std::string error_answer(const std::string& message) const override;

    // The handler has failed. An answer in parts that has begun is then no success.
    void break_off() { broken_ = true; }

    bool answered() const { return answered_; }
    bool ended() const;
    bool is_async() const { return handler_.is_async; }
    std::size_t progress() const { return progress_; }
    void note_progress() { ++progress_; } // a chunk of the body has come
    double seconds() const;               // since the call came
    const std::string& uri() const { return uri_; }
    OrthancPluginHttpMethod method() const { return method_; }
    pybind11::object task() const; // None before it exists. GIL: held

    // Every call between its arrival and its end, oldest first. Thread: any.
    static std::vector<std::shared_ptr<RestCall>> live();
    static std::size_t live_count();
    // False when some are still live at the deadline. GIL: not held.
    static bool wait_none(std::chrono::steady_clock::time_point deadline);
    // While one exists, no call is live and none arrives. Converts to false when calls were still
    // live at the deadline. GIL: not held.
    class Quiet {
    public:
        explicit Quiet(std::chrono::steady_clock::time_point deadline);
        ~Quiet();
        Quiet(const Quiet&) = delete;
        Quiet& operator=(const Quiet&) = delete;
        explicit operator bool() const { return reached_; }

    private:
        bool reached_;
    };

    // The call whose plain handler runs on this thread.
    static RestCall* on_this_thread();

private:
    class Step;
    class BodyCopy;

    void wake();
    bool end_operations(); // whether the client has had its answer
    void wait_for_work();
    bool begin();           // false when abandoned before the request could be read
    void request_is_read(); // the waiting thread may leave from here on
    bool has_body() const;
    pybind11::list query_pairs() const;
    pybind11::dict request_fields() const; // all but the body
    void run_handler(const pybind11::object& output, const pybind11::dict& fields);
    void keep_task(const pybind11::object& task);

    const std::shared_ptr<Registry> registry_; // its handlers, under the GIL
    const Handler& handler_;
    const OrthancPluginHttpMethod method_;
    const std::string uri_;
    const OrthancPluginHttpRequest* request_; // valid while the waiting thread waits
    const std::shared_ptr<ChunkedBody> chunks_;
    const std::chrono::steady_clock::time_point since_ = std::chrono::steady_clock::now();
    std::list<RestCall*>::iterator position_; // among the live calls
    bool alone_ = false;                      // no other was live when it came
    std::atomic<bool> answered_{false};       // written under the mutex, as in_parts_ is
    std::atomic<bool> in_parts_{false};
    std::atomic<bool> broken_{false};
    std::atomic<std::size_t> progress_{0};
    PyObject* task_ = nullptr; // owned; only touched under the GIL

    runtime::Signal signal_;   // to the waiting thread: look again
    mutable std::mutex mutex_; // a leaf
    std::vector<std::unique_ptr<sdk::OutputOperation>> operations_;
    std::condition_variable read_; // for wait_until_read()
    bool is_read_ = false;
    bool reading_ = false;
    bool finished_ = false;
    bool abandoned_ = false;
    bool ended_ = false;
};

} // namespace orthanc_async::callbacks
