"""Worker processes: what they run, how they die, and that nothing of them remains."""

from __future__ import annotations

import builtins
import functools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tiledag_widget.errors import ForkedError, NotPicklable, RemoteError, StoppedError, WorkerDied
from tiledag_widget.run.worker_main import current_node
from tiledag_widget.run.workers import End, Outcome, ProcessWorkers, Worker
from tiledag_widget.wire import pickles

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).resolve().parent.parent.parent
OWN_PID = os.getpid()

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no worker processes on Windows")


class Bench:
    """A set of workers and short words for what tests do with it."""

    def __init__(self, workers: ProcessWorkers) -> None:
        self.workers = workers

    def outcome(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Outcome:
        parcel = pickles.dumps_call("node", function, args, kwargs)
        worker = self.workers.lease()
        try:
            return worker.call("node", parcel)
        finally:
            self.workers.release(worker)

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.outcome(function, *args, **kwargs).result()


class Running:
    """A call that runs in a worker, made by a thread; entered when the function has begun."""

    def __init__(self, bench: Bench, folder: Path, name: str = "running", *, then: str = "sleep") -> None:
        self._begun = folder / f"{name}.begun"
        self.may_end = folder / f"{name}.end"
        self._function = functools.partial(_wait_for_file, str(self._begun), str(self.may_end), then)
        self._bench = bench
        self._thread = threading.Thread(target=self._call)
        self.ended: Outcome | None = None
        self.worker: Worker = bench.workers.lease()

    def _call(self) -> None:
        self.ended = self.worker.call("running", pickles.dumps_call("running", self._function, (), {}))
        self._bench.workers.release(self.worker)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(self._begun.exists)
        return self

    def __exit__(self, *exception: object) -> None:
        self.may_end.touch()
        self._thread.join(10)

    def join(self) -> Outcome:
        self._thread.join(10)
        assert self.ended is not None
        return self.ended


def _wait_for_file(begun: str, may_end: str, then: str) -> int:
    Path(begun).touch()
    while not os.path.exists(may_end):
        time.sleep(0.005)
    return os.getpid()


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.fixture
def bench() -> Iterator[Bench]:
    workers = ProcessWorkers()
    yield Bench(workers)
    workers.shutdown(deadline=0)
    assert workers.statistics()["processes"] == 0


def cell(source: str) -> dict[str, Any]:
    """Names as a notebook cell defines them."""
    names: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
    exec(textwrap.dedent(source), names)
    return names


def script(folder: Path, source: str, **options: Any) -> subprocess.Popen[str]:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(source))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


# --- calls --------------------------------------------------------------------------------------------------


def test_functions_of_every_kind_run(bench: Bench) -> None:
    step = 2
    names = cell("def twice(x):\n    return factor * x\nfactor = 2\n")

    assert bench.run(pow, 2, 5) == 32
    assert bench.run(lambda x: x + step, 1) == 3
    assert bench.run(names["twice"], 4) == 8
    assert bench.run(functools.partial(pow, 3), 2) == 9
    assert bench.run("-".join, ["a", "b"]) == "a-b"
    assert bench.workers.statistics() == {"processes": 1, "leased": 0, "idle": 1, "started": 1, "died": 0}


def test_functions_of_a_cell_that_ran_again_are_the_new_ones(bench: Bench) -> None:
    names = cell("class A:\n    x = 1\ndef f():\n    return A.x\n")
    first = bench.run(names["f"])
    exec("class A:\n    x = 2\n", names)

    assert (first, bench.run(names["f"])) == (1, 2)


def test_objects_and_exceptions_of_a_cell_come_back_as_what_they_are(bench: Bench) -> None:
    """`except MyError` in the notebook must catch what a process raised."""
    names = cell(
        """
        class MyError(Exception):
            def __init__(self, *, code):
                super().__init__(f"code {code}")
                self.code = code
        class Point:
            def where(self):
                return here
        here = "notebook"
        def fails():
            raise MyError(code=3)
        """
    )
    point_class, where = names["Point"], names["Point"].where

    point = bench.run(lambda point: point, names["Point"]())
    error = bench.outcome(names["fails"]).exception()

    assert type(point) is point_class
    assert point_class.where is where
    assert isinstance(error, names["MyError"])
    assert error.code == 3
    assert "in fails" in pickles.traceback_text_of(error)


