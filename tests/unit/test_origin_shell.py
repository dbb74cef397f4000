"""Around the handlers: one list of operations, failures as problems, logs without what clients sent."""

import asyncio
import json
import logging
from typing import Any

import httpx
import openapi_spec_validator
import pytest
import structlog.testing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from origin.database import ClashError
from origin.logs import configure_logs, describe_exception
from origin.middleware import Front, Shell, tell_http_exception
from origin.routes import OPERATIONS, describe, make_routes
from origin.settlement.writer import OverloadedError
from shared.errors import CliptillError, ServiceAwayError

SECRET = "eyJhbGciOiJIUzI1NiJ9"


async def fine(_: Request) -> Response:
    return Response(b"fine")


async def ask(error: Exception | None, method: str = "GET", path: str = "/x/7") -> httpx.Response:
    """Ask an app whose one handler raises `error`."""

    async def fail(_: Request) -> Response:
        if error is None:
            return Response(b"fine")
        raise error

    app = Starlette(
        routes=[Route("/x/{id}", fail)],
        middleware=[Middleware(Shell)],
        exception_handlers={HTTPException: tell_http_exception},
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://origin") as client:
        return await client.request(method, path)


@pytest.mark.parametrize(
    ("error", "status", "code", "wait"),
    [
        (OverloadedError(SECRET), 503, "overloaded", "1"),
        (ServiceAwayError(SECRET), 503, "unavailable", "2"),
        (ClashError(SECRET), 503, "unavailable", "2"),
        (CliptillError(SECRET), 500, "internal", None),
        (ValueError(SECRET), 500, "internal", None),
        (HTTPException(418, SECRET), 500, "internal", None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failure_is_a_problem_without_its_text(error: Exception, status: int, code: str, wait: str | None) -> None:
    answer = asyncio.run(ask(error))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers.get("retry-after") == wait
    assert answer.headers["access-control-allow-origin"] == "*"
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("GET", "/y", 404, "not_found"), ("DELETE", "/x/7", 405, "method_not_allowed")],
)
def test_what_is_not_there_is_a_problem(method: str, path: str, status: int, code: str) -> None:
    answer = asyncio.run(ask(None, method, path))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_answer_that_has_begun_is_broken_off_not_replaced() -> None:
    async def begin() -> Any:
        yield b"begun"
        raise ValueError(SECRET)

    async def handler(_: Request) -> Response:
        return StreamingResponse(begin())

    app = Starlette(routes=[Route("/", handler)], middleware=[Middleware(Shell)])

    async def ask_once() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://origin") as client:
            await client.get("/")

    with pytest.raises(ValueError, match=SECRET):
        asyncio.run(ask_once())


@pytest.mark.parametrize(
    "error",
    [None, OverloadedError(SECRET), ServiceAwayError(SECRET), ValueError(SECRET)],
    ids=lambda value: type(value).__name__,
)
def test_what_goes_past_the_framework_is_answered_and_logged_as_behind_it(error: Exception | None) -> None:
    async def handler(_: Request) -> Response:
        if error is not None:
            raise error
        return Response(b"fine", headers={"Cache-Control": "no-store"})

    routes = [Route("/settle", handler, methods=["POST"])]
    behind = Starlette(routes=routes, middleware=[Middleware(Shell)])

    async def tell(app: Any, path: str, method: str) -> tuple[Any, ...]:
        with structlog.testing.capture_logs() as logs:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://origin") as client:
                answer = await client.request(method, path)
        return answer.status_code, answer.headers, answer.content, logs

    for method, path in (("POST", "/settle"), ("GET", "/settle"), ("POST", "/other"), ("OPTIONS", "/settle")):
        told = asyncio.run(tell(Front(behind, "/settle", handler), path, method))
        assert told == asyncio.run(tell(behind, path, method))


def test_description_is_openapi_and_lists_every_operation() -> None:
    document = json.loads(describe())
    openapi_spec_validator.validate(document)
    listed = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert listed == {operation.id for operation in OPERATIONS}
    assert len(listed) == len(OPERATIONS)


def test_every_operation_needs_a_handler() -> None:
    handlers = {operation.id: fine for operation in OPERATIONS}
    assert {route.path for route in make_routes(handlers)} == {operation.path for operation in OPERATIONS}
    del handlers["settle_claim"]
    with pytest.raises(KeyError, match="settle_claim"):
        make_routes(handlers)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    """Return an exception that was raised."""
    try:
        raise error from cause
    except type(error):
        return error


def test_foreign_exception_is_told_by_type_and_place_alone() -> None:
    told = json.dumps(describe_exception(raised(ValueError(SECRET))))
    assert '"type": "ValueError"' in told
    assert "test_origin_shell.py" in told
    assert SECRET not in told


def test_exception_of_ours_is_told_with_its_cause() -> None:
    told = describe_exception(raised(ServiceAwayError("the database is away"), OSError(SECRET)))
    assert (told["message"], told["cause"]["type"]) == ("the database is away", "OSError")
    assert "message" not in told["cause"]


def test_every_line_is_one_json_object(capfd: pytest.CaptureFixture[str]) -> None:
    handlers, level, before = logging.root.handlers[:], logging.root.level, structlog.get_config()
    configure_logs()
    try:
        structlog.get_logger().info("ours", route="GET /x/{id}")
        logging.getLogger("library").warning("theirs %s", "too")
        logging.getLogger("library").error("failed", exc_info=raised(ValueError(SECRET)))
    finally:
        logging.root.handlers[:] = handlers
        logging.root.setLevel(level)
        structlog.configure(**before)
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["event"], line["level"]) for line in lines] == [
        ("ours", "info"),
        ("theirs too", "warning"),
        ("failed", "error"),
    ]
    assert lines[2]["exception"]["type"] == "ValueError"
    assert SECRET not in json.dumps(lines)
