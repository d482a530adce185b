// Gate: who waits for the start, and for how long.
#include <doctest/doctest.h>

#include <future>

#include "runtime/gate.hpp"
#include "support.hpp"

using namespace orthanc_async::tests;
using orthanc_async::runtime::Gate;
using namespace std::chrono_literals;

TEST_SUITE_BEGIN("gate");

TEST_CASE("a gate is closed at first") {
    CHECK(Gate().state() == Gate::State::Closed);
}

TEST_CASE("only Starting makes anybody wait") {
    Gate gate;
    for (const auto state : {Gate::State::Closed, Gate::State::Open, Gate::State::Draining}) {
        gate.set(state);
        CHECK(gate.pass(1h) == state);
    }
}

TEST_CASE("those who wait for the start go on with the state that follows it") {
    for (const auto next : {Gate::State::Open, Gate::State::Closed, Gate::State::Draining}) {
        Gate gate;
        gate.set(Gate::State::Starting);
        Latch begun;
        auto first = std::async(std::launch::async, [&] {
            begun.open();
            return gate.pass(patience);
        });
        auto second = std::async(std::launch::async, [&] { return gate.pass(patience); });
        REQUIRE(begun.wait());
        gate.set(next);
        CHECK(first.get() == next);
        CHECK(second.get() == next);
    }
}

TEST_CASE("a start that takes too long is seen as Starting") {
    Gate gate;
    gate.set(Gate::State::Starting);
    const auto begin = Clock::now();
    CHECK(gate.pass(5ms) == Gate::State::Starting);
    CHECK(Clock::now() - begin >= 5ms);
    CHECK(gate.pass(0ms) == Gate::State::Starting);
}

TEST_CASE("hurry lets those go who wait and those who come, until all hurries have ended") {
    Gate gate;
    gate.set(Gate::State::Starting);
    auto waiting = std::async(std::launch::async, [&] { return gate.pass(1h); });
    {
        const Gate::Hurry first(gate);
        {
            const Gate::Hurry second(gate);
            CHECK(waiting.get() == Gate::State::Starting);
        }
        CHECK(gate.pass(1h) == Gate::State::Starting);
    }
    const auto begin = Clock::now();
    CHECK(gate.pass(5ms) == Gate::State::Starting);
    CHECK(Clock::now() - begin >= 5ms);
}

TEST_SUITE_END();
