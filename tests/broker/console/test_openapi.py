"""The description of the REST interface is valid, complete, and what the interface does: asked of a real server.

What schemathesis makes of the description is sent, arguments that fit it and arguments that do not; no answer is a
fault of ours, each has a status and a form that the description has, and what does not fit is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from broker.config import Secret
from broker.console.openapi import description
from broker.operations.operation import Download, Operation
from broker.operations.table import OPERATIONS
from tests.broker.console.served_console import TOKEN, TOKEN_HASH, Console
from tests.server_process import ServerProcess

CHANNEL_ID = "fuzzed"
GROUP_ID = "dtsfuzzed00000001"
EXAMPLES_MAX = 6


def is_no_fault_of_ours(context: Any, response: Any, case: schemathesis.Case[Any]) -> None:
    """A source or a disk that does not answer is another matter."""
    assert response.status_code != 500, response.text


CHECKS = [
    is_no_fault_of_ours,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]
CLOSED = "mysql://nobody:secret@127.0.0.1:9"
"""A source that refuses at once; what is fuzzed leads nowhere else."""
CONFIGURATION = f"""
[[listeners]]
bind = "127.0.0.1:0"

[console]
bind = "127.0.0.1:0"
tokens = ["{TOKEN_HASH}"]

[[channels]]
id = "{CHANNEL_ID}"
topic = "cn_hangzhou_rm_fuzzed_dtstest_version2"
source = "{CLOSED}"
objects = ["shop"]

[[channels.groups]]
name = "fuzzed"
id = "{GROUP_ID}"
username = "dtstest"
password = "Fuzzed-1234"
"""


def made() -> schemathesis.BaseSchema:
    """The description as schemathesis takes it, with ids that exist every other time."""
    config = schemathesis.Config.from_dict({"phases": {"coverage": {"enabled": False}}})
    schema = schemathesis.openapi.from_dict(description(), config=config)
    turns = iter(range(1 << 62))

    @schema.hook
    def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
        known = {"channel_id": CHANNEL_ID, "group_id": GROUP_ID, "offset": 0, "language": "python"}
        if path_parameters and next(turns) % 2:
            return {name: known.get(name, value) for name, value in path_parameters.items()}
        return path_parameters

    @schema.hook
    def map_body(context: Any, body: Any) -> Any:
        if isinstance(body, dict) and isinstance(body.get("source"), dict):
            return body | {"source": {"url": CLOSED}}
        return body

    return schema


schema = made()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("openapi"), CONFIGURATION) as running:
        yield running


@schema.parametrize()
@settings(
    max_examples=EXAMPLES_MAX,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_interface_does_what_its_description_says(case: schemathesis.Case[Any], server: ServerProcess) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    case.call_and_validate(base_url=f"http://{server.bootstrap('console')}", headers=headers, checks=CHECKS)


def test_the_server_that_was_asked_all_this_had_no_fault(server: ServerProcess) -> None:
    """And tells every change it was asked for."""
    log = (server.folder / "server.log").read_bytes()
    assert [json.loads(line) for line in log.splitlines() if b"Traceback" in line] == []
    entries = [json.loads(line) for line in (server.data_directory / "audit.jsonl").read_bytes().splitlines()]
    changes = {operation.name for operation in OPERATIONS if operation.is_change}
    assert {entry["operation"] for entry in entries} <= changes | {"sign_in"}
    assert {entry["name"] for entry in entries} <= {"token 1", "a token"}


def test_no_operation_is_done_without_a_token(server: ServerProcess) -> None:
    for operation in OPERATIONS:
        url = f"http://{server.bootstrap('console')}/api/v1{operation.path}"
        answer = requests.request(operation.method, url, json={}, timeout=60)
        assert (operation.name, answer.status_code) == (operation.name, 401)


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(description()).validate()


def test_it_is_served(server: ServerProcess) -> None:
    url = f"http://{server.bootstrap('console')}/api/v1/openapi.json"
    answer = requests.get(url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=60)
    assert answer.json() == json.loads(msgspec.json.encode(description()))
    assert requests.get(url, timeout=60).status_code == 401


async def test_where_nobody_logs_in_it_says_so(open_console: Console) -> None:
    assert (await open_console.get("/api/v1/openapi.json")).json()["security"] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_is_described_whole(operation: Operation) -> None:
    found = description()["paths"][f"/api/v1{operation.path}"][operation.method.lower()]
    assert found["operationId"] == operation.name
    assert found["summary"] == operation.summary
    assert found["description"]
    named = {each["name"] for each in found["parameters"]}
    body = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    assert named | body.get("properties", {}).keys() == set(operation.arguments.__struct_fields__)
    assert ("requestBody" in found) == (operation.method not in ("GET", "DELETE"))
    assert operation.result is Download or "application/json" in found["responses"]["200"]["content"]


def test_no_result_has_a_secret_in_it_and_names_are_given_once() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)
    assert len({(operation.method, operation.path) for operation in OPERATIONS}) == len(OPERATIONS)
    kinds = [operation.result for operation in OPERATIONS if operation.result is not Download]
    with_secrets: list[type] = []

    def note(kind: type) -> dict[str, Any]:
        with_secrets.append(kind)
        return {}

    msgspec.json.schema_components(kinds, schema_hook=note)
    assert with_secrets == []


def test_what_is_secret_is_only_written() -> None:
    texts = {
        name
        for operation in OPERATIONS
        for name, kind in get_type_hints(operation.arguments).items()
        if "password" in name and kind is not Secret and Secret not in getattr(kind, "__args__", ())
    }
    assert texts == set()
    fields = description()["paths"]["/api/v1/channels/{channel_id}/groups"]["post"]
    password = fields["requestBody"]["content"]["application/json"]["schema"]["properties"]["password"]
    assert password == {"type": "string", "format": "password", "writeOnly": True}
