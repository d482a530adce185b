#include "settings.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

namespace orthanc_async::host {

namespace {

using Json = nlohmann::json;

constexpr std::array known_keys{
    "Scripts",
    "Path",
    "Verbose",
    "DisplayMemoryUsage",
    "AllowThreads",
    "Executable",
    "EventLoop",
    "SdkThreads",
    "EventConcurrency",
    "HandlerTimeout",
    "ShutdownTimeout",
    "OnFilterError",
    "Store",
    "Debug",
};

int lower(char letter) {
    return std::tolower(static_cast<unsigned char>(letter));
}

// Edit distance, for "did you mean".
std::size_t distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t substitution =
                diagonal + (lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitution});
        }
    }
    return row.back();
}

std::string nearest(const std::string& key) {
    std::string best = known_keys.front();
    for (const char* known : known_keys) {
        if (distance(key, known) < distance(key, best)) {
            best = known;
        }
    }
    return best;
}

// One section of the configuration, read key by key with errors that name the key.
class Section {
public:
    Section(const Json& values, std::string prefix)
        : values_(values), prefix_(std::move(prefix)) {}

    void read(const char* key, bool& target) const {
        if (const Json* value = find(key)) {
            if (!value->is_boolean()) {
                wrong(key, "true or false", *value);
            }
            target = value->get<bool>();
        }
    }

    void read(const char* key, std::string& target) const {
        if (const Json* value = find(key)) {
            if (!value->is_string()) {
                wrong(key, "a string", *value);
            }
            target = value->get<std::string>();
        }
    }

    void read(const char* key, std::vector<std::string>& target) const {
        if (const Json* value = find(key)) {
            const bool strings =
                value->is_array() && std::all_of(value->begin(), value->end(),
                                                 [](const Json& v) { return v.is_string(); });
            if (!strings) {
                wrong(key, "a list of strings", *value);
            }
            for (const Json& entry : *value) {
                target.push_back(entry.get<std::string>());
            }
        }
    }

    void read(const char* key, std::size_t& target, std::size_t least, std::size_t most) const {
        if (const Json* value = find(key)) {
            if (!value->is_number_integer() || *value < least || *value > most) {
                wrong(key,
                      "a whole number from " + std::to_string(least) + " to " +
                          std::to_string(most),
                      *value);
            }
            target = value->get<std::size_t>();
        }
    }

    void read_seconds(const char* key, double& target, bool zero_allowed) const {
        if (const Json* value = find(key)) {
            const double least = zero_allowed ? 0.0 : 0.1;
            if (!value->is_number() || !std::isfinite(value->get<double>()) ||
                value->get<double>() < least || value->get<double>() > 86400.0) {
                wrong(key,
                      zero_allowed ? "a number of seconds from 0 (none) to 86400"
                                   : "a number of seconds from 0.1 to 86400",
                      *value);
            }
            target = value->get<double>();
        }
    }

    void read_choice(const char* key, std::string& target,
                     std::initializer_list<const char*> choices) const {
        if (const Json* value = find(key)) {
            std::string text;
            for (const char* choice : choices) {
                if (*value == choice) {
                    target = choice;
                    return;
                }
                text += (text.empty() ? "\"" : " or \"") + std::string(choice) + "\"";
            }
            wrong(key, text, *value);
        }
    }

private:
    const Json* find(const char* key) const {
        const auto position = values_.find(key);
        return position == values_.end() ? nullptr : &*position;
    }

    [[noreturn]] void wrong(const char* key, const std::string& expected,
                            const Json& value) const {
        throw SettingsError("configuration: \"" + prefix_ + key + "\" must be " + expected +
                            ", not " + value.dump(-1, ' ', false, Json::error_handler_t::replace));
    }

    const Json& values_;
    std::string prefix_;
};

void check_script_suffix(const std::string& script) {
    if (script.size() < 4 || script.compare(script.size() - 3, 3, ".py") != 0) {
        throw SettingsError("configuration: \"" + script +
                            "\" is not a Python script: its name must end in .py");
    }
}

} // namespace

Settings Settings::parse(const std::string& json) {
    const Json root = Json::parse(json);
    Settings settings;

    const Section top(root, "");
    std::string first;
    top.read("PythonScript", first);
    top.read("PythonVerbose", settings.verbose);
    if (!first.empty()) {
        settings.scripts.push_back(first);
    }

    const auto found = root.find("Python");
    if (found != root.end()) {
        if (!found->is_object()) {
            throw SettingsError("configuration: \"Python\" must be a section { … }");
        }
        const Section section(*found, "Python.");
        bool allow_threads = true;
        // The official section's name for PythonScript.
        std::string path;
        section.read("Path", path);
        if (!path.empty() && path != first) {
            settings.scripts.push_back(path);
        }
        section.read("Scripts", settings.scripts);
        section.read("Verbose", settings.verbose);
        section.read("DisplayMemoryUsage", settings.display_memory_usage);
        section.read("AllowThreads", allow_threads);
        if (!allow_threads) {
            settings.warnings.emplace_back(
                "configuration: \"Python.AllowThreads\": false has no effect: other threads "
                "always run Python while one is inside a function of Orthanc's");
        }
        section.read("Executable", settings.executable);
        section.read_choice("EventLoop", settings.event_loop, {"asyncio", "uvloop"});
        section.read("SdkThreads", settings.sdk_threads, 1, 256);
        section.read("EventConcurrency", settings.event_concurrency, 1, 100000);
        section.read_seconds("HandlerTimeout", settings.handler_timeout, true);
        section.read_seconds("ShutdownTimeout", settings.shutdown_timeout, false);
        section.read_choice("OnFilterError", settings.on_filter_error, {"refuse", "accept"});
        section.read("Store", settings.store);
        section.read("Debug", settings.debug);
        for (const auto& entry : found->items()) {
            if (std::find(known_keys.begin(), known_keys.end(), entry.key()) == known_keys.end()) {
                settings.warnings.push_back("configuration: unknown key \"Python." + entry.key() +
                                            "\"; the nearest known one is \"Python." +
                                            nearest(entry.key()) + "\"");
            }
        }
    }
    for (const std::string& script : settings.scripts) {
        check_script_suffix(script);
    }
    return settings;
}

} // namespace orthanc_async::host
