# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""Every kind of handler, hook and task, written with plain asyncio and with anyio."""

import asyncio
import json
import os

import anyio
import orthanc
from anyio import from_thread, to_thread
from orthanc_async import (
    background,
    every,
    on_change,
    on_shutdown,
    on_startup,
    on_stored_instance,
    rest,
)

results = {}
ENDLESS = os.environ["ENDLESS"].split()


async def version():
    return json.loads(await orthanc.rest_api_get("/system"))["ApiVersion"]


async def with_asyncio():
    done = []
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(version()) for _ in range(3)]
    done.append(all(task.result() for task in tasks))
    done.append(all(await asyncio.gather(version(), asyncio.to_thread(lambda: 1))))
    done.append(await asyncio.shield(version()) > 0)
    try:
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    except TimeoutError:
        done.append(True)
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.01)
    except TimeoutError:
        done.append(True)
    return done


async def with_anyio():
    done = []
    send, receive = anyio.create_memory_object_stream(3)

    async def child(*, task_status=anyio.TASK_STATUS_IGNORED):
        task_status.started()
        await send.send(await version())

    async with anyio.create_task_group() as group:
        await group.start(child)
        group.start_soon(child)
        done.append(await receive.receive() > 0)
        done.append(await receive.receive() > 0)
        group.start_soon(anyio.sleep_forever)
        group.cancel_scope.cancel()
    with anyio.CancelScope(shield=True), send, receive:
        done.append(await to_thread.run_sync(from_thread.run, version) > 0)
    try:
        with anyio.fail_after(0.01):
            await anyio.sleep_forever()
    except TimeoutError:
        done.append(True)
    with anyio.move_on_after(0.01) as scope:
        await anyio.sleep_forever()
    done.append(scope.cancelled_caught)
    return done


async def endless_asyncio(name):
    try:
        async with asyncio.timeout(3600), asyncio.TaskGroup() as group:
            print(f"begun {name} asyncio")
            group.create_task(asyncio.Event().wait())
            await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        await asyncio.gather(version(), asyncio.sleep(0.001))
        print(f"closed {name} asyncio")


async def endless_anyio(name):
    try:
        with anyio.move_on_after(3600):
            async with anyio.create_task_group() as group:
                print(f"begun {name} anyio")
                group.start_soon(anyio.sleep_forever)
                await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0)
            await version()
            print(f"closed {name} anyio")


def declare(name):
    """Give a handler for each library."""
    for library, endless in ((with_asyncio, endless_asyncio), (with_anyio, endless_anyio)):

        async def handler(*_, library=library, endless=endless, **__):
            if name in ENDLESS:
                await endless(name)
            results[f"{name} {library.__name__}"] = found = await library()
            if name == "stop":
                print(library.__name__, "at the stop", all(found), len(found))

        yield handler


for handler in declare("SDK_route"):

    async def route(output, uri, handler=handler, **request):
        await handler()
        output.AnswerBuffer(b"{}", "application/json")

    orthanc.RegisterRestCallback("/sdk/" + handler.__kwdefaults__["library"].__name__, route)

for handler in declare("decorated_route"):

    async def decorated(request, handler=handler):
        await handler()
        return {}

    rest.get("/decorated/" + handler.__kwdefaults__["library"].__name__)(decorated)

for handler in declare("change"):
    on_change(orthanc.ChangeType.NEW_INSTANCE)(handler)

for handler in declare("stored"):
    on_stored_instance(handler)

for handler in declare("start"):
    on_startup(handler)

for handler in declare("stop"):
    on_shutdown(handler)

for handler in declare("background"):
    background(handler())

for handler in declare("interval"):
    every(0.2, immediately=True)(handler)


if "stop" not in ENDLESS:

    @on_shutdown
    def in_thread():
        # A `def` hook reaches the loop in both ways.
        assert from_thread.run(version) > 0


@rest.get("/results")
async def get_results(request):
    return results
