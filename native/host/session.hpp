// From OrthancPluginInitialize to OrthancPluginFinalize, as often as the server resets itself.
#pragma once

#include <orthanc/OrthancCPlugin.h>
#include <pybind11/pybind11.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>

#include "../runtime/interpreter.hpp"
#include "environment.hpp"
#include "settings.hpp"

namespace orthanc_async::host {

class Session {
public:
    static Session& get(); // never destroyed; reused by every start

    // Thread: Orthanc's main, as of the two below. False: Orthanc shall not start; the log says
    // why.
    bool start(OrthancPluginContext* context);

    // Inside ORTHANC_STOPPED, the last moment when the SDK works. Returns at the latest when the
    // shutdown timeout is over.
    void stop();

    // The SDK is dead. Does what stop() could not, and parks the interpreter.
    void finalize();

    // For the Python half. Thread: owner. GIL: held.
    void ready(const std::string& failure); // "" when the scripts are loaded
    const Settings& settings() const { return settings_; }
    const Environment& environment() const { return environment_; }
    std::tuple<int, int, int> orthanc_version() const { return orthanc_version_; }

private:
    Session() = default;

    void read_configuration(OrthancPluginContext* context);
    void fail(const std::string& text); // to the log, line by line
    void run_python();                  // the owner thread's part
    void end_python(std::chrono::steady_clock::time_point deadline, double seconds);
    void end_threads(std::chrono::steady_clock::time_point deadline); // pools and SDK calls

    Settings settings_;
    Environment environment_;
    std::tuple<int, int, int> orthanc_version_;
    std::optional<std::string> first_executable_; // the interpreter cannot change it afterwards
    bool active_ = false;                         // scripts are given and Python has been started
    bool stopped_ = false;
    bool stuck_ = false; // the owner thread never came back from the session

    // Orthanc's own signal handlers, kept while scripts are imported. Thread: owner.
    std::optional<runtime::SignalKeeper> signals_;

    std::mutex mutex_; // a leaf
    std::condition_variable changed_;
    std::optional<std::string> readiness_;
};

} // namespace orthanc_async::host
