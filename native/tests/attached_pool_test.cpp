// AttachedPool: order, when a further thread joins, and on which thread everything happens.
#include <doctest/doctest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/attached_pool.hpp"
#include "support.hpp"

using namespace orthanc_async::tests;
using namespace orthanc_async::runtime;
using namespace std::chrono_literals;

namespace {

thread_local bool attached = false;
thread_local bool holding = false;

// Stands for the GIL, without excluding anybody: counts, and notes what is out of turn.
struct Ledger {
    std::atomic<std::size_t> attached_threads{0};
    std::atomic<std::size_t> detached_threads{0};
    std::atomic<std::size_t> acquired{0};
    std::atomic<std::size_t> released{0};
    std::atomic<std::size_t> mistakes{0};
    std::function<void()> while_attaching = [] {};
    std::function<void()> while_detaching = [] {};

    void expect(bool condition) { mistakes += condition ? 0 : 1; }
};

Attachment attachment(const std::shared_ptr<Ledger>& ledger) {
    return {
        [ledger] {
            ledger->expect(!attached && !holding);
            attached = true;
            ++ledger->attached_threads;
            ledger->while_attaching();
        },
        [ledger] {
            ledger->expect(attached && !holding);
            holding = true;
            ++ledger->acquired;
        },
        [ledger] {
            ledger->expect(attached && holding);
            holding = false;
            ++ledger->released;
        },
        [ledger] {
            ledger->expect(attached && !holding);
            attached = false;
            ++ledger->detached_threads;
            ledger->while_detaching();
        },
    };
}

// What became of one message. Written before `done` opens, which is when the message dies.
struct Outcome {
    Latch begun;
    Latch done;
    bool delivered = false;
    bool held_at_end = false;
    std::thread::id thread;
};

class Job final : public Message {
public:
    Job(std::shared_ptr<Outcome> outcome, std::function<void()> body)
        : outcome_(std::move(outcome)), body_(std::move(body)) {}
    ~Job() override {
        outcome_->held_at_end = holding;
        outcome_->done.open();
    }
    void deliver() override {
        outcome_->thread = std::this_thread::get_id();
        outcome_->begun.open();
        body_();
        outcome_->delivered = true;
    }

private:
    std::shared_ptr<Outcome> outcome_;
    std::function<void()> body_;
};

std::shared_ptr<Outcome> submit(AttachedPool& pool, std::function<void()> body) {
    auto outcome = std::make_shared<Outcome>();
    std::unique_ptr<Message> message = std::make_unique<Job>(outcome, std::move(body));
    if (!pool.submit(message)) {
        return nullptr;
    }
    return outcome;
}

PoolLimits limits(std::size_t threads, std::chrono::microseconds grow_after = 1h) {
    PoolLimits values;
    values.threads = threads;
    values.grow_after = grow_after;
    values.idle = 10min;
    return values;
}

} // namespace

TEST_SUITE_BEGIN("attached pool");

TEST_CASE("one thread delivers strictly one at a time and in order, even across pauses") {
    const auto ledger = std::make_shared<Ledger>();
    AttachedPool pool(limits(1, 0us), attachment(ledger));
    std::vector<int> seen; // by the one thread
    std::atomic<int> inside{0};
    std::atomic<bool> overlapped{false};
    std::vector<std::shared_ptr<Outcome>> jobs;
    for (int i = 0; i < 2000; ++i) {
        jobs.push_back(submit(pool, [&, i] {
            overlapped = overlapped || ++inside != 1;
            if (i % 10 == 0) {
                const AttachedPool::Pause pause;
                std::this_thread::yield();
            }
            seen.push_back(i);
            --inside;
        }));
    }
    for (const auto& job : jobs) {
        REQUIRE(job->done.wait());
        CHECK(job->held_at_end);
    }
    CHECK_FALSE(overlapped);
    bool ordered = seen.size() == 2000;
    for (std::size_t i = 0; i < seen.size(); ++i) {
        ordered = ordered && seen[i] == static_cast<int>(i);
    }
    CHECK(ordered);
    CHECK(pool.threads() == 1);
    pool.stop(soon());
    CHECK(ledger->mistakes == 0);
}

TEST_CASE("a further thread joins when the first message has waited too long") {
    const auto ledger = std::make_shared<Ledger>();
    AttachedPool pool(limits(4, 500us), attachment(ledger));
    Latch last;
    std::vector<std::shared_ptr<Outcome>> jobs;
    for (int i = 0; i < 3; ++i) {
        jobs.push_back(submit(pool, [&] { last.wait(); }));
    }
    jobs.push_back(submit(pool, [&] { last.open(); }));
    for (const auto& job : jobs) {
        CHECK(job->done.wait());
    }
    CHECK(last.is_open());
    CHECK(pool.threads() == 4);
    pool.stop(soon());
}

