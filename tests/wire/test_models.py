"""Bodies: what is accepted, what is refused and with which words, and what statuses mean."""

from __future__ import annotations

from typing import Any

import pytest

from tiledag_widget import Status
from tiledag_widget.errors import InvalidBody
from tiledag_widget.wire.models import (
    ArrayDetails,
    OrganizationUser,
    ResultFormat,
    RetryBackoff,
    RetryPolicy,
    RetryStrategy,
    SqlCall,
    TaskGraphLog,
    UdfCall,
    User,
    from_json,
    namespace_to_charge,
    status_of_log,
    status_of_task,
    to_json,
    uuid_or_none,
)


def test_a_body_comes_back_as_it_went() -> None:
    """Client and server would mean different things."""
    call = UdfCall(
        exec="abc",
        arguments_json=({"value": [1, None]},),
        arrays=(ArrayDetails("tiledb://a/b"),),
        result_format=ResultFormat.JSON,
        timeout=3,
        store_results=True,
    )

    assert from_json(UdfCall, to_json(call)) == call
    assert "exec_raw" not in to_json(call)


def test_unknown_keys_are_ignored_and_null_is_absent() -> None:
    """Newer clients send more; Go sends nulls."""
    log = from_json(TaskGraphLog, {"name": None, "novel": 1, "nodes": [{"client_node_uuid": "x"}]})

    assert log.name is None
    assert log.nodes is not None
    assert log.nodes[0].client_node_uuid == "x"


@pytest.mark.parametrize(
    ("cls", "body", "words"),
    [
        (SqlCall, [], "the body must be an object, got an array"),
        (SqlCall, {}, "query is missing"),
        (SqlCall, {"query": 3}, "query must be a text, got 3"),
        (SqlCall, {"query": "x", "init_commands": "y"}, "init_commands must be an array, got 'y'"),
        (SqlCall, {"query": "x", "init_commands": ["a", 1]}, r"init_commands\[1\] must be a text, got 1"),
        (UdfCall, {"result_format": "xml"}, "result_format is 'xml', expected one of: native"),
        (UdfCall, {"store_results": 1}, "store_results must be true or false"),
        (UdfCall, {"timeout": True}, "timeout must be a number, got true"),
        (UdfCall, {"arrays": [{"uri": "a", "ranges": {"ranges": 3}}]}, r"arrays\[0\].ranges.ranges must be an array"),
        (RetryStrategy, {"limit": 1.5}, "limit must be a whole number"),
        (RetryStrategy, {"backoff": 3}, "backoff must be an object"),
        (TaskGraphLog, {"status_count": 3}, "status_count must be an object"),
    ],
)
def test_what_does_not_fit_is_named_by_its_path(cls: type[Any], body: Any, words: str) -> None:
    """A person would not know which of forty keys is wrong."""
    with pytest.raises(InvalidBody, match=words):
        from_json(cls, body)


def test_retry_strategies_have_the_names_of_the_service() -> None:
    """It spells two of them in another way than the rest."""
    strategy = RetryStrategy(3, RetryPolicy.ALWAYS, RetryBackoff("1s", 2, "1m"))

    body = to_json(strategy)

    assert body == {
        "limit": 3,
        "retryPolicy": "Always",
        "backoff": {"duration": "1s", "factor": 2, "maxDuration": "1m"},
    }
    assert from_json(RetryStrategy, body) == strategy


def test_statuses_mean_what_the_contract_says() -> None:
    """A finished run would look as if it ran."""
    assert [status_of_task(one) for one in ("QUEUED", "DENIED", "UNKNOWN", "novel", None)] == [
        Status.NOT_STARTED,
        Status.FAILED,
        Status.FAILED,
        Status.NOT_STARTED,
        Status.NOT_STARTED,
    ]
    assert [status_of_log(one) for one in ("succeeded", "abandoned", "unfinished")] == [
        Status.COMPLETED,
        Status.CANCELLED,
        Status.RUNNING,
    ]


@pytest.mark.parametrize(
    ("user", "action", "namespace"),
    [
        (User("me", default_namespace_charged="team"), "run_job", "team"),
        (
            User("me", (OrganizationUser("public", ("run_job",)), OrganizationUser("org", ("run_job",)))),
            "run_job",
            "org",
        ),
        (User("me", (OrganizationUser("org", ("read",)),), ("run_job",)), "run_job", "me"),
        (User("me", (OrganizationUser("org"),)), None, "org"),
        (User("me"), None, "me"),
        (User("me"), "run_job", None),
    ],
)
def test_whom_a_call_is_charged_to(user: User, action: str | None, namespace: str | None) -> None:
    """Somebody else would pay."""
    assert namespace_to_charge(user, action) == namespace


def test_the_text_none_is_no_id() -> None:
    """``taskgraphs`` sends it when it could not make a log."""
    assert uuid_or_none("None") is None
    assert uuid_or_none(None) is None
    assert str(uuid_or_none("12345678-1234-1234-1234-123456789ABC")) == "12345678-1234-1234-1234-123456789abc"
