"""The second node of a pair: objects there are used as if they were here, so the real drivers run where they belong.

Our end starts `serve` there by ssh; each side sends pickles with their length before them. Nothing that
a test waits for or stops crosses: an Event arrives as a fresh one.
"""

import atexit
import functools
import importlib
import io
import os
import pickle
import shlex
import struct
import subprocess
import sys
import threading

from ganeti import errors


class Far:
    """A process on another node that makes objects and calls them; one call at a time."""

    def __init__(self, host):
        variables = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")} | {
            name: value for name, value in os.environ.items() if name.startswith("LIVE_")
        }
        inner = ("env", "-C", os.getcwd(), *(f"{name}={value}" for name, value in variables.items()))
        command = shlex.join((*inner, sys.executable, "-c", "from driver import far; far.serve()"))
        self._process = subprocess.Popen(
            ("ssh", "-o", "BatchMode=yes", host, command), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def make(self, maker, *args):
        """What `module:name` there returns, to be called as if it were here, and its attributes too."""
        return There(self, self.ask(("make", maker, args)), ())

    def ask(self, request):
        _send(self._process.stdin, request)
        is_good, answer = _receive(self._process.stdout)
        if is_good:
            return answer
        raise answer

    def end(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)


@functools.cache
def node(host):
    """One process for all tests: its start takes as long as a test."""
    made = Far(host)
    atexit.register(made.end)
    return made


class There:
    def __init__(self, far, number, path):
        self._far, self._number, self._path = far, number, path

    def __getattr__(self, name):
        return There(self._far, self._number, (*self._path, name))

    def __call__(self, *args, **more):
        return self._far.ask(("call", self._number, self._path, args, more))


class _Pickler(pickle.Pickler):
    def reducer_override(self, value):
        if isinstance(value, threading.Event):
            return threading.Event, ()
        if isinstance(value, errors.GanetiError):
            # their constructors take more than `args` says
            return _rebuilt, (type(value), value.args, vars(value))
        return NotImplemented


def _rebuilt(kind, args, state):
    made = kind.__new__(kind, *args)
    vars(made).update(state)
    return made


def _send(stream, value):
    buffer = io.BytesIO()
    _Pickler(buffer).dump(value)
    stream.write(struct.pack("!I", buffer.tell()) + buffer.getvalue())
    stream.flush()


def _receive(stream):
    head = stream.read(4)
    if len(head) < 4:
        raise EOFError("the other node's process has ended")
    return pickle.loads(stream.read(struct.unpack("!I", head)[0]))


def serve():
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into the replies
    made = []
    while True:
        try:
            kind, *rest = _receive(requests)
        except EOFError:
            return
        try:
            if kind == "make":
                (module, _, name), args = rest[0].partition(":"), rest[1]
                made.append(getattr(importlib.import_module(module), name)(*args))
                answer = len(made) - 1
            else:
                number, path, args, more = rest
                target = made[number]
                for name in path:
                    target = getattr(target, name)
                answer = target(*args, **more)
            reply = (True, answer)
        except Exception as err:  # noqa: BLE001 - whatever it is, the test there shall fail with it
            reply = (False, err)
        _send(replies, reply)
