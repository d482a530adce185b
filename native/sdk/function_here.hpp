// Which SDK function a thread is inside: a callback that Orthanc makes on the same thread runs
// under whatever that function has locked.
#pragma once

#include <cstring>
#include <utility>

namespace orthanc_async::sdk {

// Thread: the one that calls the SDK. GIL: any.
class FunctionHere {
public:
    // `function` without prefix: "GetDicomForInstance". Not copied.
    explicit FunctionHere(const char* function) noexcept
        : outer_(std::exchange(current_, function)) {}
    ~FunctionHere() { current_ = outer_; }
    FunctionHere(const FunctionHere&) = delete;
    FunctionHere& operator=(const FunctionHere&) = delete;

    static bool is(const char* function) noexcept {
        return current_ != nullptr && std::strcmp(current_, function) == 0;
    }

private:
    static inline thread_local const char* current_ = nullptr;
    const char* const outer_;
};

} // namespace orthanc_async::sdk
