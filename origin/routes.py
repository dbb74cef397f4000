"""All that the origin answers, in one list: routes, OpenAPI document and contract tests come from it.

Each module describes its own operations; here they come together with their handlers, by id.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from origin import guard, metrics, service
from origin.catalogue import operators, windows
from origin.fulfilment import handoffs, partners, reporting
from origin.insight import edges, reports
from origin.money import crediting, dues, paying, refunding
from origin.pickup import page, passes, scanners, syncing
from origin.responses import Handler, refuse
from origin.settlement import counter, holding, presenting, settlements
from origin.trail import proving
from shared.openapi import Operation, build_document
from shared.problems import Code, Problem

VERSION: Final = "0.1.0"
OPERATIONS: Final[tuple[Operation, ...]] = (
    *settlements.OPERATIONS,
    *holding.OPERATIONS,
    *passes.OPERATIONS,
    *paying.OPERATIONS,
    *counter.OPERATIONS,
    *refunding.OPERATIONS,
    *crediting.OPERATIONS,
    *dues.OPERATIONS,
    *partners.OPERATIONS,
    *handoffs.OPERATIONS,
    *reporting.OPERATIONS,
    *scanners.OPERATIONS,
    *syncing.OPERATIONS,
    *page.OPERATIONS,
    *windows.OPERATIONS,
    *service.OPERATIONS,
    *operators.OPERATIONS,
    *edges.OPERATIONS,
    *proving.OPERATIONS,
    *reports.OPERATIONS,
    *metrics.OPERATIONS,
)
SECURITY_SCHEMES: Final = {**presenting.SECURITY_SCHEMES, **guard.SECURITY_SCHEMES}

# What any id of ours looks like. Anything else in a path is nothing that exists, and goes no further.
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def describe() -> bytes:
    """Return the OpenAPI document."""
    document: dict[str, Any] = build_document(
        title="Cliptill origin",
        version=VERSION,
        description="Settles claims exactly once, and tells what is left.",
        operations=OPERATIONS,
        security_schemes=SECURITY_SCHEMES,
    )
    return msgspec.json.encode(document)


def make_routes(handlers: Mapping[str, Handler]) -> list[Route]:
    """Return one route for each path of the list, with all of its methods.

    Raises:
        KeyError: an operation has no handler.
    """
    return [
        Route(path, _dispatch({operation.method: handlers[operation.id] for operation in listed}), methods=methods)
        for path, listed in _by_path(OPERATIONS).items()
        for methods in [[operation.method for operation in listed]]
    ]


def _by_path(operations: Iterable[Operation]) -> dict[str, list[Operation]]:
    paths: dict[str, list[Operation]] = {}
    for operation in operations:
        paths.setdefault(operation.path, []).append(operation)
    return paths


def _dispatch(by_method: Mapping[str, Handler]) -> Handler:
    async def answer(request: Request) -> Response:
        if not all(_ID.fullmatch(value) for value in request.path_params.values()):
            return refuse(Problem(code=Code.NOT_FOUND))
        return await by_method["GET" if request.method == "HEAD" else request.method](request)

    return answer
