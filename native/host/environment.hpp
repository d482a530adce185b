// Which Python environment the plugin belongs to.
#pragma once

#include <stdexcept>
#include <string>

namespace orthanc_async::host {

// Names what is wrong with the environment and how to mend it.
class EnvironmentError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

struct Environment {
    std::string executable;     // for sys.executable: <environment>/bin/python
    std::string package_parent; // the folder that holds the package orthanc_async

    // `configured` is the setting "Executable", or empty for the environment that the plugin's
    // library lies in. Throws EnvironmentError when it is of another minor version of Python than
    // the plugin was built with.
    static Environment find(const std::string& configured);
};

// The official Python plugin would start a second interpreter, which ends the process. `json` is
// the configuration; returns what to change, or "" when all is well.
std::string other_interpreter(const std::string& json);

} // namespace orthanc_async::host
