"""The command `tiledag`: serve, stop, status, logs, arrays."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TextIO
from urllib.parse import quote, urlencode

from .errors import TiledagError
from .server import __main__ as server
from .server import kept_options, launch
from .settings import data_folder, why_unusable

__all__ = ["main"]

NOBODY: Final = "no server runs"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    found = _parser().parse_args(arguments)
    if found.data_dir is not None:
        os.environ["TILEDAG_DATA_DIR"] = str(found.data_dir.expanduser().absolute())
    folder = data_folder().expanduser().absolute()
    if (why := why_unusable(folder)) is not None:
        sys.stderr.write(f"tiledag: {server.cannot_keep(folder, why)}\n")
        return 2
    try:
        code: int = found.run(found)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as with `tiledag logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except TiledagError as error:  # some are an OSError too, with words of their own
        sys.stderr.write(f"tiledag: {error}\n")
        return 1
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        sys.stderr.write(f"tiledag: {f'{error.filename}: {error.strerror}' if named else error}\n")
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tiledag", description="The embedded task-graph server of tiledag-widget.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server here until it is stopped")
    server.arguments_of(serve)
    serve.set_defaults(run=_serve)

    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--data-dir", type=Path, help="folder of the server (default: TILEDAG_DATA_DIR)")
    stop = commands.add_parser("stop", parents=[where], help="end the running server")
    stop.add_argument("--force", action="store_true", help="kill it with its workers if it does not end in 10 s")
    stop.set_defaults(run=_stop)
    status = commands.add_parser("status", parents=[where], help="say whether a server runs, and where")
    status.set_defaults(run=_status)

    logs = commands.add_parser("logs", parents=[where], help="list the recorded runs, newest first")
    logs.add_argument("--search", help="part of a run's name")
    logs.add_argument("--page", type=int, default=1)
    logs.add_argument("--per-page", type=int, default=20)
    logs.add_argument("--prune", action="store_true", help="forget old runs, with their results")
    logs.add_argument("--days", type=float, default=30, help="how old, for --prune (default: %(default)g)")
    logs.set_defaults(run=_logs)

    arrays = commands.add_parser("arrays", help="names of arrays: tiledb://NAMESPACE/NAME")
    actions = arrays.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", parents=[where], help="give an array a name")
    add.add_argument("name", nargs="?", help="NAME or NAMESPACE/NAME")
    add.add_argument("path", nargs="?", help="a folder, file:// or s3:// address")
    add.add_argument("--samples", action="store_true", help="the quickstart arrays of TileDB's tutorials")
    add.set_defaults(run=_add_array)
    actions.add_parser("list", parents=[where], help="list the names").set_defaults(run=_list_arrays)
    remove = actions.add_parser("remove", parents=[where], help="take a name back; the array stays")
    remove.add_argument("name", help="NAME or NAMESPACE/NAME")
    remove.set_defaults(run=_remove_array)
    return parser


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


class _Refused(TiledagError):
    """The server answered with an error."""


def _ask(method: str, path: str, body: Any = None) -> Any:
    """What the running server answers; one is started if there is none."""
    status, reply = launch.ask(launch.ensure(hold=False), method, path, body)
    if status >= 400:
        raise _Refused(reply.get("message") if isinstance(reply, dict) else f"the server answered {status}")
    return reply


def _stop(found: argparse.Namespace) -> int:
    _say("stopped" if launch.stop(force=found.force) else NOBODY)
    return 0


def _status(found: argparse.Namespace) -> int:
    server_found = launch.find()
    if server_found is None:
        kept = shlex.join(kept_options.kept(data_folder().expanduser().absolute()))
        _say(f"no server runs; the next one is started with {kept} (`tiledag stop` forgets that)" if kept else NOBODY)
        return 3
    _, info = launch.ask(server_found, "GET", "/tiledag/v1/info")
    words = {
        "url": server_found.url,
        "pid": server_found.pid,
        **{key: info[key] for key in ("version", "engine", "clients", "idle")},
    }
    _say(json.dumps(words))
    return 0


def _logs(found: argparse.Namespace) -> int:
    if found.prune:
        _say(f"{_ask('POST', '/tiledag/v1/prune', {'days': found.days})['tasks']} tasks forgotten")
        return 0
    query = {"page": found.page, "per_page": found.per_page}
    if found.search:
        query["search"] = found.search
    page = _ask("GET", f"/v1/taskgraphs/logs?{urlencode(query)}")
    for log in page.get("task_graph_logs", ()):
        _say(f"{log['uuid']}  {log['created_at'][:19]}  {log['status']:<10} {log.get('name') or ''}")
    return 0


def _name_of(text: str) -> tuple[str | None, str]:
    namespace, slash, name = text.removeprefix("tiledb://").rpartition("/")
    return (namespace if slash else None), name


def _serve(found: argparse.Namespace) -> int:
    runs_already = launch.find() is not None
    if runs_already and found.samples:  # it goes on with the options that it was started with
        _add_samples(sys.stderr)
    return server.serve(server.options_from(found))


def _add_array(found: argparse.Namespace) -> int:
    if found.samples == bool(found.name) or bool(found.name) != bool(found.path):
        raise _Refused("Say which array: `tiledag arrays add NAMESPACE/NAME PATH`, or `tiledag arrays add --samples`.")
    if found.samples:
        _add_samples(sys.stdout)
        return 0
    namespace, name = _name_of(found.name)
    place = found.path if "://" in found.path else str(Path(found.path).expanduser().absolute())
    if "://" not in place and not os.path.isdir(place):
        raise _Refused(f"There is no array at {place}: no such folder.")
    if (kind := _kind_of(place)) != "array":
        raise _Refused(f"There is no array at {place}: it is {kind}.")
    _register(namespace, name, place, sys.stdout)
    return 0


def _kind_of(place: str) -> str:
    """`array`, or what a place on this machine is instead; of others nobody is asked."""
    if "://" in place and not place.startswith("file://"):
        return "array"
    import tiledb

    found = tiledb.object_type(place)
    if found is None:
        return "a folder without one, or none at all" if "://" in place else "a folder without one"
    return found if found == "array" else f"a {found}; add the arrays in it, each by its own path"


def _add_samples(stream: TextIO) -> None:
    """Makes the sample arrays in the data folder, where they are not there yet, and has the server know them."""
    from .server.arrays import SAMPLES, SAMPLES_OF, make_samples

    launch.ensure(hold=False)
    folder = data_folder().expanduser().absolute() / "samples"
    make_samples(str(folder))
    for name in SAMPLES:
        _register(SAMPLES_OF, name, str(folder / name), stream)


def _register(namespace: str | None, name: str, place: str, stream: TextIO) -> None:
    made = _ask("POST", "/tiledag/v1/arrays", {"namespace": namespace, "name": name, "uri": place})
    stream.write(f"tiledb://{made['namespace']}/{made['name']}  {made['uri']}\n")


def _list_arrays(found: argparse.Namespace) -> int:
    for array in _ask("GET", "/tiledag/v1/arrays")["arrays"]:
        _say(f"tiledb://{array['namespace']}/{array['name']}  {array['uri']}")
    return 0


def _remove_array(found: argparse.Namespace) -> int:
    namespace, name = _name_of(found.name)
    owner = namespace or _ask("GET", "/v1/user")["username"]
    _ask("DELETE", f"/tiledag/v1/arrays/{quote(owner, safe='')}/{quote(name, safe='')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
