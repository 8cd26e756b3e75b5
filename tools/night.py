"""Runs one trial with one seed after another until the time is up: ``python -m tools.night TRIAL --seconds N``.

The last seed that passed is kept in ``build/night/TRIAL.json``; the next call goes on after it. A failure prints the
seed and the command that runs it again, and ends with 1; the next call then begins with that same seed. A seed that
takes far too long is a failure, with the stacks of all threads.

A trial is a function that takes a folder and gives, as a context, the function to call with each seed: what it needs
for all of them (a server, a list of samples) it makes on the way in, and what can only be said of all together it
checks on the way out. The tests under ``tests/`` call the same functions with a few seeds.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import json
import logging
import os
import shlex
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT_EVERY_S = 1.0
TOLD_EVERY_S = 60.0

Trial = Callable[[Path], AbstractContextManager[Callable[[int], None]]]


@dataclass(frozen=True)
class Entry:
    """A trial that can be named.

    Attributes:
        place: Module and function, imported when it is asked for.
        words: What it is about.
        patience: Seconds that one seed may take; after them it hangs.
    """

    place: str
    words: str
    patience: float = 120.0


TRIALS = {
    "A2": Entry("tests.core.test_machine:random_runs", "random graphs and events beside the oracle, 20 x 100 a seed"),
    "A3": Entry("tests.trials.test_a_batch:stories", "the batch scheduler with all faults, in virtual time"),
    "B1": Entry("tests.trials.test_b_driver:failures", "random graphs with failing nodes"),
    "B2": Entry("tests.trials.test_b_driver:retries", "retry loops, hasty and patient"),
    "B3": Entry("tests.trials.test_b_driver:cancels", "cancels at random moments, with retries"),
    "B4": Entry("tests.contract.test_executors:outcomes", "whatever a function raises or returns, on every executor"),
    "C1": Entry("tests.run.test_interrupts:moments", "an interrupt at any moment"),
    "C1R": Entry("tests.trials.test_c_calls:calls", "an interrupt in a call to the server"),
    "C2": Entry("tests.run.test_interrupts:many_signals", "twenty interrupts in a second"),
    "C3": Entry("tests.trials.test_c_kernels:interrupts", "a kernel interrupted while a cell waits"),
    "C4": Entry("tests.trials.test_c_kernels:ends", "a kernel killed or restarted in a run"),
    "C5": Entry("tests.server.test_trials_kill:deaths", "each of our processes killed in turn"),
    "D1": Entry("tests.trials.test_d_packing:harms", "harm at each stage of packing and unpacking"),
    "D2": Entry("tests.trials.test_d_packing:errors", "exceptions that do not unpickle"),
    "D4": Entry("tests.trials.test_d_packing:among_threads", "workers started while 20 threads hold locks"),
    "D5": Entry("tests.server.test_trials_kill:worker_deaths", "a worker killed in a node"),
    "E1": Entry("tests.trials.test_e_deaths:deaths", "1,000 nodes on dask workers that die every 4 s", 300),
    "E2": Entry("tests.trials.test_e_deaths:lives", "1,000 nodes on dask, each exactly once", 300),
    "E4": Entry("tests.trials.test_e_dask:troubles", "a dask cluster that dies, is not there, has no workers", 300),
    "E6": Entry("tests.trials.test_e_dask:no_signs", "nodes that hold the GIL; workers killed at birth", 300),
    "F1": Entry("tests.server.test_trials_kill:writers", "2 processes of 8 threads write, 8 read"),
    "F2": Entry("tests.server.test_trials_store:strangers", "a stranger holds the lock of the records"),
    "F3": Entry("tests.server.test_trials_kill:kills", "the server killed at a random moment of a run"),
    "F4": Entry("tests.server.test_trials_store:full_files", "files that cannot grow beyond some byte"),
    "F8": Entry("tests.trials.test_f_output:printers", "a hundred lines, then return, raise, exit or be killed"),
    "G1": Entry("tests.trials.test_g_schema:operations", "every operation as its document says, 10 a seed", 600),
    "G2": Entry("tests.trials.test_g_chains:chains", "chains of calls beside a model, 10 a seed"),
    "G4": Entry("tests.trials.test_g_rest:lost_replies", "a connection cut at a random byte of the reply"),
    "G5": Entry("tests.trials.test_g_rest:absences", "a server that is away, busy, slow"),
    "G6": Entry("tests.server.test_launch:mornings", "100 kernels start at once", 600),
    "G7": Entry("tests.server.test_launch:stops", "a stop while 100 clients follow a run"),
    "G8": Entry("tests.compat.test_random_graphs:both_clients", "random graphs by TileDB's client and ours", 600),
    "H5": Entry("tests.trials.test_h_security:mutated", "mutated bodies with a canary in them, 100 a seed"),
    "SQL": Entry("tests.server.test_sql_random:questions", "random queries over random arrays, beside plain Python"),
    "J1": Entry("tests.trials.test_j_endurance:endurance", "all kinds of graphs with faults; nothing grows", 600),
}


def trial_of(name: str) -> Trial:
    """The function of a trial."""
    module, _, attribute = TRIALS[name].place.partition(":")
    found: Trial = getattr(importlib.import_module(module), attribute)
    return found


class Book:
    """What is kept of a trial between two calls."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.last = -1
        self.passed = 0
        self.failed: int | None = None
        self._kept = -KEPT_EVERY_S
        if path.exists():
            try:
                read = json.loads(path.read_text())
                self.last, self.passed, self.failed = int(read["last"]), int(read["passed"]), read["failed"]
            except (ValueError, KeyError, TypeError) as error:
                raise SystemExit(f"{path} cannot be read ({error!r}): remove it to begin with seed 0") from error

    def add(self, seed: int) -> None:
        self.last, self.passed, self.failed = seed, self.passed + 1, None
        if time.monotonic() - self._kept >= KEPT_EVERY_S:
            self.keep()

    def keep(self) -> None:
        self._kept = time.monotonic()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"last": self.last, "passed": self.passed, "failed": self.failed}) + "\n")
        os.replace(part, self.path)


