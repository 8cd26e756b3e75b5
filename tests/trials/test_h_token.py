"""Trial H6: the token of the embedded server is in its two files and in no other place, whatever goes wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

for needed in ("uvicorn", "psutil", "duckdb"):
    pytest.importorskip(needed)

import psutil  # noqa: E402

from tests.server.running import environment  # noqa: E402
from tiledag_widget.server import launch  # noqa: E402

pytestmark = pytest.mark.slow

HOLDS_IT = ("token", "connection.json")

SCENE = """
import contextlib, json, logging, os, pprint, signal, sys, traceback
logging.basicConfig(level=1, filename=sys.argv[1])  # all there is, of every library
import tiledag_widget
from tiledag_widget import DAG, Mode, list_logs, server_logs
from tiledag_widget.server import launch
from tiledag_widget.wire import client, codec

def environment_of_a_node():
    import gc, os, sys
    held = [repr(one)[:2000] for one in gc.get_objects() if isinstance(one, dict) and "X-TILEDB-REST-API-KEY" in one]
    return [dict(os.environ), sys.argv, held]

def fails():
    print("before")
    raise ValueError("on purpose")

def told(action):
    try:
        pprint.pprint(action())
    except BaseException as error:
        traceback.print_exception(type(error), error, error.__traceback__)
        frame = error.__traceback__
        while frame:  # what a debugger or a reporter of errors shows
            for name, value in frame.tb_frame.f_locals.items():
                with contextlib.suppress(Exception):
                    print(name, repr(value))
            frame = frame.tb_next

dag = DAG(name="scene")
there = dag.submit(environment_of_a_node)
here = dag.submit_local(environment_of_a_node)
bad = dag.submit(fails)
query = dag.submit_sql("select nothing from nowhere")
odd = dag.submit(lambda x: x, {"x": open(os.devnull)})
dag.compute()
for node in (there, here, bad, query, odd):
    told(lambda: node.result(60))
    told(lambda: node.output())
told(lambda: dag.wait(60))
widget = dag.visualize()
told(lambda: widget)
told(lambda: {name: getattr(widget, name) for name in getattr(widget, "keys", [])})
told(lambda: dag._repr_mimebundle_())
told(lambda: (repr(client.current()), vars(client.current()).keys(), repr(launch.find()), repr(launch.ensure())))
told(lambda: (list_logs(), server_logs(dag)))
told(lambda: tiledag_widget.login(token="wrong", host=launch.find().url) and None)
told(lambda: launch.ask(launch.find(), "GET", "/v1/nothing"))
print("ready", flush=True)
sys.stdin.readline()
lost = DAG(name="lost")
waits = lost.submit(lambda: __import__("time").sleep(600))
lost.compute()
import time
while waits.status.name != "RUNNING":
    time.sleep(0.05)
time.sleep(0.5)
os.kill(launch.find().pid, signal.SIGKILL)
told(lambda: waits.result(30))
told(lambda: DAG(name="again").submit(int).result(0))
"""


def test_h6_the_token_is_nowhere_but_in_its_files(tmp_path: Path) -> None:
    """A log that somebody posts with a bug would let everybody on the machine in."""
    folder = tmp_path / "data"
    env = {**environment(), "TILEDAG_DATA_DIR": str(folder), "HOME": str(tmp_path), "TILEDAG_SERVER": "embedded"}
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-c", SCENE, str(tmp_path / "client.log")]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    client = subprocess.Popen(command, env=env, encoding="utf-8", **streams)  # type: ignore[call-overload]
    said = ""
    try:
        while not said.endswith("ready\n"):
            line = client.stdout.readline()
            assert line, said
            said += line
        found = launch.find(folder)
        assert found is not None
        token = found.token
        family = [psutil.Process(found.pid), psutil.Process(client.pid)]
        family += [child for one in list(family) for child in one.children(recursive=True)]
        public = [word for one in family for word in (*one.cmdline(), *one.environ().values())]
        modes = {name: stat.S_IMODE(os.stat(folder / name).st_mode) for name in HOLDS_IT}
        said += client.communicate("go on\n", timeout=120)[0]
    finally:
        client.kill()
        client.wait()
        launch.stop(folder)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in HOLDS_IT]

    assert len(token) >= 43
    assert "on purpose" in said
    assert "the next compute" in said, said[-3000:]
    assert modes == dict.fromkeys(HOLDS_IT, 0o600)
    assert [line for line in said.splitlines() if token in line] == []
    assert [word for word in public if token in word] == []
    assert [path for path in files if token.encode() in path.read_bytes()] == []
    assert "server nodes run on the embedded" in (tmp_path / "client.log").read_text()  # it was kept, and looked at
