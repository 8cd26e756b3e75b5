"""Names, signatures, defaults and attributes are those of ``tiledb.cloud.dag``, as the issue lists them."""

from __future__ import annotations

import inspect
import uuid
from typing import Any

import pytest

import tiledag_widget
from tiledag_widget import DAG, Mode, Node, Status
from tiledag_widget import dag as dag_module

# As the issue writes them: (name, default) in order; a name in "!" has no default.
DAG_PARAMETERS = (
    "max_workers=None, use_processes=False, done_callback=None, update_callback=None, namespace=None, name=None, "
    "mode=Realtime, retry_strategy=None, workflow_retry_strategy=None, deadline=None"
)
NODE_SIGNATURE = (
    "func, *args, name=None, dag=None, mode=Realtime, expand_node_output=None, _download_results=None, "
    "_internal_prewrapped_func=None, _internal_accepts_stored_params=True, **kwargs"
)
DAG_METHODS = {
    "add_done_callback": "func",
    "add_node": "func_exec, *args, name=None, local_mode=True, **kwargs",
    "add_node_obj": "node",
    "add_update_callback": "func",
    "cancel": "",
    "compute": "",
    "done": "",
    "end_nodes": "",
    "end_results": "",
    "end_results_by_name": "",
    "find_end_nodes": "",
    "get_tiledb_plot_node_details": "",
    "initial_setup": "",
    "networkx_graph": "",
    "report_node_complete": "node",
    "retry_all": "",
    "stats": "",
    "submit": "func, *args, **kwargs",
    "submit_array_udf": "func, *args, **kwargs",
    "submit_local": "func, *args, **kwargs",
    "submit_sql": "*args, **kwargs",
    "submit_udf": "func, *args, **kwargs",
    "submit_udf_stage": "func, *args, expand_node_output=None, **kwargs",
    "visualize": "notebook=True, auto_update=True, force_plotly=False",
    "wait": "timeout=None",
}
NODE_METHODS = {
    "add_done_callback": "fn",
    "cancel": "",
    "cancelled": "",
    "depends_on": "node",
    "done": "",
    "exception": "timeout=None",
    "finished": "",
    "result": "timeout=None",
    "retry": "",
    "running": "",
    "task_id": "",
    "wait": "timeout=None",
}
FUNCTIONS = {
    "list_logs": ("namespace=None, created_by=None, search=None, start_time=None, end_time=None, page=1, per_page=10"),
    "server_logs": "dag_or_id, namespace=None",
    "replace_stored_params": "tree, loader",
}
DAG_ATTRIBUTES = (
    "id nodes nodes_by_name namespace name server_graph_uuid max_workers use_processes mode retry_strategy "
    "workflow_retry_strategy deadline status completed_nodes failed_nodes running_nodes not_started_nodes "
    "cancelled_nodes visualization"
).split()
NODE_ATTRIBUTES = "args kwargs children parents dag error future id mode name status".split()


def written(function: Any, without: int = 0) -> str:
    """A signature as the lists above write it; ``without`` drops leading parameters such as ``self``."""
    parts = []
    for parameter in list(inspect.signature(function).parameters.values())[without:]:
        star = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
        default = "" if parameter.default is parameter.empty else f"={parameter.default}"
        parts.append(f"{star}{parameter.name}{default}")
    return ", ".join(parts)


def positional(function: Any) -> list[str]:
    """Parameters that may be given by position."""
    return [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]


def test_a_dag_is_made_with_the_parameters_of_the_reference_and_ours_only_by_keyword() -> None:
    """Code that passes ``DAG(4, True, ...)`` by position would set something else."""
    ours = ", executor=None, record=None"

    assert written(DAG) == DAG_PARAMETERS + ours
    assert positional(DAG) == [part.split("=")[0] for part in DAG_PARAMETERS.split(", ")]


def test_a_node_is_made_with_the_parameters_of_the_reference() -> None:
    """Code that makes nodes by hand would break."""
    assert written(Node) == NODE_SIGNATURE


@pytest.mark.parametrize(("name", "signature"), DAG_METHODS.items())
def test_every_method_of_a_dag_takes_what_the_reference_takes(name: str, signature: str) -> None:
    """A method that is missing, or a parameter renamed, breaks a notebook that worked."""
    assert written(getattr(DAG, name), without=1) == signature


@pytest.mark.parametrize(("name", "signature"), NODE_METHODS.items())
def test_every_method_of_a_node_takes_what_the_reference_takes(name: str, signature: str) -> None:
    """A method that is missing, or a parameter renamed, breaks a notebook that worked."""
    listed = signature + (", " if signature else "") + "descendants=False" if name == "retry" else signature

    assert written(getattr(Node, name), without=1) == listed


