#include "environment.hpp"

#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <patchlevel.h>
#include <unistd.h>

namespace orthanc_async::host {

namespace fs = std::filesystem;

namespace {

const std::string built_for =
    std::to_string(PY_MAJOR_VERSION) + "." + std::to_string(PY_MINOR_VERSION);

fs::path own_library() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&own_library), &info) == 0) {
        return {};
    }
    std::error_code ignored;
    const fs::path path = fs::canonical(info.dli_fname, ignored);
    return path.empty() ? fs::path(info.dli_fname) : path;
}

bool runnable(const fs::path& path) {
    return ::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path);
}

// "version = 3.12.1" or "version_info = 3.12.1.final.0" of a pyvenv.cfg; "" when there is none.
std::string venv_version(const fs::path& root) {
    std::ifstream file(root / "pyvenv.cfg");
    std::string line;
    while (std::getline(file, line)) {
        const auto equals = line.find('=');
        if (line.rfind("version", 0) == 0 && equals != std::string::npos) {
            const auto begin = line.find_first_not_of(" \t", equals + 1);
            return begin == std::string::npos ? "" : line.substr(begin);
        }
    }
    return "";
}

// A plain installation has no pyvenv.cfg: what the name resolves to, "python3.12", tells.
void check_name(const fs::path& executable) {
    std::error_code ignored;
    const std::string name = fs::canonical(executable, ignored).filename().string();
    if (name.rfind("python", 0) != 0) {
        throw EnvironmentError("configuration: \"Python.Executable\" names " +
                               executable.string() + ", which is no Python but " + name +
                               ": name the environment's bin/python");
    }
    const std::string version = name.substr(6);
    if (version.find('.') != std::string::npos && version != built_for) {
        throw EnvironmentError("configuration: \"Python.Executable\" names " +
                               executable.string() + ", which is Python " + version +
                               ", but this plugin was built for Python " + built_for +
                               ": name an environment of Python " + built_for);
    }
}

void check_version(const fs::path& root) {
    const std::string version = venv_version(root);
    if (!version.empty() && version.rfind(built_for + ".", 0) != 0 && version != built_for) {
        throw EnvironmentError("the environment " + root.string() + " has Python " + version +
                               ", but this plugin was built for Python " + built_for +
                               ": install orthanc-async into an environment of Python " +
                               built_for + ", or run pip install there to build it anew");
    }
}

} // namespace

Environment Environment::find(const std::string& configured) {
    Environment environment;
    const fs::path library = own_library();
    environment.package_parent = library.parent_path().parent_path().string();
    if (!configured.empty()) {
        if (!runnable(configured)) {
            throw EnvironmentError("configuration: \"Python.Executable\" names " + configured +
                                   ", which this user cannot run");
        }
        check_version(fs::path(configured).parent_path().parent_path());
        check_name(configured);
        environment.executable = configured;
        return environment;
    }
    // <environment>/lib/python3.x/site-packages/orthanc_async/libOrthancAsync.so
    for (fs::path folder = library.parent_path(); folder != folder.root_path();
         folder = folder.parent_path()) {
        if (fs::exists(folder / "pyvenv.cfg") && runnable(folder / "bin" / "python")) {
            check_version(folder);
            environment.executable = (folder / "bin" / "python").string();
            return environment;
        }
        const fs::path plain = folder / "bin" / ("python" + built_for);
        if (runnable(plain) && fs::exists(folder / "lib" / ("python" + built_for))) {
            environment.executable = plain.string();
            return environment;
        }
    }
    // The library lies outside any environment (a build folder): the one it was built with.
    if (runnable(ORTHANC_ASYNC_PYTHON)) {
        environment.executable = ORTHANC_ASYNC_PYTHON;
    }
    return environment;
}

std::string other_interpreter(const std::string& json) {
    const auto root = nlohmann::json::parse(json);
    const auto plugins = root.find("Plugins");
    const auto section = root.find("Python");
    const bool started =
        root.contains("PythonScript") ||
        (section != root.end() && section->is_object() && section->contains("Path"));
    if (plugins == root.end() || !plugins->is_array() || !started) {
        return "";
    }
    const auto is_official = [](const fs::path& file) {
        return file.filename().string().rfind("libOrthancPython.so", 0) == 0;
    };
    for (const auto& entry : *plugins) {
        if (!entry.is_string()) {
            continue;
        }
        const fs::path path = entry.get<std::string>();
        std::string found;
        std::error_code error;
        if (is_official(path)) {
            found = path.string();
        } else if (fs::is_directory(path, error)) {
            for (const auto& file : fs::directory_iterator(path, error)) {
                if (is_official(file.path())) {
                    found = file.path().string();
                }
            }
        }
        if (!found.empty()) {
            return "the official Python plugin (" + found +
                   ") is loaded too and would start a second Python in this process: write the "
                   "script into \"Python\": {\"Scripts\": […]} instead of \"PythonScript\" or "
                   "\"Python.Path\", or take that plugin out of \"Plugins\"";
        }
    }
    return "";
}

} // namespace orthanc_async::host