TEST_CASE("no further thread takes a message that has not waited long") {
    const auto ledger = std::make_shared<Ledger>();
    AttachedPool pool(limits(8), attachment(ledger));
    Latch release;
    const auto first = submit(pool, [&] { release.wait(); });
    REQUIRE(first->begun.wait());
    std::vector<std::shared_ptr<Outcome>> jobs;
    for (int i = 0; i < 50; ++i) {
        jobs.push_back(submit(pool, [] {}));
    }
    CHECK(pool.threads() <= 2); // the second one only watches the time
    release.open();
    for (const auto& job : jobs) {
        REQUIRE(job->done.wait());
        CHECK(job->thread == first->thread);
    }
    pool.stop(soon());
}

TEST_CASE("a pause frees the place at once") {
    const auto ledger = std::make_shared<Ledger>();
    AttachedPool pool(limits(2), attachment(ledger));
    Latch submitted;
    Latch paused;
    Latch second_ran;
    std::shared_ptr<Outcome> second;
    const auto first = submit(pool, [&] {
        submitted.wait();
        const AttachedPool::Pause pause;
        paused.open();
        second_ran.wait();
    });
    SUBCASE("for a message that waits already") {
        second = submit(pool, [&] { second_ran.open(); });
        submitted.open();
    }
    SUBCASE("for a message that comes later") {
        submitted.open();
        REQUIRE(paused.wait());
        second = submit(pool, [&] { second_ran.open(); });
    }
    CHECK(second->done.wait());
    second_ran.open();
    CHECK(first->done.wait());
    CHECK(second->delivered);
    CHECK(second->thread != first->thread);
    pool.stop(soon());
}

TEST_CASE("a pause within a pause frees one place, not two") {
    const auto ledger = std::make_shared<Ledger>();
    AttachedPool pool(limits(3), attachment(ledger));
    Latch release;
    const auto first = submit(pool, [&] {
        const AttachedPool::Pause outer;
        const AttachedPool::Pause inner;
        release.wait();
    });
    REQUIRE(first->begun.wait());
    Latch second_release;
    const auto second = submit(pool, [&] { second_release.wait(); });
    REQUIRE(second->begun.wait());
    const auto third = submit(pool, [] {});
    CHECK_FALSE(third->begun.wait(50ms));
    second_release.open();
    REQUIRE(third->done.wait());
    CHECK(third->thread == second->thread);
    release.open();
    CHECK(first->done.wait());
    pool.stop(soon());
}

TEST_CASE("a pause on a thread of no pool does nothing") {
    const AttachedPool::Pause outer;
    const AttachedPool::Pause inner;
}

TEST_CASE("every thread attaches and detaches once, and releases what it acquires") {
    const auto ledger = std::make_shared<Ledger>();
    PoolLimits values = limits(4, 100us);
    values.idle = 1ms;
    AttachedPool pool(values, attachment(ledger));
    for (int round = 0; round < 20; ++round) {
        Latch all;
        std::atomic<int> left{4};
        std::vector<std::shared_ptr<Outcome>> jobs;
        for (int i = 0; i < 4; ++i) {
            jobs.push_back(submit(pool, [&] {
                if (--left == 0) {
                    all.open();
                }
                all.wait();
            }));
        }
        for (const auto& job : jobs) {
            REQUIRE(job->done.wait());
            CHECK(job->held_at_end);
        }
        REQUIRE(eventually([&] { return pool.threads() == 1; }));
    }
    CHECK(pool.stop(soon()).empty());
    CHECK(pool.threads() == 0);
    CHECK(ledger->attached_threads >= 4);
    CHECK(ledger->attached_threads == ledger->detached_threads);
    CHECK(ledger->acquired == ledger->released);
    CHECK(ledger->mistakes == 0);
}

TEST_CASE("messages that come while a thread attaches start no crowd of threads") {
    const auto ledger = std::make_shared<Ledger>();
    Latch may_attach;
    ledger->while_attaching = [&] { may_attach.wait(); };
    AttachedPool pool(limits(100), attachment(ledger));
    std::vector<std::shared_ptr<Outcome>> jobs;
    for (int i = 0; i < 20; ++i) {
        jobs.push_back(submit(pool, [] {}));
    }
    CHECK(pool.threads() == 1);
    may_attach.open();
    for (const auto& job : jobs) {
        CHECK(job->done.wait());
    }
    pool.stop(soon());
}

