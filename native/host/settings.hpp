// What Orthanc's configuration says to this plugin.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <vector>

namespace orthanc_async::host {

// Names the key and what it must be.
class SettingsError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct Settings {
    std::vector<std::string> scripts; // as written; relative ones count from the working directory
    std::string executable;           // the environment's python, or empty
    std::string event_loop = "asyncio";
    std::string on_filter_error = "refuse";
    std::string store;
    std::size_t sdk_threads = 16;
    std::size_t event_concurrency = 256;
    double handler_timeout = 0;  // seconds, 0 = none
    double shutdown_timeout = 5; // seconds
    bool verbose = false;
    bool debug = false;
    bool display_memory_usage = false;

    std::vector<std::string> warnings; // for the log: unknown keys with the nearest known one

    // Throws SettingsError. `json` is what OrthancPluginGetConfiguration gives.
    static Settings parse(const std::string& json);
};

} // namespace orthanc_async::host
