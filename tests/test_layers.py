"""The order of layers: a module imports only what stands before it. For Python and for TypeScript."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tiledag_widget"
SOURCES = ROOT / "js" / "src"

# A module may import the package's modules that stand before it.
PYTHON_ORDER = """
    errors faults settings
    core.states core.graph core.history core.machine core.tape core.lines core.snapshot
    wire.models wire.records wire.batch_models wire.error_texts wire.culprits wire.pickles wire.codec
    wire.transport wire.caller wire.client
    account
    run.arguments run.threads run.pacer run.asyncs run.progress
    run.output run.worker_streams run.worker_main run.workers run.executors
    run.gate run.graphs run.reports run.driver run.slow_motion run.lanes run.remote_output
    run.remote_calls run.remote_result run.remote_reports run.remote
    run.batch_body run.mirror run.batch_outcomes run.batch_follow run.batch_log run.batch
    run.record_facts run.record
    server.security server.output server.store_file server.store_queue server.store server.retention
    server.cells server.arrays server.native server.dialect server.translation server.rows
    server.tables server.sql
    server.batch_worker server.worker_memory server.worker server.scheduler
    server.batch_expression server.batch_retry server.batch_plan server.batch_store server.batch_executor
    server.batch_state server.batch_around server.batch_run server.batch
    server.dask_worker server.dask_far server.dask_engine
    server.tokens server.owners server.services server.exchange server.openapi server.account_routes
    server.array_routes server.native_routes server.record_routes server.registry_routes
    server.call_routes server.task_routes server.log_shapes server.batch_routes server.log_routes
    server.own_routes server.api server.http
    server.kept_options server.__main__ server.launch
    view.palette view.left view.filter view.ranks view.crowded view.fold view.crossings view.layout
    view.stills view.text_form view.svg_form view.picture
    view.static_forms view.terminal view.figure view.messages view.code
    view.brief view.tracebacks view.rich view.details view.worker view.publisher view.opening view.export view.log_lines
    view.feed view.control
    view.widget view.runs_table view.log_browser view.show
    models logs naming callbacks wishes node server_node batch_node building source showing dag browse
    jupyter cli testing __init__
""".split()

# Besides the order: these never know those.
PYTHON_NEVER = [
    ("view.", ("run.", "server.")),
    ("server.", ("run.driver", "run.lanes", "view.")),
]

# The core reads no clock, no file and no chance: it may import nothing else.
CORE_MAY_IMPORT = set("__future__ array collections dataclasses enum heapq itertools json math struct typing".split())

PICKLES = {"cloudpickle", "dill", "pickle"}

# Costly ones, imported where they are used and never at the top of a module.
LATE = {"anywidget", "cloudpickle", "dask", "duckdb", "ipywidgets", "loky", "networkx", "pandas", "plotly", "requests"}
# Modules that are themselves imported late, by whoever needs what they wrap.
WRAPPERS = set(
    """
    run.workers server.arrays server.cells server.rows server.sql server.tables
    view.figure view.log_browser view.widget wire.client
    """.split()
)

# `sources/source.ts` is the interface by which views ask; what implements it stands after them and knows none.
TYPESCRIPT_ORDER = ["protocol", "model", "sources/source", "render", "views", "sources", "entry_"]
HOSTS = ("@jupyterlab/", "@jupyter-widgets/", "@anywidget/")


# --- Python -------------------------------------------------------------------------------------------------


def python_modules() -> list[str]:
    """Dotted names of all modules, without the package's; a subpackage's ``__init__`` ends in ``.__init__``."""
    paths = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
    return [".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in paths]


def path_of(module: str) -> Path:
    return PACKAGE / (module.replace(".", "/") + ".py")


def imports(module: str, *, top_level_only: bool = False) -> Iterator[tuple[int, str]]:
    """Line and absolute name of each import; names under ``if TYPE_CHECKING`` are left out."""
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    package = ["tiledag_widget", *module.split(".")[:-1]]
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        if top_level_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)
        pending += ast.iter_child_nodes(node)


def inside(name: str) -> str | None:
    """The module of ours that this import reads: the longest prefix that is one."""
    if name != "tiledag_widget" and not name.startswith("tiledag_widget."):
        return None
    parts = name.split(".")[1:]
    while parts:
        dotted = ".".join(parts)
        if path_of(dotted).exists():
            return dotted
        if (PACKAGE / "/".join(parts) / "__init__.py").exists():
            return dotted + ".__init__"
        parts.pop()
    return "__init__"


def test_every_python_module_has_its_place_in_the_order() -> None:
    """A module without a place is one whose layer nobody thought about."""
    unknown = [name for name in python_modules() if name not in PYTHON_ORDER and not name.endswith(".__init__")]

    assert not unknown, f"no place in the order of layers: {unknown}"


@pytest.mark.parametrize("module", python_modules())
def test_a_python_module_imports_only_what_stands_before_it(module: str) -> None:
    """Layers that leak cannot be tested, replaced or understood alone."""
    if module.endswith(".__init__"):
        wrong = [f"{module}:{line} imports {name}" for line, name in imports(module) if inside(name)]
        assert not wrong, "the __init__ of a subpackage re-exports nothing"
        return
    place = PYTHON_ORDER.index(module)
    wrong = []
    for line, name in imports(module):
        other = inside(name)
        if other is None or other == module:
            continue
        if other.endswith(".__init__"):
            continue  # `from ..core import states` also reads core/__init__, which imports nothing
        if other not in PYTHON_ORDER[:place]:
            wrong.append(f"line {line}: {module} imports {other}, which does not stand before it")
        for family, forbidden in PYTHON_NEVER:
            if module.startswith(family) and other.startswith(forbidden):
                wrong.append(f"line {line}: {family}* never knows {other}")

    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", [name for name in python_modules() if name.startswith("core.")])
def test_the_core_imports_no_clock_file_or_thread(module: str) -> None:
    """What the machine decides must depend on its events alone, or a replay tells another story."""
    wrong = [
        f"line {line}: {name}"
        for line, name in imports(module)
        if inside(name) is None and name.split(".")[0] not in CORE_MAY_IMPORT
    ]

    assert not wrong, f"{module} imports {wrong}"


@pytest.mark.parametrize("module", [name for name in python_modules() if name not in WRAPPERS])
def test_costly_libraries_are_imported_where_they_are_used(module: str) -> None:
    """A user who never looks at a graph does not wait for plotly."""
    wrong = [
        f"line {line}: {name}" for line, name in imports(module, top_level_only=True) if name.split(".")[0] in LATE
    ]

    assert not wrong, f"{module} imports at its top: {wrong}"


@pytest.mark.parametrize("module", python_modules())
def test_only_one_module_names_pickle(module: str) -> None:
    """Bytes that may run code are opened in one place, which can be read at one sitting."""
    if module == "wire.pickles":
        return
    named = [f"line {line}: {name}" for line, name in imports(module) if name.split(".")[0] in PICKLES]

    assert not named, f"{module} imports {named}"


def test_every_library_is_the_standard_one_or_declared() -> None:
    """An install from the wheel must not end in an ImportError that the developers' machine hides."""
    text = (ROOT / "pyproject.toml").read_text()
    declared = {name.lower() for name in re.findall(r'^    "([A-Za-z0-9_-]+)', text, re.MULTILINE)}
    brought = {
        "IPython": "ipywidgets",
        "comm": "ipywidgets",
        "traitlets": "ipywidgets",
        "ipykernel": "ipykernel",
        "pytest": "pytest",
        "distributed": "dask",
    }
    unknown = {
        f"{name.split('.')[0]} (in {module})"
        for module in python_modules()
        for _, name in imports(module)
        if inside(name) is None
        and name.split(".")[0] not in sys.stdlib_module_names
        and brought.get(name.split(".")[0], name.split(".")[0]).lower() not in declared
    }

    assert not unknown, f"not in pyproject.toml: {sorted(unknown)}"


