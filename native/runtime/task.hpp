// Starting a handler's task without a turn of the loop.
#pragma once

#include <pybind11/pybind11.h>

namespace orthanc_async::runtime {

// Prepares start_task() for this loop. With `eager`, asyncio's own eager tasks are used (Python
// 3.12). Otherwise, with `capture`, the loop's call_soon is replaced by one that lets start_task()
// have the first step of the task it makes, and passes everything else on. With neither, tasks
// begin at the loop's next turn. Thread: owner. GIL: held.
void prepare_tasks(const pybind11::object& loop, const pybind11::object& task_type, bool eager,
                   bool capture);

// Starts `coroutine` as a task of that loop and runs it up to its first suspension. Returns the
// task. Thread: owner, outside any task. GIL: held.
pybind11::object start_task(pybind11::handle coroutine);

} // namespace orthanc_async::runtime
