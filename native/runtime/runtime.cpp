#include "runtime.hpp"

namespace orthanc_async::runtime {

namespace {

// More than a server has HTTP threads; each exists only while that many handlers block at once.
constexpr std::size_t most_handler_threads = 1024;

Attachment python_attachment() {
    // Each thread keeps one Python thread state for its life, as a thread that a host attaches
    // does: thread-local values and a script's own event loop persist from call to call.
    static thread_local PyThreadState* state = nullptr;
    return {
        [] {
            PyGILState_Ensure();
            state = PyEval_SaveThread();
        },
        [] { PyEval_RestoreThread(state); },
        [] { state = PyEval_SaveThread(); },
        [] {
            PyEval_RestoreThread(state);
            PyThreadState_Clear(state);
            PyThreadState_DeleteCurrent();
            state = nullptr;
        },
    };
}

} // namespace

Runtime& Runtime::get() {
    static auto* const runtime = new Runtime; // NOLINT(cppcoreguidelines-owning-memory)
    return *runtime;
}

void Runtime::start_threads(std::size_t sdk_threads) {
    ExecutorLimits limits;
    limits.threads = sdk_threads;
    limits.most_threads = std::max(limits.most_threads, sdk_threads);
    std::atomic_store(&executor_,
                      std::make_shared<Executor>(limits, [this](std::unique_ptr<Operation> done) {
                          const auto pool = done->elsewhere() ? handlers() : nullptr;
                          std::unique_ptr<Message> message = std::move(done);
                          if (!pool || !pool->submit(message)) {
                              mailbox.post(std::move(message));
                          }
                      }));
    PoolLimits many;
    many.threads = most_handler_threads;
    std::atomic_store(&handlers_, std::make_shared<AttachedPool>(many, python_attachment()));
    std::atomic_store(&events_, std::make_shared<AttachedPool>(PoolLimits{}, python_attachment()));
}

void Runtime::drop_threads() {
    std::atomic_store(&executor_, std::shared_ptr<Executor>());
    std::atomic_store(&handlers_, std::shared_ptr<AttachedPool>());
    std::atomic_store(&events_, std::shared_ptr<AttachedPool>());
}

} // namespace orthanc_async::runtime
