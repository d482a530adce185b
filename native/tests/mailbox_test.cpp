// Mailbox: nothing is lost, nothing overtakes, and messages die on the consumer's thread.
#include <doctest/doctest.h>

#include <poll.h>

#include <atomic>
#include <functional>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/mailbox.hpp"
#include "support.hpp"

using namespace orthanc_async::tests;
using namespace orthanc_async::runtime;

namespace {

class Note final : public Message {
public:
    explicit Note(
        std::function<void()> delivered, std::function<void()> destroyed = [] {})
        : delivered_(std::move(delivered)), destroyed_(std::move(destroyed)) {}
    ~Note() override { destroyed_(); }
    void deliver() override { delivered_(); }

private:
    std::function<void()> delivered_;
    std::function<void()> destroyed_;
};

std::unique_ptr<Message>
note(std::function<void()> delivered, std::function<void()> destroyed = [] {}) {
    return std::make_unique<Note>(std::move(delivered), std::move(destroyed));
}

bool readable(const Mailbox& mailbox, std::chrono::milliseconds most = patience) {
    pollfd descriptor{mailbox.fd(), POLLIN, 0};
    return ::poll(&descriptor, 1, static_cast<int>(most.count())) == 1;
}

// As the event loop does: blocks on the descriptor, drains, calls again while some are left.
// False when it would have waited for ever.
bool consume(Mailbox& mailbox, const std::function<bool()>& finished, std::size_t batch = 64) {
    while (!finished()) {
        if (!readable(mailbox)) {
            return false;
        }
        while (mailbox.drain(batch)) {
        }
    }
    return true;
}

} // namespace

TEST_SUITE_BEGIN("mailbox");

TEST_CASE("what many threads post arrives completely, each thread's in its order") {
    constexpr std::size_t producers = 4;
    constexpr int each = 20000;
    Mailbox mailbox;
    mailbox.open();
    std::vector<int> next(producers, 0); // consumer only
    int total = 0;
    bool ordered = true;
    std::vector<std::thread> threads;
    for (std::size_t who = 0; who < producers; ++who) {
        threads.emplace_back([&, who] {
            for (int number = 0; number < each; ++number) {
                mailbox.post(note([&, who, number] {
                    ordered = ordered && next[who] == number;
                    ++next[who];
                    ++total;
                }));
            }
        });
    }
    CHECK(consume(mailbox, [&] { return total == static_cast<int>(producers) * each; }));
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK(ordered);
    CHECK(next == std::vector<int>(producers, each));
    CHECK(mailbox.wakes() <= producers * each);
}

TEST_CASE("a consumer that blocks is woken for every single message") {
    constexpr int producers = 3;
    constexpr int each = 3000;
    Mailbox mailbox;
    mailbox.open();
    int total = 0;
    std::atomic<bool> hung{false};
    std::vector<std::thread> threads;
    for (int who = 0; who < producers; ++who) {
        threads.emplace_back([&] {
            for (int number = 0; number < each && !hung; ++number) {
                Latch delivered;
                mailbox.post(note([&] { ++total; }, [&] { delivered.open(); }));
                hung = hung || !delivered.wait();
            }
        });
    }
    CHECK(consume(mailbox, [&] { return total == producers * each || hung; }));
    for (auto& thread : threads) {
        thread.join();
    }
    CHECK_FALSE(hung);
}

TEST_CASE("one wake is enough for all messages that wait") {
    Mailbox mailbox;
    mailbox.open();
    int delivered = 0;
    for (int round = 1; round <= 3; ++round) {
        for (int i = 0; i < 1000; ++i) {
            mailbox.post(note([&] { ++delivered; }));
        }
        CHECK(mailbox.wakes() == static_cast<std::size_t>(round));
        CHECK(readable(mailbox));
        CHECK_FALSE(mailbox.drain(100000));
        CHECK(delivered == round * 1000);
        CHECK_FALSE(readable(mailbox, std::chrono::milliseconds(0)));
    }
}

TEST_CASE("a bounded drain says whether some are left, and keeps the order") {
    Mailbox mailbox;
    mailbox.open();
    std::vector<int> seen;
    for (int i = 0; i < 6; ++i) {
        mailbox.post(note([&, i] { seen.push_back(i); }));
    }
    CHECK(mailbox.drain(4));
    CHECK(seen == std::vector<int>{0, 1, 2, 3});
    mailbox.post(note([&] { seen.push_back(6); }));
    CHECK_FALSE(mailbox.drain(2));
    CHECK(readable(mailbox)); // for the one that came in between
    CHECK_FALSE(mailbox.drain(4));
    CHECK(seen == std::vector<int>{0, 1, 2, 3, 4, 5, 6});
}

