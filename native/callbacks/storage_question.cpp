#include "storage_question.hpp"

#include <array>
#include <cstring>
#include <nlohmann/json.hpp>

namespace orthanc_async::callbacks {

namespace {

bool begins_with(const std::string& text, const char* prefix) {
    return text.compare(0, std::strlen(prefix), prefix) == 0;
}

} // namespace

bool needs_context(const std::string& call) {
    constexpr std::array functions{
        "RestApi",          "CallRestApi",       "GetDicomForInstance", "Lookup",
        "DecodeDicomImage", "GetGlobalProperty", "SetGlobalProperty",   "SubmitJob"};
    for (const char* function : functions) {
        if (begins_with(call, function)) {
            return true;
        }
    }
    return false;
}

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
    for (const char* path : paths) {
        if (call.find(path) != std::string::npos) {
            return true;
        }
    }
    return false;
}

StorageLocks StorageLocks::find(OrthancPluginContext* context) {
    StorageLocks locks;
    locks.one_call_at_a_time = OrthancPluginCheckVersionAdvanced(context, 1, 12, 2) == 0;
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
