// Executor: every call runs or is rejected, under re-entry, at its limits and when it stops.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/executor.hpp"
#include "support.hpp"

using namespace orthanc_async::tests;
using namespace orthanc_async::runtime;
using namespace std::chrono_literals;

namespace {

// What became of one call. Written before `done` opens.
struct Outcome {
    Latch begun;
    Latch done;
    bool ran = false;
    std::string rejected;
    std::thread::id thread; // that of run() or reject()
};

class Call final : public Operation {
public:
    Call(std::string name, std::shared_ptr<Outcome> outcome, std::function<void()> body)
        : name_(std::move(name)), outcome_(std::move(outcome)), body_(std::move(body)) {}

    void run() noexcept override {
        outcome_->begun.open();
        body_();
        outcome_->ran = true;
        outcome_->thread = std::this_thread::get_id();
    }
    void reject(const std::string& reason) noexcept override {
        outcome_->rejected = reason;
        outcome_->thread = std::this_thread::get_id();
    }
    std::string describe() const override { return name_; }
    void deliver() override { outcome_->done.open(); }

private:
    std::string name_;
    std::shared_ptr<Outcome> outcome_;
    std::function<void()> body_;
};

void deliver_at_once(std::unique_ptr<Operation> operation) {
    operation->deliver();
}

std::shared_ptr<Outcome> submit(Executor& executor, const std::string& name,
                                std::function<void()> body) {
    auto outcome = std::make_shared<Outcome>();
    executor.submit(std::make_unique<Call>(name, outcome, std::move(body)));
    return outcome;
}

ExecutorLimits limits(std::size_t threads, std::size_t most_threads) {
    ExecutorLimits values;
    values.threads = threads;
    values.most_threads = most_threads;
    values.grow_after = 2ms;
    values.idle = 10min;
    values.fail_after = 10min;
    return values;
}

// A call that waits for a further one, `depth` times: each holds its thread meanwhile.
bool nest(Executor& executor, int depth, std::atomic<std::size_t>& most_threads) {
    std::atomic<bool> well{true};
    const auto outcome = submit(executor, "nested", [&] {
        most_threads = std::max(most_threads.load(), executor.threads());
        if (depth > 1) {
            well = nest(executor, depth - 1, most_threads);
        }
    });
    return outcome->done.wait() && outcome->ran && well;
}

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

} // namespace

TEST_SUITE_BEGIN("executor");

TEST_CASE("a call runs on a thread of the executor") {
    Executor executor(limits(2, 2), deliver_at_once);
    CHECK(executor.threads() == 0);
    const auto outcome = submit(executor, "call", [] {});
    REQUIRE(outcome->done.wait());
    CHECK(outcome->ran);
    CHECK(outcome->thread != std::this_thread::get_id());
    CHECK(executor.threads() == 1);
    CHECK(executor.running().empty());
}

TEST_CASE("calls that wait for further calls get threads beyond the normal size") {
    Executor executor(limits(2, 32), deliver_at_once);
    std::atomic<std::size_t> most{0};
    CHECK(nest(executor, 10, most));
    CHECK(most >= 10);
}

TEST_CASE("a call that another one waits for is served however closely the two are submitted") {
    Executor executor(limits(1, 4), deliver_at_once);
    std::atomic<std::size_t> most{0};
    REQUIRE(nest(executor, 2, most)); // from now on there is a supervisor, and it sleeps
    ExecutorLimits values = limits(1, 2);
    values.idle = 1ms;
    Executor shrinking(values, deliver_at_once);
    REQUIRE(nest(shrinking, 2, most));
    for (int round = 0; round < 50; ++round) {
        CAPTURE(round);
        REQUIRE(eventually([&] { return shrinking.threads() == 1; }));
        Latch second_ran;
        const auto first = submit(shrinking, "first", [&] { second_ran.wait(); });
        const auto second = submit(shrinking, "second", [&] { second_ran.open(); });
        const bool served = second->done.wait();
        second_ran.open();
        REQUIRE(first->done.wait());
        REQUIRE(served);
    }
}

TEST_CASE("a burst of quick calls starts no thread beyond the normal size") {
    ExecutorLimits values = limits(2, 64);
    values.grow_after = 1min;
    Executor executor(values, deliver_at_once);
    std::vector<std::shared_ptr<Outcome>> calls;
    for (int i = 0; i < 5000; ++i) {
        calls.push_back(submit(executor, "quick", [] {}));
    }
    CHECK(executor.threads() <= 2);
    for (const auto& call : calls) {
        REQUIRE(call->done.wait());
        REQUIRE(call->ran);
    }
    CHECK(executor.threads() <= 2);
}