class Alarm:
    """Ends the process if one seed takes longer than its patience; nothing else could end a thread that hangs."""

    def __init__(self, patience: float, says: Callable[[], None]) -> None:
        self._patience, self._says = patience, says
        self._timer: threading.Timer | None = None

    def __enter__(self) -> None:
        self._timer = threading.Timer(self._patience, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _ring(self) -> None:
        faulthandler.dump_traceback()
        self._says()
        sys.stdout.flush()
        os._exit(1)


def run(
    name: str, trial: Trial, seconds: float, book: Book, *, only: int | None = None, patience: float = 120.0
) -> int:
    """Goes on with a trial for so long, or runs ``only`` one seed; the exit code."""
    began = told = time.monotonic()
    seed = only if only is not None else book.last + 1
    print(f"{name}: from seed {seed}, {book.passed:,} have passed before", flush=True)
    count = 0
    is_between = True

    def failed(why: str) -> None:
        where = f"at seed {seed}" if not is_between else f"over all seeds up to {seed - 1}"
        print(f"{name} failed {where}: {why}", flush=True)
        if is_between:
            again = f"{shlex.quote(sys.executable)} -m tools.night {name} --seconds {seconds:g}"
        else:
            again = f"{shlex.quote(sys.executable)} -m tools.night {name} --seed {seed}"
            book.failed = seed
        if only is None:
            book.keep()
        print(f"again: {again}", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="night-") as scratch, trial(Path(scratch)) as one:
            while True:
                is_between = False
                with Alarm(patience, lambda: failed(f"it has not ended after {patience:g} s")):
                    one(seed)
                is_between = True
                count += 1
                if only is not None:
                    break
                book.add(seed)
                seed += 1
                now = time.monotonic()
                if now - began >= seconds:
                    break
                if now - told >= TOLD_EVERY_S:
                    told = now
                    print(f"{name}: {count:,} seeds in {now - began:.0f} s", flush=True)
    except KeyboardInterrupt:
        if only is None:
            book.keep()
        print(f"{name}: interrupted at seed {seed}; the next call goes on there", flush=True)
        return 130
    except BaseException as error:
        traceback.print_exc()
        failed(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
        return 1
    if only is None:
        book.keep()
    print(f"{name}: {count:,} seeds in {time.monotonic() - began:.1f} s, none failed", flush=True)
    return 0


def main(words: list[str] | None = None) -> int:
    listed = "\n".join(f"  {name:3} {entry.words}" for name, entry in TRIALS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tools.night",
        description="Runs a trial with one seed after another until the time is up.",
        epilog=f"trials:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("trial", nargs="?", default="", help="which one, as A3")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, help="run this one alone, and keep no account of it")
    parser.add_argument("--books", type=Path, default=ROOT / "build" / "night", help="where the last seed is kept")
    found = parser.parse_args(words)
    if found.trial not in TRIALS:
        known = f"these are known:\n{listed}"
        parser.exit(2, f"{found.trial!r} is no trial; {known}\n" if found.trial else f"Name a trial; {known}\n")
    # As in the tests: graphs of a trial are nobody's runs, and a server started by accident fails.
    importlib.import_module("tests.conftest")
    logging.getLogger().addHandler(logging.NullHandler())  # warnings of faults that are asked for
    book = Book(found.books / f"{found.trial}.json")
    patience = TRIALS[found.trial].patience
    return run(found.trial, trial_of(found.trial), found.seconds, book, only=found.seed, patience=patience)


if __name__ == "__main__":
    sys.exit(main())
