#include "wakeup.hpp"

#include <cerrno>
#include <cstdint>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

namespace orthanc_async::runtime {

Wakeup::Wakeup() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (fd_ < 0) {
        throw std::system_error(errno, std::generic_category(), "eventfd");
    }
}

Wakeup::~Wakeup() {
    ::close(fd_);
}

void Wakeup::signal() noexcept {
    const std::uint64_t one = 1;
    // EAGAIN means that the counter is full: the descriptor is readable, which is all we want.
    while (::write(fd_, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

void Wakeup::clear() noexcept {
    std::uint64_t count = 0;
    while (::read(fd_, &count, sizeof count) < 0 && errno == EINTR) {
    }
}

} // namespace orthanc_async::runtime