def test_big_things_go_there_and_back(bench: Bench) -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(1_000_000)

    assert bench.run(len, list(range(10**6))) == 10**6
    back = bench.run(lambda x: x + 1, array)

    assert back[0] == 1
    back[0] = 5  # it is ours to change
    assert bench.run(len, "x" * 300_000) == 300_000
    assert len(bench.run(lambda: ["y"] * 100_000)) == 100_000


def test_the_name_of_the_node_is_known_where_its_function_runs(bench: Bench) -> None:
    assert bench.run(current_node) == "node"
    assert current_node() is None


def test_a_worker_takes_over_directory_path_environment_and_arguments(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the notebook must import, and a changed directory or variable be seen, as in a thread."""

    def surroundings() -> tuple[str, str, str | None, str | None, list[str]]:
        return os.getcwd(), sys.path[0], os.environ.get("NEW"), os.environ.get("OLD"), sys.argv

    monkeypatch.setenv("OLD", "x")
    bench.run(surroundings)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("NEW", "1")
    monkeypatch.delenv("OLD")
    monkeypatch.setattr(sys, "argv", ["me"])
    (tmp_path / "beside_the_notebook.py").write_text("def f():\n    return 7\n")
    import beside_the_notebook  # type: ignore[import-not-found]  # made above

    assert bench.run(surroundings) == (str(tmp_path), str(tmp_path), "1", None, ["me"])
    assert bench.run(beside_the_notebook.f) == 7
    del sys.modules["beside_the_notebook"]
    assert bench.workers.statistics()["started"] == 1


def test_the_directory_may_be_gone(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    if subprocess.run([sys.executable, "-c", "import socket"], capture_output=True).returncode:
        pytest.skip("this Python itself cannot import in a directory that is gone, as 3.13.0")

    assert bench.run(pow, 2, 3) == 8


def test_a_node_that_forks_answers_once(bench: Bench) -> None:
    def fork() -> int:
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return child

    assert bench.run(fork) > 0
    assert bench.run(pow, 2, 3) == 8


def test_a_node_may_start_processes_and_use_signals(bench: Bench) -> None:
    def use_both() -> str:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        return subprocess.run(["echo", "hello"], capture_output=True, text=True, check=True).stdout

    assert bench.run(use_both) == "hello\n"


@pytest.mark.parametrize(
    "error",
    [
        SystemExit(3),
        KeyboardInterrupt(),
        GeneratorExit(),
        StopIteration(),
        RecursionError("deep"),
        MemoryError(),
        BaseException("own"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_function_raises_is_an_outcome_and_no_death(bench: Bench, error: BaseException) -> None:
    def raises() -> None:
        raise error

    outcome = bench.outcome(raises)

    assert outcome.end is End.ERROR
    assert type(outcome.exception()) is type(error)
    assert bench.run(pow, 2, 3) == 8
    assert bench.workers.statistics()["started"] == 1


def test_endless_recursion_is_an_outcome(bench: Bench) -> None:
    def again(x: int) -> int:
        return again(x + 1)

    assert isinstance(bench.outcome(again, 0).exception(), RecursionError)


# --- D1: {raise, exit, crash} x {pickle task, unpickle task, run, pickle result, unpickle result} ------------------


def _raise() -> None:
    raise ValueError("boom")


def _exit() -> None:
    sys.exit(3)


def _crash() -> None:
    os._exit(3)


def _segfault() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


HARM = {"raise": _raise, "exit": _exit, "crash": _crash, "segfault": _segfault}


class HarmsWhenPickled:
    def __init__(self, harm: Callable[[], None]) -> None:
        self.harm = harm

    def __reduce__(self) -> tuple[Any, ...]:
        self.harm()
        raise AssertionError


class HarmsWhenLoaded:
    def __init__(self, harm: Callable[[], None]) -> None:
        self.harm = harm

    def __reduce__(self) -> tuple[Any, ...]:
        return self.harm, ()


STAGES: dict[str, tuple[Callable[[Bench, Callable[[], None]], Outcome], str]] = {
    "unpickle task": (
        lambda bench, harm: bench.outcome(repr, HarmsWhenLoaded(harm)),
        "the call could not be unpickled in the worker process",
    ),
    "run": (lambda bench, harm: bench.outcome(harm), ""),
    "pickle result": (
        lambda bench, harm: bench.outcome(lambda: [HarmsWhenPickled(harm)]),
        "result[0] cannot be sent back from a process",
    ),
    "unpickle result": (
        lambda bench, harm: bench.outcome(lambda: [HarmsWhenLoaded(harm)]),
        "the result could not be unpickled",
    ),
}


@pytest.mark.parametrize("stage", list(STAGES))
def test_harm_at_any_stage_fails_its_own_call_with_the_stage(bench: Bench, tmp_path: Path, stage: str) -> None:
    harm_at(bench, tmp_path, stage)


def harm_at(bench: Bench, folder: Path, stage: str) -> None:
    call, words = STAGES[stage]

    with Running(bench, folder) as sibling:
        errors = {harm: call(bench, function).exception() for harm, function in HARM.items()}

    for harm, exitcode in {"crash": 3, "segfault": -signal.SIGSEGV}.items():
        death = errors[harm]
        assert isinstance(death, WorkerDied)
        assert death.exitcode == exitcode
        assert "worker died: " in str(death)
    for harm, kind, text in [("raise", ValueError, "boom"), ("exit", SystemExit, "SystemExit: 3")]:
        error = errors[harm]
        assert isinstance(error, kind if stage == "run" else NotPicklable)
        assert stage == "run" or (words in str(error) and text in str(error))
    assert sibling.join().end is End.VALUE
    assert bench.run(pow, 2, 3) == 8


@pytest.mark.parametrize("harm", ["raise", "exit"])
def test_harm_while_the_task_is_pickled_fails_before_a_worker_is_asked(bench: Bench, harm: str) -> None:
    with pytest.raises(NotPicklable, match=r"Node 'node': args\[0\] cannot be sent to a process"):
        bench.outcome(repr, HarmsWhenPickled(HARM[harm]))

    assert bench.workers.statistics()["started"] == 0


def test_a_crash_while_the_task_is_pickled_ends_the_user_s_process_and_leaves_no_orphan(tmp_path: Path) -> None:
    """Pickling runs in the user's process; if user code ends that, the workers must end with it."""
    child = script(
        tmp_path,
        """
        import os
        from tiledag_widget.run.workers import shared_workers
        from tiledag_widget.wire import pickles
        class Crashes:
            def __reduce__(self):
                os._exit(3)
        worker = shared_workers().lease()
        print(worker.call("a", pickles.dumps_call("a", os.getpid, (), {})).result(), flush=True)
        pickles.dumps_call("b", repr, (Crashes(),), {})
        """,
    )
    out, _ = child.communicate(timeout=10)

    assert child.returncode == 3
    wait_until(lambda: is_gone(int(out)), 2)


def test_a_result_that_does_harm_only_here_fails_its_node_only(bench: Bench) -> None:
    names = cell(
        """
        import os
        class Late:
            def __reduce__(self):
                return harm, (os.getpid(),)
        def harm(worker):
            if os.getpid() != worker:
                raise SystemExit(4)
        def make():
            return Late()
        """
    )

    with pytest.raises(NotPicklable, match="the result could not be unpickled: SystemExit: 4"):
        bench.run(names["make"])


class HoldsALock(Exception):
    def __init__(self) -> None:
        super().__init__("held")
        self.lock = threading.Lock()


def test_an_exception_that_cannot_come_arrives_as_text(bench: Bench) -> None:
    def fails() -> None:
        raise HoldsALock

    error = bench.outcome(fails).exception()

    assert isinstance(error, RemoteError)
    assert str(error).endswith("HoldsALock: held")
    assert "in fails" in error.traceback_text


# --- death and killing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_worker_that_is_killed_from_outside_fails_its_own_call_only(
    bench: Bench, tmp_path: Path, how: signal.Signals
) -> None:
    with Running(bench, tmp_path, "victim") as victim, Running(bench, tmp_path, "sibling") as sibling:
        os.kill(victim.worker.pid, how)
        error = victim.join().exception()

    assert isinstance(error, WorkerDied)
    assert error.exitcode == -how
    assert f"worker died: signal {int(how)} ({how.name})" in str(error)
    assert sibling.join().end is End.VALUE
    assert bench.run(pow, 2, 3) == 8