TEST_CASE("a message may post another one") {
    Mailbox mailbox;
    mailbox.open();
    bool second = false;
    mailbox.post(note([&] { mailbox.post(note([&] { second = true; })); }));
    CHECK(consume(mailbox, [&] { return second; }));
}

TEST_CASE("the descriptor stays readable for what comes after a message that throws") {
    Mailbox mailbox;
    mailbox.open();
    bool second = false;
    mailbox.post(note([] { throw std::runtime_error("refused"); }));
    mailbox.post(note([&] { second = true; }));
    CHECK_THROWS_WITH(mailbox.drain(64), "refused");
    CHECK(readable(mailbox, std::chrono::milliseconds(0)));
    CHECK_FALSE(mailbox.drain(64));
    CHECK(second);
    CHECK_FALSE(mailbox.drain(64)); // the turn that the descriptor still asks for
    CHECK_FALSE(readable(mailbox, std::chrono::milliseconds(0)));
}

TEST_CASE("a message posted to a closed mailbox waits for the consumer's thread to destroy it") {
    const auto consumer = std::this_thread::get_id();
    Mailbox mailbox;
    std::atomic<int> destroyed{0};
    std::atomic<bool> elsewhere{false};
    std::atomic<bool> accepted{false};
    bool delivered = false;
    const auto post = [&] {
        std::thread([&] {
            accepted = mailbox.post(note([&] { delivered = true; },
                                         [&] {
                                             ++destroyed;
                                             elsewhere = elsewhere ||
                                                         std::this_thread::get_id() != consumer;
                                         }));
        }).join();
    };
    SUBCASE("before the first open(): destroyed by open()") {
        post();
        CHECK_FALSE(accepted);
        CHECK(destroyed == 0);
        mailbox.open();
    }
    SUBCASE("after close(): destroyed by the next open()") {
        mailbox.open();
        mailbox.close();
        post();
        CHECK_FALSE(accepted);
        CHECK(destroyed == 0);
        mailbox.open();
    }
    SUBCASE("after close(): destroyed by the next close()") {
        post();
        CHECK(destroyed == 0);
        mailbox.close();
    }
    SUBCASE("before close(): destroyed by close()") {
        mailbox.open();
        post();
        CHECK(accepted);
        CHECK(destroyed == 0);
        mailbox.close();
    }
    CHECK(destroyed == 1);
    CHECK_FALSE(elsewhere);
    CHECK_FALSE(delivered);
    CHECK_FALSE(mailbox.drain(64));
    CHECK_FALSE(delivered);
}

TEST_CASE("close() also destroys what a bounded drain has left") {
    Mailbox mailbox;
    mailbox.open();
    int delivered = 0;
    int destroyed = 0;
    for (int i = 0; i < 5; ++i) {
        mailbox.post(note([&] { ++delivered; }, [&] { ++destroyed; }));
    }
    CHECK(mailbox.drain(2));
    mailbox.close();
    CHECK(delivered == 2);
    CHECK(destroyed == 5);
}

TEST_CASE("a message that is accepted while the mailbox opens wakes the consumer") {
    constexpr int rounds = 20000;
    Mailbox mailbox;
    std::atomic<int> round{0};    // the one that the producer is to post for
    std::atomic<int> accepted{0}; // the last one that it has posted for
    std::thread producer([&] {
        for (int own = 1; own <= rounds; ++own) {
            while (round.load() < own) {
                std::this_thread::yield();
            }
            if (round.load() > rounds) {
                return;
            }
            while (!mailbox.post(note([] {}))) {
            }
            accepted = own;
        }
    });
    bool woken = true;
    for (int own = 1; own <= rounds && woken; ++own) {
        mailbox.close();
        round = own;
        mailbox.open();
        while (accepted.load() < own) {
            std::this_thread::yield();
        }
        woken = readable(mailbox);
        mailbox.drain(100000);
    }
    round = rounds + 1;
    producer.join();
    CHECK(woken);
}

TEST_SUITE_END();
