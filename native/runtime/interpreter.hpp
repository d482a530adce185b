// Starting CPython inside the host, once per process.
#pragma once

#include <Python.h>

#include <csignal>
#include <string>

namespace orthanc_async::runtime {

struct InterpreterOptions {
    std::string program; // the environment's bin/python; empty: what CPython finds by itself
    bool verbose = false;
    const char* module_name = nullptr; // the built-in module
    PyObject* (*module_init)() = nullptr;
};

// Thread: the one that is to own the interpreter, and so be Python's main thread. On return the
// GIL is held. Throws std::runtime_error with CPython's own words.
void start_interpreter(const InterpreterOptions& options);

// Keeps the host's handlers of INT, TERM, HUP and QUIT over code that may replace them:
// importing asyncio installs Python's SIGINT handler even when none was asked for.
class SignalKeeper {
public:
    SignalKeeper() noexcept;
    ~SignalKeeper();
    SignalKeeper(const SignalKeeper&) = delete;
    SignalKeeper& operator=(const SignalKeeper&) = delete;

private:
    struct sigaction saved_[4]{};
};

} // namespace orthanc_async::runtime
