"""What the service says about itself: alive, ready, its public keys, its description."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.responses import Handler, refuse, tell
from shared.openapi import JSON, Answer, Operation
from shared.problems import Code, Problem
from shared.structs import Wire

KEY_SET: Final = "application/jwk-set+json"
_KEPT: Final = {"Cache-Control": "public, max-age=300"}


class Health(Wire, frozen=True, kw_only=True):
    """A living process."""

    status: Literal["ok"] = "ok"


OPERATIONS: Final = (
    Operation(
        id="read_health",
        method="GET",
        path="/health",
        summary="Whether this process lives.",
        answers={200: Answer(description="It does.", type=Health)},
    ),
    Operation(
        id="read_readiness",
        method="GET",
        path="/ready",
        summary="Whether this process can settle now: whether its database answers.",
        answers={200: Answer(description="It can.", type=Health)},
        problems=(Code.UNAVAILABLE,),
    ),
    Operation(
        id="read_key_set",
        method="GET",
        path="/.well-known/jwks.json",
        summary="Read the public keys that receipts are signed with (RFC 7517), newest first.",
        answers={200: Answer(description="The key set.", media_types=(KEY_SET,))},
    ),
    Operation(
        id="read_description",
        method="GET",
        path="/openapi.json",
        summary="Read this description.",
        answers={200: Answer(description="OpenAPI 3.1.", type=dict[str, Any])},
    ),
)


class Service:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, key_set: bytes, describe: Callable[[], bytes]) -> None:
        self._database = database
        self._key_set = key_set
        self._describe = describe

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "read_health": self._read_health,
            "read_readiness": self._read_readiness,
            "read_key_set": self._read_key_set,
            "read_description": self._read_description,
        }

    async def _read_health(self, _: Request) -> Response:
        return tell(Health())

    async def _read_readiness(self, _: Request) -> Response:
        if await self._database.is_ready():
            return tell(Health())
        return refuse(Problem(code=Code.UNAVAILABLE, retry_after_s=1))

    async def _read_key_set(self, _: Request) -> Response:
        return Response(self._key_set, 200, _KEPT, KEY_SET)

    async def _read_description(self, _: Request) -> Response:
        return Response(self._describe(), 200, _KEPT, JSON)