def test_what_is_ours_in_retry_can_only_be_given_by_keyword() -> None:
    """A parameter of the reference that comes later could not take its place otherwise."""
    assert positional(Node.retry) == ["self"]


@pytest.mark.parametrize(("name", "signature"), FUNCTIONS.items())
def test_every_function_of_the_module_takes_what_the_reference_takes(name: str, signature: str) -> None:
    """A function that is missing, or a parameter renamed, breaks a script that worked."""
    assert written(getattr(dag_module, name)) == signature
    assert getattr(tiledag_widget, name) is getattr(dag_module, name)


def test_submit_is_submit_udf_and_end_nodes_is_find_end_nodes() -> None:
    """Both spellings are in use."""
    assert DAG.submit is DAG.submit_udf
    assert DAG.find_end_nodes is DAG.end_nodes
    assert vars(Node)["finished"] is vars(Node)["done"]


def test_a_fresh_dag_has_every_attribute_and_its_first_value() -> None:
    """Code that looks at a graph before it starts would raise AttributeError."""
    dag = DAG(name="n", namespace="space", max_workers=3)

    assert {name: getattr(dag, name) for name in DAG_ATTRIBUTES} == {
        "id": dag.id,
        "nodes": {},
        "nodes_by_name": {},
        "namespace": "space",
        "name": "n",
        "server_graph_uuid": None,
        "max_workers": 3,
        "use_processes": False,
        "mode": Mode.REALTIME,
        "retry_strategy": None,
        "workflow_retry_strategy": None,
        "deadline": None,
        "status": Status.NOT_STARTED,
        "completed_nodes": {},
        "failed_nodes": {},
        "running_nodes": {},
        "not_started_nodes": {},
        "cancelled_nodes": {},
        "visualization": None,
    }
    assert isinstance(dag.id, uuid.UUID)


def test_a_fresh_node_has_every_attribute_and_its_first_value() -> None:
    """Code that looks at a node before it starts would raise AttributeError."""
    node = Node(divmod, 7, 2, name="n")

    assert {name: getattr(node, name) for name in NODE_ATTRIBUTES} == {
        "args": (7, 2),
        "kwargs": {},
        "children": {},
        "parents": {},
        "dag": None,
        "error": None,
        "future": node,
        "id": node.id,
        "mode": Mode.REALTIME,
        "name": "n",
        "status": Status.NOT_STARTED,
    }
    assert isinstance(node.id, uuid.UUID)


def test_statuses_have_their_numbers_and_words() -> None:
    """Saved numbers and texts on screen would change their meaning."""
    assert {status.name: (status.value, str(status)) for status in Status} == {
        "NOT_STARTED": (1, "Not Started"),
        "RUNNING": (2, "Running"),
        "COMPLETED": (3, "Completed"),
        "FAILED": (4, "Failed"),
        "CANCELLED": (5, "Cancelled"),
        "PARENT_FAILED": (6, "Parent Failed"),
    }


def test_modes_have_their_numbers_and_words() -> None:
    """Saved numbers and texts on screen would change their meaning."""
    assert [(mode.name, mode.value, str(mode)) for mode in Mode] == [
        ("LOCAL", 1, "Local"),
        ("REALTIME", 2, "Realtime"),
        ("BATCH", 3, "Batch"),
    ]


def test_everything_promised_can_be_had_from_the_package_and_from_its_dag_module() -> None:
    """``from tiledag_widget import dag; dag.DAG`` and ``dag.dag.DAG`` are how the reference is used."""
    assert all(hasattr(tiledag_widget, name) for name in tiledag_widget.__all__)
    assert all(hasattr(dag_module, name) for name in dag_module.__all__)
    assert dag_module.DAG is DAG
    assert dag_module.dag is dag_module
    assert (dag_module.Node, dag_module.Mode, dag_module.Status) == (Node, Mode, Status)


def test_the_least_resources_of_a_batch_node_are_told_and_cannot_be_changed() -> None:
    """Code that reads them sizes its nodes by them."""
    assert dict(dag_module.MIN_BATCH_RESOURCES) == {"cpu": "1", "memory": "2Gi"}
    with pytest.raises(TypeError):
        dag_module.MIN_BATCH_RESOURCES["cpu"] = "2"  # type: ignore[index]


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    """``hasattr`` and completion would raise something else."""
    assert not hasattr(tiledag_widget, "no_such_name")
    assert not hasattr(dag_module, "no_such_name")
