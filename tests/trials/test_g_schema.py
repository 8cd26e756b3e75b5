"""Every operation of the server as its OpenAPI document tells it, by Schemathesis (G1)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from tests.server.running import Server, running_server

pytestmark = pytest.mark.slow

PER_OPERATION, PARTS = 100, 4
ENDS_THE_SERVER = "/tiledag/v1/stop"
QUIET = list(HealthCheck)
schemathesis.serializer.alias("application/capnp", "application/octet-stream")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--workers", "2") as running:
        yield running


def schema_of(server: Server) -> Any:
    document = server.ask("GET", "/tiledag/v1/openapi.json").json()
    del document["paths"][ENDS_THE_SERVER]
    found = schemathesis.openapi.from_dict(document)
    # What a schema cannot say, as that a text is a pickled function or that an id is known, is refused with these.
    found.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "400", "401", "403", "404", "409", "422"]
    found.config.update(base_url=server.url)
    return found


def findings(server: Server, schema: Any, count: int, seed: int, part: int = 0, parts: int = 1) -> list[str]:
    """What was found wrong in so many requests for each operation of a part of them."""
    headers = {"X-TILEDB-REST-API-KEY": server.token}
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 60
    found: list[str] = []
    for operation in operations[part::parts]:

        @seeded(seed)
        @settings(
            max_examples=count, deadline=None, suppress_health_check=QUIET, database=None,
            phases=(Phase.explicit, Phase.generate),
        )  # fmt: skip
        @given(case=operation.as_strategy())
        def try_it(case: Any) -> None:
            case.call_and_validate(headers=headers)

        try:
            try_it()
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            found.append(f"{operation.label}: {error}"[:1500])
    return found


@contextlib.contextmanager
def operations(folder: Path) -> Iterator[Callable[[int], None]]:
    """G1, ten requests for each operation a seed."""
    with running_server(folder / "data", "--workers", "2") as server:
        schema = schema_of(server)

        def one(seed: int) -> None:
            found = findings(server, schema, 10, seed)
            assert not found, f"{len(found)} findings\n" + "\n\n".join(found)

        yield one


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_g1_every_operation_keeps_to_its_document(server: Server, part: int) -> None:
    """What is published is what a stranger's client is made from."""
    found = findings(server, schema_of(server), PER_OPERATION, 0, part, PARTS)

    assert not found, f"{len(found)} findings\n" + "\n\n".join(found)