TEST_CASE("a message finds a thread while others take long to end") {
    const auto ledger = std::make_shared<Ledger>();
    Latch may_detach;
    ledger->while_detaching = [&] { may_detach.wait(); };
    PoolLimits values = limits(2, 100us);
    values.idle = 1ms;
    AttachedPool pool(values, attachment(ledger));
    Latch second_ran;
    const auto first = submit(pool, [&] { second_ran.wait(); });
    const auto second = submit(pool, [&] { second_ran.open(); });
    REQUIRE(first->done.wait());
    REQUIRE(second->done.wait());
    REQUIRE(eventually([&] { return ledger->detached_threads > 0; }));
    // The other one must not end as well: a wrong count let it go at its next look.
    CHECK_FALSE(eventually([&] { return ledger->detached_threads > 1; }, 50ms));
    CHECK(pool.threads() == 1);
    const auto third = submit(pool, [] {});
    const bool served = third->done.wait(2s);
    may_detach.open();
    CHECK(served);
    pool.stop(soon());
}

TEST_CASE("stop gives back what was not begun and waits for what runs") {
    const auto ledger = std::make_shared<Ledger>();
    AttachedPool pool(limits(1), attachment(ledger));
    Latch release;
    const auto running = submit(pool, [&] { release.wait(); });
    REQUIRE(running->begun.wait());
    std::vector<std::shared_ptr<Outcome>> waiting;
    for (int i = 0; i < 3; ++i) {
        waiting.push_back(submit(pool, [] {}));
    }
    auto left = pool.stop(Clock::now());
    CHECK(left.size() == 3);
    CHECK_FALSE(waiting[0]->done.is_open());
    left.clear();
    CHECK(waiting[0]->done.is_open());
    CHECK_FALSE(waiting[0]->delivered);
    release.open();
    CHECK(pool.stop(soon()).empty());
    CHECK(running->delivered);
    CHECK(pool.threads() == 0);
    CHECK(ledger->detached_threads == 1);
}

TEST_CASE("after stop a message stays the caller's") {
    AttachedPool pool(limits(1), attachment(std::make_shared<Ledger>()));
    pool.stop(soon());
    const auto outcome = std::make_shared<Outcome>();
    std::unique_ptr<Message> message = std::make_unique<Job>(outcome, [] {});
    CHECK_FALSE(pool.submit(message));
    CHECK(message != nullptr);
    CHECK_FALSE(outcome->done.is_open());
}

TEST_CASE("a message stays the caller's when the system gives no thread at all") {
    AttachedPool pool(limits(1), attachment(std::make_shared<Ledger>()));
    const auto outcome = std::make_shared<Outcome>();
    std::unique_ptr<Message> message = std::make_unique<Job>(outcome, [] {});
    {
        const NoThreads none;
        CHECK_FALSE(pool.submit(message));
    }
    REQUIRE(message != nullptr);
    CHECK(pool.submit(message));
    CHECK(outcome->done.wait());
    CHECK(outcome->delivered);
    pool.stop(soon());
}

TEST_CASE("a thread that is stuck outlives the pool and destroys what waits where it may") {
    auto ledger = std::make_shared<Ledger>();
    const std::weak_ptr<Ledger> kept = ledger;
    auto pool = std::make_unique<AttachedPool>(limits(1), attachment(ledger));
    Latch release;
    const auto running = submit(*pool, [&] { release.wait(); });
    REQUIRE(running->begun.wait());
    const auto waiting = submit(*pool, [] {});
    pool.reset();
    ledger.reset();
    CHECK_FALSE(kept.expired());
    CHECK_FALSE(waiting->done.is_open());
    release.open();
    REQUIRE(waiting->done.wait());
    CHECK(running->delivered);
    CHECK_FALSE(waiting->delivered);
    CHECK(waiting->held_at_end);
    CHECK(eventually([&] { return kept.expired(); }));
}

TEST_CASE("wait_quiet tells whether everything has been delivered") {
    AttachedPool pool(limits(1), attachment(std::make_shared<Ledger>()));
    CHECK(pool.wait_quiet(Clock::now()));
    Latch release;
    const auto running = submit(pool, [&] { release.wait(); });
    const auto waiting = submit(pool, [] {});
    REQUIRE(running->begun.wait());
    CHECK_FALSE(pool.wait_quiet(Clock::now() + 1ms));
    release.open();
    CHECK(pool.wait_quiet(soon()));
    CHECK(running->delivered);
    CHECK(waiting->delivered);
    pool.stop(soon());
}

TEST_SUITE_END();
