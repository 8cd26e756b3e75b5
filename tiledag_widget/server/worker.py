"""What runs in a worker process of the server: unpack a task, call, capture what it prints, pack the result.

The server process never opens what a client sent or a function returned. A task therefore ends as files in its own
folder: `result` (the value, or the pickled exception), `output` (what was printed, from Python and from C) and
`reply.json` (plain texts about the end).
"""

from __future__ import annotations

import errno
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..run import worker_streams
from ..run.arguments import replace, replace_stored_params
from ..wire import codec, pickles
from ..wire.models import ArrayDetails, StoredParam, from_json
from . import batch_worker, worker_memory

__all__ = ["run_job", "warm_up"]

TEXT_LIMIT = 64 * 1024
ROOM_BYTES = 1 << 20
PICKLE_MIME = codec.MIME_OF["python_pickle"]


def warm_up() -> None:
    """Imports what the first task would wait for."""
    pickles.dumps_wire(run_job)


def run_job(text: str) -> None:
    """Runs one task to its end. Its outcome is in the files, whatever it is; raises only if they cannot be written."""
    job = json.loads(text)
    folder = Path(job["folder"])
    worker_memory.keep()
    with _captured(folder / "output"), _in_place():
        reply = _reply_of(job, folder)
    worker_memory.give_back()
    part = folder / "reply.part"
    part.write_text(json.dumps(reply))
    os.replace(part, folder / "reply.json")


def _reply_of(job: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    try:
        value = _KINDS[job["kind"]](job)
        name = job["result_format"]
        _write(folder / "result", codec.encode(value, name, job["name"]))
        return {"ok": True, "mime": codec.MIME_OF[name]}
    except BaseException as error:  # SystemExit is an outcome too; only the end of the process is a death
        return _reply_of_error(error, folder)


def _reply_of_error(error: BaseException, folder: Path) -> dict[str, Any]:
    kind = type(error).__qualname__
    if type(error).__module__ not in ("builtins", "__main__"):
        kind = f"{type(error).__module__}.{kind}"
    try:
        text = str(error)
    except BaseException:
        text = "(its text could not be had)"
    mime: str | None = PICKLE_MIME
    try:
        _write(folder / "result", _pickled(error, f"{kind}: {text}"))
    except OSError:
        mime = None
    return {
        "ok": False,
        "mime": mime,
        "error_type": kind,
        "message": _cut(f"{type(error).__name__}: {text}" if text else type(error).__name__),
        "traceback": _cut(pickles.traceback_text_of(error)),
    }


def _pickled(error: BaseException, text: str) -> bytes:
    """The exception in a form that both clients can load; it is tried here."""
    if type(error).__module__.partition(".")[0] == __package__.partition(".")[0]:  # TileDB's client has none of ours
        error = _builtin_of(error)(text.partition(": ")[2])
    try:
        data = pickles.dumps_wire(error)
        pickles.loads_wire(data)
    except BaseException:
        return pickles.dumps_wire(RuntimeError(_cut(text)))
    return data


def _builtin_of(error: BaseException) -> type[BaseException]:
    return next(cls for cls in type(error).__mro__ if cls.__module__ == "builtins")


def _write(path: Path, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            if len(data) > ROOM_BYTES:
                _make_room(file.fileno(), len(data))
            file.write(data)
    except OSError as error:
        path.unlink(missing_ok=True)  # a part of it is of no use, and others need the room
        raise OSError(error.errno, f"{error.strerror}: the result of {len(data):,} bytes cannot be kept") from error


def _make_room(file: int, size: int) -> None:
    """A disk without room for the result says so now, and is not filled up for others meanwhile."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, 0, size)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def _cut(text: str) -> str:
    text = text.encode("utf-8", "replace").decode()
    if len(text) <= TEXT_LIMIT:
        return text
    half = TEXT_LIMIT // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half:,} characters left out) ...\n{text[-half:]}"


# --- kinds of tasks -----------------------------------------------------------------------------------------


def _call_udf(job: Mapping[str, Any]) -> Any:
    function = codec.decode_function(job["exec"])
    args, kwargs = _arguments(job)
    stored = _Stored(job["stored"])
    args, kwargs = replace_stored_params((args, kwargs), stored)
    args, kwargs = replace((args, kwargs), ArrayDetails, _Arrays(job["array_uris"]).data_of)
    return function(*args, **kwargs)


def _arguments(job: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Positional arguments and those by name; in array calls without `arguments_json` the arrays stand first."""
    if job["arguments_json"] is not None:
        return codec.load_arguments(job["arguments_json"])
    args, kwargs = codec.load_old_argument(job["argument"]) if job["argument"] else ([], {})
    arrays = [from_json(ArrayDetails, details) for details in job["arrays"] or ()]
    if len(arrays) == 1:
        return [arrays[0], *args], kwargs
    return ([arrays, *args] if arrays else args), kwargs


def _run_query(job: Mapping[str, Any]) -> Any:
    from .sql import run

    return run(job)


def _read_natively(job: Mapping[str, Any]) -> Any:
    from .native import answer

    return answer(job)


_KINDS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "udf": _call_udf,
    "sql": _run_query,
    "native": _read_natively,
    **batch_worker.KINDS,
}


class _Stored:
    """Loads stored parameters from the files that the server has named; the same one gives the same object."""

    def __init__(self, files: Mapping[str, tuple[str, str]]) -> None:
        self._files = files
        self._loaded: dict[tuple[uuid.UUID, Any], Any] = {}

    def load(self, param: StoredParam) -> Any:
        key = (param.task_id, param.decoder)
        if key not in self._loaded:
            task = str(param.task_id)
            if task not in self._files:
                raise RuntimeError(f"RETRY_WITH_PARAMS: the result of task {task} is not stored here.")
            path, mime = self._files[task]
            self._loaded[key] = codec.decode_stored(Path(path).read_bytes(), mime, param.decoder)
        return self._loaded[key]


class _Arrays:
    """Reads arrays; the same details twice are read once."""

    def __init__(self, uris: Mapping[str, str]) -> None:
        self._uris = uris
        self._read: dict[ArrayDetails, Any] = {}

    def data_of(self, details: ArrayDetails) -> Any:
        from .arrays import read

        try:
            known = self._read.get(details)
        except TypeError:  # bounds that cannot be hashed
            return read(self._uris, details)
        if known is None:
            known = self._read[details] = read(self._uris, details)
        return known


@contextmanager
def _in_place() -> Iterator[None]:
    """Goes back to where the worker began: the next task may be anybody's, and the folder gone by then."""
    start = ""
    with suppress(OSError):  # that one may be gone, too
        start = os.getcwd()
    try:
        yield
    finally:
        with suppress(OSError):
            os.chdir(start or "/")


# --- what is printed ----------------------------------------------------------------------------------------


@contextmanager
def _captured(path: Path) -> Iterator[None]:
    """Sends standard output and error into a file, also of C code and of processes started inside.

    Each line is written when it ends: of a process that is killed, all whole lines are there.
    """
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    kept = [os.dup(1), os.dup(2)]
    streams = sys.stdout, sys.stderr
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    # New ones for each task: a function may close or replace its own.
    sys.stdout, sys.stderr = ours = worker_streams.new_streams()
    try:
        yield
    finally:
        for stream in {*streams, *ours, sys.stdout, sys.stderr}:
            try:
                stream.flush()
            except BaseException:  # closed, or replaced by something of the function's own
                pass
        worker_streams.flush()  # C's, too: what stands there without a line end would come into the next task's file
        sys.stdout, sys.stderr = streams
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
