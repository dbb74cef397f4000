"""Partners over HTTP: for operators. Who sends or hands over what is sold, and the secret that is shared with each.

An operator's key may name any https address, one inside the operator's own network too: it is trusted as the settings
are.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from origin.database import Database
from origin.fulfilment import partners_store as store
from origin.fulfilment.partners_store import CountedPartner
from origin.guard import KEY_CODES, Guard
from origin.paging import PAGE_OF_IDS, cut_page, read_page_of_ids
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from shared.fulfilment.handoffs import PartnerBody, is_partner_address
from shared.fulfilment.webhooks import SECRET_BYTES, write_secret
from shared.openapi import Answer, Operation
from shared.problems import Code, Problem
from shared.structs import Identifier, Wire

SECURITY: Final = "operator"
MAX_BODY_BYTES: Final = 4_096


class PartnerView(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """A partner.

    Attributes:
        waiting, dead: messages that it has not taken yet, and that are not tried any more.
        secret: what messages are signed with, both ways; told when it is made, and never again.
    """

    partner: Identifier
    url: str
    waiting: int
    dead: int
    secret: str | None = None


class PartnerPage(Wire, frozen=True, kw_only=True):
    """Partners, by id; `next` is None on the last page."""

    partners: tuple[PartnerView, ...]
    next: Identifier | None = None


OPERATIONS: Final = (
    Operation(
        id="list_partners",
        method="GET",
        path="/v1/partners",
        summary="List partners, by id.",
        security=SECURITY,
        parameters=PAGE_OF_IDS,
        answers={200: Answer(description="A page.", type=PartnerPage)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
    Operation(
        id="write_partner",
        method="PUT",
        path="/v1/partners/{partner}",
        summary="Create a partner, or give it another address.",
        security=SECURITY,
        body=PartnerBody,
        answers={
            200: Answer(description="Stored.", type=PartnerView),
            201: Answer(description="Created; with its secret.", type=PartnerView),
        },
        problems=(*KEY_CODES, *BODY_CODES),
    ),
    Operation(
        id="renew_partner_secret",
        method="POST",
        path="/v1/partners/{partner}/secrets",
        summary="Make a new secret for a partner; the one before it counts until the next is made.",
        security=SECURITY,
        answers={201: Answer(description="Made.", type=PartnerView)},
        problems=(*KEY_CODES, Code.PARTNER_UNKNOWN),
    ),
)

_DECODER: Final = msgspec.json.Decoder(PartnerBody)


class Partners:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int], *, loopback: bool) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._loopback = loopback
        self._guarded = Guard(database, SECURITY)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "list_partners": self._guarded(self._list),
            "write_partner": self._guarded(self._write),
            "renew_partner_secret": self._guarded(self._renew),
        }

    async def _list(self, request: Request) -> Response:
        asked = read_page_of_ids(request)
        if isinstance(asked, Problem):
            return refuse(asked)
        async with self._database.connection() as connection:
            found = await store.list_partners(connection, asked.after or "", asked.limit + 1)
        shown, last = cut_page([_view(partner) for partner in found], asked.limit)
        return tell(PartnerPage(partners=shown, next=None if last is None else last.partner))

    async def _write(self, request: Request) -> Response:
        body = await read_json(request, _DECODER, MAX_BODY_BYTES)
        if isinstance(body, Problem):
            return refuse(body)
        if body.partner != request.path_params["partner"]:
            return refuse(Problem(code=Code.INVALID_FIELD, detail="At $.partner: must be the id in the address."))
        if not is_partner_address(body.url, loopback=self._loopback):
            return refuse(Problem(code=Code.INVALID_FIELD, detail="At $.url: must be an https address."))
        secret = _make_secret()
        async with self._database.transaction() as connection:
            created = await store.put_partner(connection, body, secret, self._clock_ms())
            stored = await store.count_messages(connection, body.partner)
        return _tell(stored, secret if created else None)

    async def _renew(self, request: Request) -> Response:
        partner, secret = request.path_params["partner"], _make_secret()
        async with self._database.transaction() as connection:
            if not await store.renew_secret(connection, partner, secret, self._clock_ms()):
                return refuse(Problem(code=Code.PARTNER_UNKNOWN))
            stored = await store.count_messages(connection, partner)
        return _tell(stored, secret)


def _make_secret() -> str:
    return write_secret(secrets.token_bytes(SECRET_BYTES))


def _view(stored: CountedPartner, secret: str | None = None) -> PartnerView:
    return PartnerView(
        partner=stored.partner, url=stored.url, waiting=stored.waiting, dead=stored.dead, secret=secret
    )  # fmt: skip


def _tell(stored: CountedPartner | None, secret: str | None) -> Response:
    if stored is None:
        raise AssertionError("a partner was stored and is not there")
    return tell(_view(stored, secret), status=200 if secret is None else 201)
