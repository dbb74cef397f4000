"""The OpenAPI documents of edge and origin: valid, complete, and the same list as the routes."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.app import create_app
from edge.operations import OPERATIONS as EDGE_OPERATIONS
from edge.routing import Front
from origin.routes import OPERATIONS as ORIGIN_OPERATIONS
from origin.routes import describe, make_routes
from shared.openapi import EVERYWHERE, Operation
from shared.problems import TABLE, Code
from tests.edge_world import AsgiClient, MemoryWorld

OPERATIONS: Final[dict[str, Sequence[Operation]]] = {"edge": EDGE_OPERATIONS, "origin": ORIGIN_OPERATIONS}
# Told where no operation is: an address that is none.
BESIDE_OPERATIONS: Final = {Code.NOT_FOUND, Code.REQUEST_MALFORMED, Code.HEAD_TOO_LARGE}

both = pytest.mark.parametrize("shell", OPERATIONS)


def document_of(shell: str) -> dict[str, Any]:
    if shell == "edge":
        document: dict[str, Any] = AsgiClient(MemoryWorld()).request("GET", "/openapi.json", {}).json
    else:
        document = json.loads(describe())
    return document


async def nothing(_: Request) -> Response:
    return Response()


def routes_of(shell: str) -> list[Any]:
    if shell == "origin":
        return list(make_routes({operation.id: nothing for operation in ORIGIN_OPERATIONS}))
    app = create_app()
    assert isinstance(app, Front)
    assert isinstance(app.app, Starlette)
    return list(app.app.routes)


@both
def test_the_document_is_valid(shell: str) -> None:
    assert list(OpenAPIV31SpecValidator(document_of(shell)).iter_errors()) == []


@both
def test_an_operation_has_an_id_of_its_own(shell: str) -> None:
    ids = [operation.id for operation in OPERATIONS[shell]]
    assert len(set(ids)) == len(ids)
    assert all(operation_id.isidentifier() for operation_id in ids)


@both
def test_the_routes_are_the_documented_operations(shell: str) -> None:
    documented = {(path, method.upper()) for path, item in document_of(shell)["paths"].items() for method in item}
    routed = {
        (route.path, method)
        for route in routes_of(shell)
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert routed == documented == {(operation.path, operation.method) for operation in OPERATIONS[shell]}


@both
def test_every_operation_says_what_it_does_and_how_it_fails(shell: str) -> None:
    for path, item in document_of(shell)["paths"].items():
        for method, described in item.items():
            assert described["summary"], (path, method)
            statuses = set(described["responses"])
            assert any(status.startswith("2") for status in statuses), (path, method)
            assert {str(TABLE[code].status) for code in EVERYWHERE} <= statuses, (path, method)


@both
def test_every_parameter_in_a_path_is_described(shell: str) -> None:
    for path, item in document_of(shell)["paths"].items():
        for described in item.values():
            in_path = {listed["name"] for listed in described.get("parameters", []) if listed["in"] == "path"}
            assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}


@both
def test_every_reference_leads_somewhere(shell: str) -> None:
    document = document_of(shell)
    used = {
        text.removeprefix("#/components/schemas/")
        for text in _texts(document)
        if text.startswith("#/components/schemas/")
    }
    assert used == set(document["components"]["schemas"])


@both
def test_every_security_scheme_is_declared_and_used(shell: str) -> None:
    document = document_of(shell)
    used = {
        name
        for item in document["paths"].values()
        for described in item.values()
        for needed in described.get("security", [])
        for name in needed
    }
    assert used == set(document["components"].get("securitySchemes", {}))


def test_every_code_is_some_operations() -> None:
    used = {code for listed in OPERATIONS.values() for operation in listed for code in operation.problems}
    assert set(Code) - used - set(EVERYWHERE) == BESIDE_OPERATIONS


@both
def test_a_problem_never_hides_behind_another_answer_of_the_same_status(shell: str) -> None:
    for operation in OPERATIONS[shell]:
        assert not set(operation.answers) & {TABLE[code].status for code in operation.problems}, operation.id


def test_a_handler_is_dispatched_by_method() -> None:
    # What the origin's routes do with what they are given; its handlers have tests of their own.
    route = next(route for route in routes_of("origin") if route.path == ORIGIN_OPERATIONS[0].path)
    scope: dict[str, Any] = {"type": "http", "method": ORIGIN_OPERATIONS[0].method, "path_params": {}, "headers": []}
    assert asyncio.run(route.endpoint(Request(scope))).status_code == 200


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
