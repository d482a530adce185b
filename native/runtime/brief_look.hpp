// Whether looking for a few microseconds before sleeping pays just now.
#pragma once

#include <algorithm>
#include <atomic>

namespace orthanc_async::runtime {

// Looking spares a sleep and a wake when a core is free for it, and only takes time from others
// when none is. So each failure doubles the number of occasions that are let pass, up to 64.
// Thread: any; a lost update only means one look more or less.
class BriefLook {
public:
    bool worth_it() {
        const int pass = pass_.load(std::memory_order_relaxed);
        if (pass == 0) {
            return true;
        }
        pass_.store(pass - 1, std::memory_order_relaxed);
        return false;
    }

    bool learn(bool succeeded) {
        const int penalty =
            succeeded ? 0 : std::clamp(2 * penalty_.load(std::memory_order_relaxed), 1, 64);
        penalty_.store(penalty, std::memory_order_relaxed);
        pass_.store(penalty, std::memory_order_relaxed);
        return succeeded;
    }

private:
    std::atomic<int> pass_{0};
    std::atomic<int> penalty_{0};
};

} // namespace orthanc_async::runtime
