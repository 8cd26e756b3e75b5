"""What runs in a worker process: receive a call, run it, send the outcome; and the message form of both ends.

A message is a kind and buffers. Small ones go in one piece; a big buffer is received straight into its place.
The function runs in the main thread, so signals and event loops work in it as in a script.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading

from ..wire import pickles
from . import worker_streams

__all__ = ["CALL", "ERROR", "READY", "VALUE", "current_node", "receive", "run_call", "send"]

CALL, VALUE, ERROR = 1, 2, 3
READY = b"!"
"""The first byte of a worker, outside of all messages: from here on it is our code that answers."""

_HEAD = struct.Struct("!BI")
_TOGETHER = 256 * 1024
_PIECE = 64 * 1024
_MOST_BUFFERS = 1 << 24

_current_node: str | None = None


def current_node() -> str | None:
    """Name of the node whose function runs in this process now; None in a process that is no worker."""
    return _current_node


# --- messages -----------------------------------------------------------------------------------------------


def send(connection: socket.socket, kind: int, buffers: pickles.Parcel) -> None:
    """Sends one message. Raises OSError when the other end is gone."""
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    head = _HEAD.pack(kind, len(buffers)) + struct.pack(f"!{len(sizes)}Q", *sizes)
    if sum(sizes) <= _TOGETHER:
        connection.sendall(b"".join((head, *buffers)))
        return
    connection.sendall(head)
    for buffer in buffers:
        connection.sendall(buffer)


def receive(connection: socket.socket) -> tuple[int, list[bytes | bytearray]]:
    """Waits for one message. Raises EOFError when the other end is gone, also in the middle.

    A small message is one system call. Nothing can follow it in the same piece: both ends take turns.
    """
    piece = _some(connection, _PIECE)
    while len(piece) < _HEAD.size:
        piece += _some(connection, _HEAD.size - len(piece))
    kind, count = _HEAD.unpack_from(piece)
    start = _HEAD.size + 8 * count
    if count > _MOST_BUFFERS:
        raise EOFError("not a message: something else writes to this connection")
    while len(piece) < start:
        piece += _some(connection, start - len(piece))
    buffers: list[bytes | bytearray] = []
    for size in struct.unpack_from(f"!{count}Q", piece, _HEAD.size):
        if start + size <= len(piece):
            buffers.append(piece[start : start + size])
        else:
            buffers.append(_rest(connection, piece[start:], size))
        start += size
    return kind, buffers


def _some(connection: socket.socket, most: int) -> bytes:
    data = connection.recv(most)
    if not data:
        raise EOFError("the other end is gone")
    return data


def _rest(connection: socket.socket, beginning: bytes, size: int) -> bytearray:
    data = bytearray(size)
    data[: len(beginning)] = beginning
    view = memoryview(data)[len(beginning) :]
    while view:
        count = connection.recv_into(view)
        if not count:
            raise EOFError("the other end is gone")
        view = view[count:]
    return data


# --- the life of a worker -----------------------------------------------------------------------------------


def main(connection: socket.socket, lifeline: socket.socket) -> None:
    """Serves calls until the parent closes the connection or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with(lifeline)
    worker_streams.install(lambda: _current_node is not None)
    own_pid = os.getpid()
    try:
        connection.sendall(READY)
        while True:
            _, (surroundings, name, *parcel) = receive(connection)
            if surroundings:
                _adopt(surroundings)
            kind, reply = run_call(name.decode("utf-8", "surrogatepass"), parcel)
            del parcel
            worker_streams.flush()
            if os.getpid() != own_pid:
                os._exit(0)  # the node forked and its child came back here: only one may answer
            send(connection, kind, reply)
            del reply
    except (EOFError, OSError):
        return


def run_call(name: str, parcel: pickles.Parcel) -> tuple[int, pickles.Parcel]:
    """Runs one call of `pickles.dumps_call` in this process; `VALUE` or `ERROR`, and the reply.

    Never raises: SystemExit and KeyboardInterrupt are outcomes too. Used by our workers and, through executors of
    the user's, in processes of theirs.
    """
    global _current_node
    before, _current_node = _current_node, name
    try:
        function, args, kwargs = pickles.loads_call(name, parcel)
        del parcel
        result = function(*args, **kwargs)
        del function, args, kwargs  # pickling the result may need their room
        return VALUE, pickles.dumps_result(name, result)
    except BaseException as error:
        return ERROR, [pickles.capture_exception(error)]
    finally:
        _current_node = before


def _adopt(surroundings: bytes | bytearray) -> None:
    """Takes over what has changed in the parent: module path, arguments, working directory, environment."""
    news = json.loads(surroundings)
    sys.path[:] = news["path"]
    sys.argv[:] = news["argv"]
    try:
        os.chdir(news["directory"])
    except OSError:
        pass  # it is gone, or not ours to enter; relative names then fail in the node, where it is said
    for name, value in news["environment"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _end_with(lifeline: socket.socket) -> None:
    """Ends this process when the parent does, whatever it is doing.

    Linux: the kernel sends SIGKILL to the whole process group as soon as the other end closes. That needs no
    thread (user code may fork) and works while a function holds the interpreter. PR_SET_PDEATHSIG would not do:
    it fires when the *thread* that started the worker ends. Elsewhere a thread waits.
    """
    if not _is_killed_with(lifeline):
        threading.Thread(target=_wait_for_the_end, args=(lifeline,), name="tiledag-lifeline", daemon=True).start()


def _is_killed_with(lifeline: socket.socket) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl

    descriptor = lifeline.fileno()
    try:
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_ASYNC)
    except OSError:  # a system that only looks like Linux
        return False
    try:
        lifeline.recv(1, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    os._exit(1)  # it was closed before the signal was asked for


_F_SETSIG = 10  # of <fcntl.h>; not every Python names it


def _wait_for_the_end(lifeline: socket.socket) -> None:
    try:
        lifeline.recv(1)
    finally:
        os._exit(1)


def start(connection: int, lifeline: int) -> None:
    """Entry of the new interpreter on POSIX: both numbers are inherited descriptors."""
    ends = socket.socket(fileno=connection), socket.socket(fileno=lifeline)
    for end in ends:
        end.set_inheritable(False)  # what a node starts must not hold them open
    main(*ends)