def test_a_death_is_noticed_though_a_child_holds_the_connection(bench: Bench) -> None:
    """A node may fork, and die before its child does; the end of the connection alone would never come."""

    def fork_and_die() -> None:
        if os.fork() == 0:
            os.setsid()
            time.sleep(3)
            os._exit(0)
        os._exit(7)

    started = time.monotonic()

    outcome = bench.outcome(fork_and_die)

    assert (outcome.end, outcome.exitcode) == (End.DIED, 7)
    assert time.monotonic() - started < 2


def test_kill_ends_the_call_at_once_and_what_it_started(bench: Bench, tmp_path: Path) -> None:
    def start_and_wait(file: str) -> None:
        child = subprocess.Popen(["sleep", "60"])
        Path(file + ".new").write_text(str(child.pid))
        os.rename(file + ".new", file)
        child.wait()

    file = tmp_path / "pid"
    worker = bench.workers.lease()
    ended: list[Outcome] = []
    parcel = pickles.dumps_call("node", start_and_wait, (str(file),), {})
    thread = threading.Thread(target=lambda: ended.append(worker.call("node", parcel)))
    thread.start()
    wait_until(file.exists)

    worker.kill()
    thread.join(2)
    bench.workers.release(worker)

    assert ended[0].end is End.KILLED
    assert isinstance(ended[0].exception(), StoppedError)
    wait_until(lambda: is_gone(int(file.read_text())), 2)
    assert bench.run(pow, 2, 3) == 8


