"""Every operation of the server as its OpenAPI document tells it, by Schemathesis (G1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from tests.server.running import Server, running_server

pytestmark = pytest.mark.slow

PER_OPERATION = 100
ENDS_THE_SERVER = "/tiledag/v1/stop"
QUIET = list(HealthCheck)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server") / "data", "--workers", "2") as running:
        yield running


@pytest.fixture(scope="module")
def schema(server: Server) -> Any:
    document = server.ask("GET", "/tiledag/v1/openapi.json").json()
    del document["paths"][ENDS_THE_SERVER]
    found = schemathesis.openapi.from_dict(document)
    # What a schema cannot say, as that a text is a pickled function or that an id is known, is refused with these.
    found.config.checks.positive_data_acceptance.expected_statuses = ["2xx", "400", "401", "403", "404", "409", "422"]
    found.config.update(base_url=server.url)
    return found


@pytest.mark.timeout(900)
def test_g1_every_operation_keeps_to_its_document(server: Server, schema: Any) -> None:
    """What is published is what a stranger's client is made from."""
    headers = {"X-TILEDB-REST-API-KEY": server.token}
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 60
    findings = []
    for operation in operations:

        @settings(
            max_examples=PER_OPERATION, deadline=None, suppress_health_check=QUIET, derandomize=True, database=None,
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
            findings.append(f"{operation.label}: {error}"[:1500])

    assert not findings, f"{len(findings)} findings\n" + "\n\n".join(findings)
