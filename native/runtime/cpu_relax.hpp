// What a loop does that waits for another core.
#pragma once

namespace orthanc_async::runtime {

inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

} // namespace orthanc_async::runtime
