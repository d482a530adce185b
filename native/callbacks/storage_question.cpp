#include "storage_question.hpp"

#include <array>
#include <nlohmann/json.hpp>

namespace orthanc_async::callbacks {

bool needs_index(const std::string& call) {
    if (begins_with(call, "Lookup") || begins_with(call, "GetDicomForInstance") ||
        begins_with(call, "GetGlobalProperty") || begins_with(call, "SetGlobalProperty")) {
        return true;
    }
    if (!begins_with(call, "RestApi") && !begins_with(call, "CallRestApi")) {
        return false;
    }
    constexpr std::array paths{"'/patients",   "'/studies",    "'/series",
                               "'/instances",  "'/changes",    "'/exports",
                               "'/statistics", "'/tools/find", "'/tools/lookup"};
    return std::any_of(paths.begin(), paths.end(),
                       [&](const char* path) { return call.find(path) != std::string::npos; });
}

StorageLocks StorageLocks::find(OrthancPluginContext* context) {
    StorageLocks locks;
    locks.one_call_at_a_time = calls_hold_context(context);
    char* const raw = OrthancPluginGetConfiguration(context);
    if (raw == nullptr) {
        return locks;
    }
    const auto configuration = nlohmann::json::parse(raw, nullptr, false);
    OrthancPluginFreeString(context, raw);
    // Plugins for other databases have this key in their section.
    locks.index_is_locked = true;
    for (const auto& section : configuration) {
        if (section.is_object() && section.contains("EnableIndex") &&
            section["EnableIndex"] == true) {
            locks.index_is_locked = false;
        }
    }
    return locks;
}

StorageLocks& storage_locks() {
    static StorageLocks locks;
    return locks;
}

} // namespace orthanc_async::callbacks
