#include "interpreter.hpp"

#include <dlfcn.h>
#include <stdexcept>

namespace orthanc_async::runtime {

namespace {

constexpr int kept_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

// The host opens plugins with RTLD_LOCAL, so libpython's symbols are invisible to the C extensions
// that Python imports: open the same library again, globally.
void publish_libpython() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&Py_Initialize), &info) == 0 ||
        info.dli_fname == nullptr) {
        throw std::runtime_error("cannot tell which libpython is loaded");
    }
    if (dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD) == nullptr) {
        throw std::runtime_error("cannot open " + std::string(info.dli_fname) +
                                 " globally: " + dlerror());
    }
}

void check(const PyStatus& status, const char* step) {
    if (PyStatus_Exception(status) != 0) {
        throw std::runtime_error(std::string("Python cannot start (") + step + "): " +
                                 (status.err_msg != nullptr ? status.err_msg : "no reason given"));
    }
}

class Config {
public:
    Config() { PyConfig_InitPythonConfig(&config_); }
    ~Config() { PyConfig_Clear(&config_); }
    Config(const Config&) = delete;
    Config& operator=(const Config&) = delete;
    PyConfig* get() { return &config_; }
    PyConfig* operator->() { return &config_; }

private:
    PyConfig config_;
};

} // namespace

void start_interpreter(const InterpreterOptions& options) {
    publish_libpython();

    PyPreConfig preconfig;
    PyPreConfig_InitPythonConfig(&preconfig);
    preconfig.utf8_mode = 1;
    preconfig.parse_argv = 0;
    check(Py_PreInitialize(&preconfig), "pre-initialisation");

    if (options.module_name != nullptr &&
        PyImport_AppendInittab(options.module_name, options.module_init) != 0) {
        throw std::runtime_error("cannot add the built-in module");
    }

    Config config;
    config->install_signal_handlers = 0;
    config->parse_argv = 0;
    config->verbose = options.verbose ? 1 : 0;
    if (!options.program.empty()) {
        check(
            PyConfig_SetBytesString(config.get(), &config->program_name, options.program.c_str()),
            "program name");
    }
    wchar_t* argv[] = {const_cast<wchar_t*>(L"")};
    check(PyConfig_SetArgv(config.get(), 1, argv), "arguments");

    const SignalKeeper keeper;
    check(Py_InitializeFromConfig(config.get()), "initialisation");
    // Its first import sets Python's SIGINT handler: let that happen here, under the keeper.
    PyObject* signals = PyImport_ImportModule("signal");
    if (signals == nullptr) {
        PyErr_Clear();
        throw std::runtime_error("Python cannot import its own module \"signal\"");
    }
    Py_DECREF(signals);
}

SignalKeeper::SignalKeeper() noexcept {
    for (int i = 0; i < 4; ++i) {
        sigaction(kept_signals[i], nullptr, &saved_[i]);
    }
}

SignalKeeper::~SignalKeeper() {
    for (int i = 0; i < 4; ++i) {
        sigaction(kept_signals[i], &saved_[i], nullptr);
    }
}

} // namespace orthanc_async::runtime