TEST_CASE("at the greatest size, what waits too long is rejected with the names of what runs") {
    ExecutorLimits values = limits(1, 3);
    values.fail_after = 1000ms;
    Executor executor(values, deliver_at_once);
    Latch release;
    std::vector<std::shared_ptr<Outcome>> running;
    for (const char* name : {"RestApiGet('/a')", "RestApiGet('/b')", "RestApiGet('/c')"}) {
        running.push_back(submit(executor, name, [&] { release.wait(); }));
    }
    for (const auto& call : running) {
        REQUIRE(call->begun.wait());
    }
    const auto one = submit(executor, "one", [] {});
    const auto two = submit(executor, "two", [] {});
    REQUIRE(one->done.wait());
    REQUIRE(two->done.wait());
    CHECK(executor.threads() == 3);
    CHECK_FALSE(one->ran);
    CHECK_FALSE(two->ran);
    CHECK(has(one->rejected, "all 3 threads"));
    CHECK(has(one->rejected, "1 s"));
    CHECK(has(one->rejected, "RestApiGet('/a'), RestApiGet('/b'), RestApiGet('/c')"));
    const std::vector<std::string> names = executor.running();
    CHECK(names ==
          std::vector<std::string>{"RestApiGet('/a')", "RestApiGet('/b')", "RestApiGet('/c')"});
    release.open();
    for (const auto& call : running) {
        REQUIRE(call->done.wait());
        CHECK(call->ran);
    }
    const auto later = submit(executor, "later", [] {});
    REQUIRE(later->done.wait());
    CHECK(later->ran);
}

TEST_CASE("threads beyond the normal size end when they have nothing to do") {
    ExecutorLimits values = limits(2, 16);
    values.idle = 5ms;
    Executor executor(values, deliver_at_once);
    std::atomic<std::size_t> most{0};
    REQUIRE(nest(executor, 6, most));
    CHECK(most >= 6);
    CHECK(eventually([&] { return executor.threads() == 2; }));
    REQUIRE(nest(executor, 6, most));
}

TEST_CASE("stop refuses what waits and names what still runs at its deadline") {
    Executor executor(limits(1, 1), deliver_at_once);
    Latch release;
    const auto running = submit(executor, "stuck", [&] { release.wait(); });
    REQUIRE(running->begun.wait());
    const auto waiting = submit(executor, "waiting", [] {});
    CHECK(executor.stop(Clock::now()) == std::vector<std::string>{"stuck"});
    REQUIRE(waiting->done.wait());
    CHECK_FALSE(waiting->ran);
    CHECK(has(waiting->rejected, "stopped"));
    release.open();
    REQUIRE(running->done.wait());
    CHECK(running->ran);
    CHECK(executor.stop(soon()).empty());
    CHECK(executor.threads() == 0);
}

TEST_CASE("stop waits for what runs") {
    Executor executor(limits(1, 1), deliver_at_once);
    Latch release;
    const auto running = submit(executor, "slow", [&] { release.wait(); });
    REQUIRE(running->begun.wait());
    const auto waiting = submit(executor, "waiting", [] {});
    auto stopped = std::async(std::launch::async, [&] { return executor.stop(soon()); });
    REQUIRE(waiting->done.wait()); // so stop() has begun
    release.open();
    CHECK(stopped.get().empty());
    CHECK(running->ran);
    CHECK(executor.threads() == 0);
}

TEST_CASE("stop ends idle threads at once") {
    Executor executor(limits(2, 8), deliver_at_once);
    std::atomic<std::size_t> most{0};
    REQUIRE(nest(executor, 4, most));
    CHECK(executor.stop(soon()).empty());
    CHECK(executor.threads() == 0);
}

TEST_CASE("after stop a call is rejected at once, on the thread that submits it") {
    Executor executor(limits(1, 1), deliver_at_once);
    executor.stop(soon());
    const auto late = submit(executor, "late", [] {});
    CHECK(late->done.is_open());
    CHECK_FALSE(late->ran);
    CHECK(has(late->rejected, "stopped"));
    CHECK(late->thread == std::this_thread::get_id());
}

TEST_CASE("a thread that is stuck outlives the executor and keeps what it needs") {
    auto token = std::make_shared<int>(0);
    const std::weak_ptr<int> kept = token;
    auto executor = std::make_unique<Executor>(
        limits(1, 1), [token](std::unique_ptr<Operation> operation) { operation->deliver(); });
    token.reset();
    Latch release;
    const auto running = submit(*executor, "stuck", [&] { release.wait(); });
    REQUIRE(running->begun.wait());
    executor.reset();
    CHECK_FALSE(kept.expired());
    release.open();
    REQUIRE(running->done.wait());
    CHECK(running->ran);
    CHECK(eventually([&] { return kept.expired(); }));
}

TEST_CASE("a call is rejected, not forgotten, when the system gives no thread at all") {
    Executor executor(limits(1, 1), deliver_at_once);
    std::shared_ptr<Outcome> outcome;
    {
        const NoThreads none;
        outcome = submit(executor, "call", [] {});
    }
    CHECK(outcome->done.is_open());
    CHECK(has(outcome->rejected, "no thread"));
    const auto later = submit(executor, "later", [] {});
    REQUIRE(later->done.wait());
    CHECK(later->ran);
}

TEST_CASE("calls are rejected in time when the system gives no further thread") {
    ExecutorLimits values = limits(1, 8);
    values.idle = 1ms;
    values.fail_after = 50ms;
    Executor executor(values, deliver_at_once);
    std::atomic<std::size_t> most{0};
    REQUIRE(nest(executor, 2, most)); // from now on there is a supervisor
    REQUIRE(eventually([&] { return executor.threads() == 1; }));
    const NoThreads none;
    Latch release;
    const auto running = submit(executor, "RestApiGet('/a')", [&] { release.wait(); });
    REQUIRE(running->begun.wait());
    const auto waiting = submit(executor, "waiting", [] {});
    const bool answered = waiting->done.wait();
    release.open();
    REQUIRE(running->done.wait());
    REQUIRE(answered);
    CHECK(has(waiting->rejected, "running: RestApiGet('/a')"));
}

TEST_SUITE_END();
