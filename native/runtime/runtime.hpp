// Everything of the runtime that exists once per process, and what one session adds.
#pragma once

#include <pybind11/pybind11.h>

#include <atomic>
#include <memory>

#include "attached_pool.hpp"
#include "executor.hpp"
#include "gate.hpp"
#include "mailbox.hpp"
#include "owner_thread.hpp"

namespace orthanc_async::runtime {

// The Python objects that the hot paths need, looked up once per session.
// Thread: owner. GIL: held, also to destroy it.
struct LoopReferences {
    pybind11::object loop;
    pybind11::object create_future;
    pybind11::object call_soon;
    pybind11::object drain; // the reader of the mailbox's descriptor
    pybind11::object task_type;
    pybind11::object task_name;   // one for all: making up a number for each costs more
    pybind11::object task_kwargs; // names of the keyword arguments of task_type
    bool captures = false;        // call_soon lets start_task have the first step
};

class Runtime {
public:
    static Runtime& get(); // never destroyed: stuck threads may still look at it during exit()

    OwnerThread owner;
    Mailbox mailbox;
    Gate gate;

    // Set while a session runs. Threads take their own reference. GIL: any.
    std::shared_ptr<Executor> executor() const { return std::atomic_load(&executor_); }
    std::shared_ptr<AttachedPool> handlers() const { return std::atomic_load(&handlers_); }
    std::shared_ptr<AttachedPool> events() const { return std::atomic_load(&events_); }

    void start_threads(std::size_t sdk_threads);
    void drop_threads();

    // Owner thread, GIL held; null between sessions.
    std::unique_ptr<LoopReferences> loop;

    // A call has begun that came while no other was in flight; taken back by the loop's next wait.
    // Thread: owner.
    bool lone_call = false;

    // True between run_until_complete's start and end: then a blocking call on the owner thread
    // would stand in everybody's way. Thread: any.
    std::atomic<bool> loop_runs{false};
    bool on_running_loop() const { return loop_runs.load() && owner.is_current(); }

private:
    Runtime() = default;
    std::shared_ptr<Executor> executor_;
    std::shared_ptr<AttachedPool> handlers_; // plain `def` REST handlers
    std::shared_ptr<AttachedPool> events_;   // plain `def` change handlers: one thread, in order
};

} // namespace orthanc_async::runtime
