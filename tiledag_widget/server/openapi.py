"""The server's routes and bodies as an OpenAPI document, made from the code that serves them."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from ..wire import batch_models, models

__all__ = ["document"]


def document(routes: Sequence[tuple[str, tuple[str, ...], Callable[..., Any]]], version: str) -> dict[str, Any]:
    """The document for these routes: method, path and the function that serves them."""
    paths: dict[str, dict[str, Any]] = {}
    for method, pattern, handler in routes:
        operation: dict[str, Any] = {
            "operationId": handler.__name__,
            "summary": (handler.__doc__ or "").strip().splitlines()[0] if handler.__doc__ else "",
            "responses": {
                "default": {
                    "description": "An error.",
                    "content": {"application/json": {"schema": _reference("ErrorBody")}},
                },
                **_REPLIES.get(handler.__name__, _native(handler.__name__)),
            },
        }
        names = [part[1:-1] for part in pattern if part.startswith("{")]
        parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
        parameters += [
            {"name": name, "in": "query", "schema": schema}
            for name, schema in _QUERIES.get(handler.__name__, {}).items()
        ]
        if parameters:
            operation["parameters"] = parameters
        body = _BODIES.get(handler.__name__)
        if body is not None:
            content = {"application/json": {"schema": _reference(body) if isinstance(body, str) else body}}
            operation["requestBody"] = {"required": True, "content": content}
        elif handler.__name__ in _NATIVE and method == "POST":
            operation["requestBody"] = {"required": True, "content": {"application/octet-stream": _MESSAGE}}
        paths.setdefault("/" + "/".join(pattern), {})[method.lower()] = operation
    key = {"type": "apiKey", "in": "header", "name": "X-TILEDB-REST-API-KEY"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "tiledag task-graph server", "version": version or "0"},
        "paths": paths,
        "components": {
            "schemas": {name: _schema_of_class(cls) for name, cls in _classes().items()},
            "securitySchemes": {"key": key, "basic": {"type": "http", "scheme": "basic"}},
        },
        "security": [{"key": []}, {"basic": []}],
    }


_TEXT = {"type": "string"}
_FILLED = {"type": "string", "minLength": 1}
_NUMBER = {"type": "integer", "minimum": 1, "maximum": 1000}
_PAGE = {"page": {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}, "per_page": _NUMBER}
_SECONDS = {"type": "number", "minimum": 0, "maximum": 10**10}


def _object(required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


_BODIES: dict[str, str | dict[str, Any]] = {
    "post_generic_udf": "UdfCall",
    "post_array_udf": "UdfCall",
    "post_udf_on_array": "UdfCall",
    "post_sql": "SqlCall",
    "post_graph": "BatchGraph",
    "patch_graph": "BatchGraph",
    "post_log": "TaskGraphLog",
    "patch_log": "LogUpdate",
    "post_report": "ClientNodeReport",
    "post_udf": "UdfInfoUpdate",
    "patch_udf": "UdfInfoUpdate",
    "post_udf_copy": _object(namespace=_TEXT, name=_TEXT, output_uri=_TEXT),
    "patch_udf_share": _object(
        ["namespace"], namespace=_FILLED, actions={"type": "array", "items": {"enum": ["fetch_udf", "share_udf"]}}
    ),
    "post_registered_graph": "RegisteredTaskGraph",
    "patch_registered_graph": "RegisteredTaskGraph",
    "patch_registered_graph_share": _object(
        ["namespace"],
        namespace=_FILLED,
        actions={"type": "array", "items": {"enum": ["fetch_task_graph", "share_task_graph"]}},
    ),
    "post_register": _object(["uri"], uri=_FILLED, name=_TEXT),
    "post_array": _object(["name", "uri"], namespace=_TEXT, name=_FILLED, uri=_FILLED),
    "post_lease": _object(["client"], client={"type": "string", "minLength": 1, "maxLength": 200}),
    "post_prune": _object(days={"type": "number", "minimum": 0, "exclusiveMaximum": 36500}),
}

_QUERIES: dict[str, dict[str, dict[str, Any]]] = {
    "get_tasks": {
        **_PAGE,
        "namespace": _TEXT,
        "created_by": _TEXT,
        "array": _TEXT,
        "start": _SECONDS,
        "end": _SECONDS,
        "type": _TEXT,
        "exclude_type": _TEXT,
        "status": _TEXT,
        "search": _TEXT,
        "orderby": {"enum": ["start_time", "name"]},
    },
    "get_logs": {
        **_PAGE,
        "namespace": _TEXT,
        "created_by": _TEXT,
        "status": _TEXT,
        "search": _TEXT,
        "start_time": {"type": "string", "format": "date-time"},
        "end_time": {"type": "string", "format": "date-time"},
    },
    "get_owned": {**_PAGE, "namespace": _TEXT, "search": _TEXT},
    "get_public": {**_PAGE, "namespace": _TEXT, "search": _TEXT},
    "get_shared": _PAGE,
    "get_events": {
        "after": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
        "wait": {"type": "number", "minimum": 0, "maximum": 30},
    },
    "get_output": {"after": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}, "levels": _TEXT},
}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_NATIVE = {"get_array_schema", "post_schemas", "post_open", "get_non_empty_domain", "get_array_metadata"} | {
    "post_enumerations", "post_result_sizes", "post_query_plan", "post_query"
}  # fmt: skip
_MESSAGE = {"schema": {"type": "string", "format": "binary"}}
"""Of TileDB's own library, whose schema is TileDB's. It calls them application/capnp, which few other tools know."""


def _native(name: str) -> dict[str, Any]:
    if name not in _NATIVE:
        return {"2XX": {"description": "Done."}}
    return {"200": {"description": "Done.", "content": {"application/capnp": _MESSAGE}}}


def _reply(status: str, name: str) -> dict[str, Any]:
    return {status: {"description": "Done.", "content": {"application/json": {"schema": _reference(name)}}}}


_REPLIES = {
    "get_user": _reply("200", "User"),
    "get_user_named": _reply("200", "User"),
    "get_session": _reply("200", "Token"),
    "get_task": _reply("200", "ArrayTask"),
    "get_tasks": _reply("200", "ArrayTaskData"),
    "post_graph": _reply("201", "BatchGraph"),
    "get_graph": _reply("200", "BatchGraph"),
    "post_submit": _reply("202", "TaskGraphLog"),
    "post_retry": _reply("202", "TaskGraphLog"),
    "post_resubmit": _reply("202", "TaskGraphLog"),
    "get_events": _reply("200", "RunEvents"),
    "get_run_tasks": _reply("200", "RunTasks"),
    "post_log": _reply("201", "TaskGraphLog"),
    "get_log": _reply("200", "TaskGraphLog"),
    "get_logs": _reply("200", "TaskGraphLogsData"),
    "get_udf": _reply("200", "UdfInfo"),
    "get_registered_graph": _reply("200", "RegisteredTaskGraph"),
}


def _classes() -> dict[str, Any]:
    return {
        name: cls
        for name, cls in {**vars(models), **vars(batch_models)}.items()
        if isinstance(cls, type)
        and cls.__module__ in (models.__name__, batch_models.__name__)
        and not name.startswith("_")
        and (dataclasses.is_dataclass(cls) or issubclass(cls, Enum))
    }


def _schema_of_class(cls: Any) -> dict[str, Any]:
    if issubclass(cls, Enum):
        return {"type": "string", "enum": [member.value for member in cls]}
    hints = typing.get_type_hints(cls)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for one in dataclasses.fields(cls):
        key = one.metadata.get("key", one.name)
        properties[key] = _schema(hints[one.name])
        if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            required.append(key)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    return schema


_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
}


def _schema(hint: Any) -> dict[str, Any]:
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        (inner,) = [one for one in inside if one is not type(None)]
        return {"anyOf": [_schema(inner), {"type": "null"}]} if inner is not Any else {}
    if origin is tuple:
        return {"type": "array", "items": _schema(inside[0])}
    if origin is not None:
        return {"type": "object", "additionalProperties": _schema(inside[1])}
    if isinstance(hint, type) and hint.__name__ in _classes():
        return _reference(hint.__name__)
    return {}