# --- TypeScript ---------------------------------------------------------------------------------------------

IMPORT = re.compile(
    r"""(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']"""
)


def typescript_modules() -> list[str]:
    return sorted(path.relative_to(SOURCES).as_posix() for path in SOURCES.rglob("*.ts"))


def layer_of(path: str) -> int | None:
    """Place of a path relative to src/ in the order; None for one that has none."""
    first = path.split("/")[0]
    if path.removesuffix(".ts") in TYPESCRIPT_ORDER:
        return TYPESCRIPT_ORDER.index(path.removesuffix(".ts"))
    for place, name in enumerate(TYPESCRIPT_ORDER):
        if first == name or (name.endswith("_") and first.startswith(name)):
            return place
    return None


def test_every_typescript_module_has_its_place_in_the_order() -> None:
    """The same promise for the page."""
    unknown = [path for path in typescript_modules() if layer_of(path) is None]

    assert not unknown, f"no place in the order of layers: {unknown}"


@pytest.mark.parametrize("module", typescript_modules())
def test_a_typescript_module_imports_only_what_stands_before_it(module: str) -> None:
    """A model that knows its view cannot be run in Node, and a source that knows one cannot be swapped."""
    place = layer_of(module)
    assert place is not None
    layer = TYPESCRIPT_ORDER[place]
    wrong = []
    for found in IMPORT.finditer((SOURCES / module).read_text(encoding="utf-8")):
        name = found.group(1) or found.group(2)
        if not name.startswith("."):
            if name.startswith(HOSTS) and layer != "entry_":
                wrong.append(f"{name}: only an entry knows its host")
            continue
        target = ((SOURCES / module).parent / name).resolve()
        if not target.is_relative_to(SOURCES):
            continue  # palette.json, words.json
        other = layer_of(target.relative_to(SOURCES).as_posix())
        if other is None:
            continue  # style.css
        if other > place:
            wrong.append(f"{name}: {TYPESCRIPT_ORDER[other]} stands after {layer}")
        elif layer == "sources" and TYPESCRIPT_ORDER[other] not in {"protocol", "model", "sources/source", "sources"}:
            wrong.append(f"{name}: sources see only protocol and model")

    assert not wrong, f"{module}: " + "; ".join(wrong)
