# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: modules, paths, processes and threads."""

import concurrent.futures
import json
import multiprocessing
import os
import pickle
import sys
import threading

import orthanc


def double(x):
    return 2 * x


def nap(_):
    threading.Event().wait(600)


class Point:
    def __init__(self, x):
        self.x = x


# As the samples do: at import, without a guard.
pool = multiprocessing.Pool(2)
at_import = pool.map(double, range(5))
executor = concurrent.futures.ProcessPoolExecutor(1)
process = multiprocessing.Process(target=nap, args=(0,), daemon=True)
process.start()
queue = multiprocessing.Queue()
busy = pool.apply_async(nap, (0,))

import helper  # noqa: E402
import helpers.inner  # noqa: E402
import on_pythonpath  # noqa: E402

import_facts = {
    "name": __name__,
    "file": __file__,
    "helper": [helper.WHERE, helper.__file__, helpers.inner.WHERE],
    "pythonpath": on_pythonpath.VALUE,
    "cwd": os.getcwd(),
    "relative": open("relative.txt").read(),
    "argv": sys.argv,
    "unbuffered": sys.flags.unbuffered,
    "in modules": sys.modules.get(__name__) is not None,
    "folder first": sys.path.index(os.getcwd()) < sys.path.index(os.environ["PYTHONPATH"]),
    "main": threading.current_thread() is threading.main_thread(),
    "version": len(orthanc.GenerateUuid()),
    "configuration": json.loads(orthanc.GetConfiguration())["PythonScript"],
    "dictionary": orthanc.LookupDictionary("PatientID").Element
    if hasattr(orthanc.LookupDictionary("PatientID"), "Element")
    else None,
}

from_threads, sdk_started = [], threading.Event()


def use_sdk_while_loading():
    from_threads.append(len(orthanc.GenerateUuid()))
    orthanc.LogInfo("while loading")


loader = threading.Thread(target=use_sdk_while_loading)
loader.start()
loader.join()


def processes(method):
    """Start processes in a callback, of each kind."""
    context = multiprocessing.get_context(method)
    with context.Pool(1) as own:
        fresh = own.map(double, [4, 5])
    child = context.Process(target=sys.exit, args=(3,))
    child.start()
    child.join()
    pipe = context.Process(target=queue.put, args=("through a queue",))
    pipe.start()
    got = queue.get(timeout=30)
    pipe.join()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, b"forked")
        os._exit(4)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    return {
        "fresh": fresh,
        "exit": child.exitcode,
        "queue": got,
        "fork": [text, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])],
        "old pool": pool.map(double, [21]),
        "executor": executor.submit(double, 4).result(20),
    }


def facts(output, uri, **request):
    point = pickle.loads(pickle.dumps(Point(4)))
    output.AnswerBuffer(
        json.dumps(
            {
                **import_facts,
                "at import": at_import,
                "start method": multiprocessing.get_start_method(),
                "from threads": from_threads,
                "point": [type(point).__module__, point.x],
                "in a route": processes("fork"),
                "elsewhere": elsewhere,
            }
        ),
        "application/json",
    )


elsewhere = {}


def change(change_type, level, resource):
    if change_type == orthanc.ChangeType.ORTHANC_STARTED:
        elsewhere["change"] = processes("fork")


def stored(dicom, instance):
    elsewhere["stored"] = processes("fork")


orthanc.RegisterOnChangeCallback(change)
orthanc.RegisterOnStoredInstanceCallback(stored)
orthanc.RegisterRestCallback("/facts", facts)
print("printed without a flush")
sys.path = [os.getcwd()]