def test_kill_works_while_the_function_holds_the_interpreter(bench: Bench) -> None:
    def hold() -> None:
        import re

        re.match(r"(a+)+b", "a" * 60)

    worker = bench.workers.lease()
    timer = threading.Timer(0.05, worker.kill)
    timer.start()

    outcome = worker.call("node", pickles.dumps_call("node", hold, (), {}))

    bench.workers.release(worker)
    assert outcome.end is End.KILLED


def test_kill_after_the_release_does_nothing(bench: Bench) -> None:
    """The process may run somebody else's call by then."""
    worker = bench.workers.lease()
    worker.call("node", pickles.dumps_call("node", pow, (2, 3), {}))
    bench.workers.release(worker)
    second = bench.workers.lease()

    worker.kill()

    assert second.pid == worker.pid
    assert second.call("node", pickles.dumps_call("node", pow, (2, 3), {})).result() == 8
    bench.workers.release(second)
    bench.workers.release(second)  # twice is once
    assert bench.workers.statistics()["idle"] == 1


def test_kill_before_the_call_ends_it(bench: Bench) -> None:
    worker = bench.workers.lease()

    worker.kill()
    outcome = worker.call("node", pickles.dumps_call("node", pow, (2, 3), {}))

    bench.workers.release(worker)
    assert outcome.end is End.KILLED


def test_an_idle_worker_that_died_is_not_given_out(bench: Bench) -> None:
    pid = bench.run(os.getpid)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)

    assert bench.run(os.getpid) != pid
    assert bench.workers.statistics()["died"] == 1


def test_a_worker_that_cannot_start_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", b"/nowhere/python")

    with pytest.raises(WorkerDied, match=r"no worker process could be started: .*/nowhere/python"):
        bench.run(pow, 2, 3)


def test_a_worker_that_dies_while_it_starts_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.spawn._python_exe", b"/bin/false")

    with pytest.raises(WorkerDied, match="worker died before it was ready"):
        bench.run(pow, 2, 3)


# --- life ---------------------------------------------------------------------------------------------------


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_workers_end_some_time_after_their_last_use_and_so_does_their_thread() -> None:
    workers = ProcessWorkers(idle_seconds=0.05)
    bench = Bench(workers)

    pid = bench.run(os.getpid)

    wait_until(lambda: workers.statistics()["processes"] == 0)
    wait_until(lambda: is_gone(pid))
    wait_until(lambda: all(thread.name != "tiledag-idle-workers" for thread in threading.enumerate()))
    assert workers.statistics() == {"processes": 0, "leased": 0, "idle": 0, "started": 1, "died": 0}


def test_shutdown_waits_for_running_calls_and_can_be_called_twice(bench: Bench, tmp_path: Path) -> None:
    with Running(bench, tmp_path) as running:
        threading.Timer(0.05, running.may_end.touch).start()
        bench.workers.shutdown(deadline=5)
        outcome = running.join()

    assert outcome.end is End.VALUE
    assert bench.workers.statistics()["processes"] == 0
    bench.workers.shutdown()
    assert bench.run(pow, 2, 3) == 8  # and they start again


