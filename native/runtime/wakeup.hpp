// The descriptor that wakes the event loop: the one file that knows the operating system's way.
#pragma once

namespace orthanc_async::runtime {

class Wakeup {
public:
    Wakeup(); // throws std::system_error
    ~Wakeup();
    Wakeup(const Wakeup&) = delete;
    Wakeup& operator=(const Wakeup&) = delete;

    int fd() const { return fd_; }
    void signal() noexcept; // thread: any
    void clear() noexcept;  // thread: consumer

private:
    int fd_;
};

} // namespace orthanc_async::runtime
