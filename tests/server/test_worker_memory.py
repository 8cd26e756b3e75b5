"""What a worker keeps of freed memory: enough for the next task, and no more."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tiledag_widget.server.worker_memory import KEPT_BYTES

SCRIPT = """
import gc, json, os, resource
from tiledag_widget.server import worker_memory


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def task(pieces):
    held = [bytearray(b"x") * 1_000_000 for _ in range(pieces)]
    del held[1::2]
    del held


worker_memory.keep()
task(10)
worker_memory.give_back()
began, faults = resident(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    task(10)
    worker_memory.give_back()
again = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
task(400)
worker_memory.give_back()
print(json.dumps([again, resident() - began, os.environ.get("TILEDB_SM_MEM_MALLOC_TRIM")]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_small_tasks_in_a_row_use_the_same_memory_and_a_large_one_gives_it_back() -> None:
    """Functions on arrays would take a fifth longer; a worker that keeps everything takes it from all others."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)

    faults, kept, told = json.loads(done.stdout)
    pages = 20 * 10_000_000 // 4096
    assert faults < pages / 10
    assert kept < KEPT_BYTES + (16 << 20)
    assert told == "false"
