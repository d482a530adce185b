# Written as authors of scripts write: without types.
# mypy: ignore-errors
"""A script in the official plugin's style: modules, paths, processes and threads."""

import concurrent.futures
import faulthandler
import json
import multiprocessing
import os
import pickle
import subprocess
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
    "unbuffered": sys.__stdout__.write_through,
    "in modules": sys.modules.get(__name__) is not None,
    "folder first": sys.path.index(os.getcwd()) < sys.path.index(os.environ["PYTHONPATH"]),
    "main": threading.current_thread() is threading.main_thread(),
    "uuid": len(orthanc.GenerateUuid()),
    "configuration": json.loads(orthanc.GetConfiguration())["PythonScript"],
}

from_threads = []


def use_sdk_while_loading():
    from_threads.append(len(orthanc.GenerateUuid()))
    orthanc.LogInfo("while loading")


loader = threading.Thread(target=use_sdk_while_loading)
loader.start()
loader.join()


def processes(method):
    """Start processes in a callback, of each kind."""
    context = multiprocessing.get_context(method)
    own = context.Pool(1)
    fresh = own.map(double, [4, 5])
    own.close()
    own.join()
    child = context.Process(target=os._exit, args=(3,))
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


def ends(output, uri, **request):
    """Tell how a process that calls sys.exit, and one that is terminated, end."""
    leaves = multiprocessing.Process(target=sys.exit, args=(3,))
    endless = multiprocessing.Process(target=nap, args=(0,))
    leaves.start()
    endless.start()
    leaves.join()
    endless.terminate()
    endless.join(1)
    found = [leaves.exitcode, endless.exitcode]
    endless.kill()
    output.AnswerBuffer(json.dumps(found), "application/json")


def streams(output, uri, **request):
    """Use stdout and stderr as scripts do."""
    for stream in (sys.stdout, sys.stderr):
        print("printed to", stream.name, file=stream)
        stream.write("written in %s " % "two")
        stream.write("parts\n")
        stream.writelines(["a line of %s\n" % stream.name])
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
        stream.buffer.write(b"bytes of ")
        stream.buffer.write(stream.name.encode() + b"\n")
        stream.buffer.flush()
        stream.flush()
    faulthandler.enable()
    faulthandler.disable()
    subprocess.run(["echo", "a child's words"], stdout=sys.stdout, stderr=sys.stderr, check=True)
    output.AnswerBuffer(
        json.dumps(
            [
                [stream.name, stream.encoding, stream.fileno(), stream.isatty(), stream.mode]
                for stream in (sys.stdout, sys.stderr)
            ]
        ),
        "application/json",
    )


def facts(output, uri, **request):
    point = pickle.loads(pickle.dumps(Point(4)))
    output.AnswerBuffer(
        json.dumps(
            {
                **import_facts,
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


def tell_elsewhere(output, uri, **request):
    output.AnswerBuffer(json.dumps(elsewhere), "application/json")


def change(change_type, level, resource):
    if change_type == orthanc.ChangeType.ORTHANC_STARTED:
        elsewhere["change"] = processes("fork")


def stored(dicom, instance):
    elsewhere["stored"] = processes("fork")


orthanc.RegisterOnChangeCallback(change)
orthanc.RegisterOnStoredInstanceCallback(stored)
orthanc.RegisterRestCallback("/facts", facts)
orthanc.RegisterRestCallback("/elsewhere", tell_elsewhere)
orthanc.RegisterRestCallback("/ends", ends)
orthanc.RegisterRestCallback("/streams", streams)
print("printed without a flush")
sys.path = [os.getcwd()]