def test_shutdown_ends_running_calls_at_the_deadline(bench: Bench, tmp_path: Path) -> None:
    with Running(bench, tmp_path) as running:
        bench.workers.shutdown(deadline=0)
        outcome = running.join()

    assert outcome.end is End.KILLED
    assert bench.workers.statistics()["processes"] == 0


def test_no_descriptor_of_the_parent_or_of_a_sibling_is_inherited(bench: Bench, tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")

    def descriptors() -> list[str]:
        return sorted(
            os.readlink(f"/proc/self/fd/{number}")
            for number in range(3, 50)
            if os.path.exists(f"/proc/self/fd/{number}")
        )

    def inodes_of_this_process() -> set[str]:
        return {
            os.readlink(f"/proc/self/fd/{number}")
            for number in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{number}")
        }

    first, second = bench.workers.lease(), bench.workers.lease()
    seen = [worker.call("n", pickles.dumps_call("n", descriptors, (), {})).result() for worker in (first, second)]
    bench.workers.release(first)
    bench.workers.release(second)

    assert [len(each) for each in seen] == [2, 2]
    assert not set(seen[0]) & set(seen[1])
    assert not (set(seen[0]) | set(seen[1])) & inodes_of_this_process()


def test_what_a_node_prints_arrives_when_it_ends(tmp_path: Path) -> None:
    child = script(
        tmp_path,
        """
        from tiledag_widget.run.workers import shared_workers
        from tiledag_widget.wire import pickles
        worker = shared_workers().lease()
        worker.call("a", pickles.dumps_call("a", lambda: print("from the node"), (), {})).result()
        print("after", flush=True)
        """,
    )
    out, errors = child.communicate(timeout=10)

    assert out == "from the node\nafter\n"
    assert errors == ""


def test_a_script_without_a_main_guard_works(tmp_path: Path) -> None:
    """With spawn it would start itself again and again."""
    child = script(
        tmp_path,
        """
        from tiledag_widget.run.workers import shared_workers
        from tiledag_widget.wire import pickles
        class Point:
            pass
        def make():
            return Point()
        workers = shared_workers()
        worker = workers.lease()
        point = worker.call("a", pickles.dumps_call("a", make, (), {})).result()
        workers.release(worker)
        print("once", type(point) is Point)
        """,
    )
    out, errors = child.communicate(timeout=10)

    assert (out, errors, child.returncode) == ("once True\n", "", 0)


END_OF_SCRIPT = {
    "falls off the end": ("pass", 0),
    "sys.exit": ("sys.exit(5)", 5),
    "os._exit": ("os._exit(6)", 6),
    "exception": ("raise ValueError('mine')", 1),
    "SIGTERM": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
}


@pytest.mark.parametrize(
    "holds_interpreter",
    [pytest.param(False, id="sleeping"), pytest.param(True, id="holding the interpreter", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("end", list(END_OF_SCRIPT))
def test_a_script_that_ends_while_a_call_runs_leaves_nothing(tmp_path: Path, end: str, holds_interpreter: bool) -> None:
    """An orphan would hold the pipe, and whoever reads it would wait for ever."""
    source, code = END_OF_SCRIPT[end]
    body = "import re; re.match(r'(a+)+b', 'a' * 60)" if holds_interpreter else "time.sleep(60)"
    child = script(
        tmp_path,
        f"""
        import os, signal, sys, threading, time
        from tiledag_widget.run.workers import shared_workers
        from tiledag_widget.wire import pickles
        def work():
            print(os.getpid(), flush=True)
            {body}
        worker = shared_workers().lease()
        call = pickles.dumps_call("a", work, (), {{}})
        threading.Thread(target=worker.call, args=("a", call), daemon=True).start()
        sys.stdin.readline()
        {source}
        """,
        stdin=subprocess.PIPE,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    pid = int(child.stdout.readline())
    started = time.monotonic()
    child.stdin.write("end\n")
    child.stdin.flush()

    _, errors = child.communicate(timeout=10)  # returns at the end of the pipes, which a worker would hold open

    assert child.returncode == code
    assert time.monotonic() - started < 5
    wait_until(lambda: is_gone(pid), 1)
    assert "tiledag" not in errors
    assert ("mine" in errors) == (end == "exception")


def test_an_interrupt_to_the_whole_process_group_leaves_workers_alone(tmp_path: Path) -> None:
    """Jupyter interrupts a kernel so; the node that runs must not be what ends."""
    child = script(
        tmp_path,
        """
        import os, signal, threading, time
        from tiledag_widget.run.workers import shared_workers
        from tiledag_widget.wire import pickles
        def work(pid):
            os.killpg(os.getpgid(pid), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
            return "unharmed"
        worker = shared_workers().lease()
        outcomes = []
        call = pickles.dumps_call("a", work, (os.getpid(),), {})
        thread = threading.Thread(target=lambda: outcomes.append(worker.call("a", call)))
        thread.start()
        try:
            while not outcomes:
                time.sleep(0.01)
            print("no interrupt")
        except KeyboardInterrupt:
            print("interrupted")
        while not outcomes:  # an interrupted join() forgets the thread
            time.sleep(0.01)
        print(outcomes[0].result())
        """,
        start_new_session=True,
    )
    out, errors = child.communicate(timeout=10)

    assert (out, errors) == ("interrupted\nunharmed\n", "")


def test_an_interrupted_call_does_not_spoil_the_next(tmp_path: Path) -> None:
    """A call from the main thread that Ctrl+C leaves: its late answer must not be taken for another's."""
    child = script(
        tmp_path,
        """
        import os, signal, time
        from tiledag_widget.run.workers import shared_workers
        from tiledag_widget.wire import pickles
        def work(pid):
            os.kill(pid, signal.SIGINT)
            time.sleep(0.2)
        workers = shared_workers()
        worker = workers.lease()
        try:
            worker.call("a", pickles.dumps_call("a", work, (os.getpid(),), {}))
        except KeyboardInterrupt:
            print("interrupted")
        finally:
            workers.release(worker)
        worker = workers.lease()
        print(worker.call("b", pickles.dumps_call("b", pow, (2, 3), {})).result())
        """,
    )
    out, errors = child.communicate(timeout=10)

    assert (out, errors) == ("interrupted\n8\n", "")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own(bench: Bench) -> None:
    """Two processes that write to one worker would get each other's results."""
    worker = bench.workers.lease()
    worker.call("n", pickles.dumps_call("n", pow, (2, 3), {}))
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        said = "nothing"
        try:
            before = bench.workers.statistics()["processes"]
            try:
                worker.call("n", pickles.dumps_call("n", pow, (2, 3), {}))
            except ForkedError:
                worker.kill()
                said = f"refused {before} {bench.run(pow, 2, 4)}"
            bench.workers.shutdown(deadline=0)
        except BaseException as error:
            said = repr(error)
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.waitpid(child, 0)

    os.close(write)
    with open(read) as pipe:
        assert pipe.read() == "refused 0 16"
    assert worker.call("n", pickles.dumps_call("n", pow, (2, 3), {})).result() == 8
    bench.workers.release(worker)


@pytest.mark.slow
def test_many_threads_and_random_deaths(bench: Bench) -> None:
    """D4 and D5 small: every call ends as it should, whatever happens to its siblings."""
    wrong: list[object] = []

    def serve(seed: int) -> None:
        for turn in range(20):
            dies = (seed * 31 + turn * 17) % 5 == 0
            outcome = bench.outcome(_segfault) if dies else bench.outcome(pow, seed, 2)
            if dies and outcome.end is not End.DIED:
                wrong.append(outcome)
            if not dies and outcome.result() != seed**2:
                wrong.append(outcome)

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert bench.workers.statistics()["leased"] == 0


@pytest.mark.slow
def test_random_kills_never_hit_a_sibling(bench: Bench) -> None:
    """A kill races with the end of its call and the next lease of the same process."""
    wrong: list[object] = []

    def serve(seed: int) -> None:
        for turn in range(30):
            worker = bench.workers.lease()
            killer = threading.Timer(turn % 7 * 0.0005, worker.kill)
            if seed % 2:
                killer.start()
            outcome = worker.call("n", pickles.dumps_call("n", time.sleep, (0.001,), {}))
            bench.workers.release(worker)
            if outcome.end is End.DIED or (seed % 2 == 0 and outcome.end is not End.VALUE):
                wrong.append(outcome)
            if seed % 2:
                killer.join()

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
