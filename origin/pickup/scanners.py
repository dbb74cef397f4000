"""Scanners and pickups, for operators: let a device in, revoke a pass, see what was handed out twice.

Rules:

1. A scanner is one device at one place. It is let in with a code that is shown once, kept as a hash, good for a day
   and for one device; another device is another scanner.
2. A revoked pass is told to scanners when they next have a network; what they handed out before is reported, not
   undone.
3. What somebody must look at is shown with the signed scans themselves and the keys that they are signed with: anyone
   can check them.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.apikeys import revoke_key
from origin.database import Database
from origin.guard import KEY_CODES, Guard
from origin.pickup import scanner_store as store
from origin.pickup.scanner_store import DisputedScan, ScannerEntry
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from origin.settlement.states_store import read_states
from shared.claims.passes import hash_code, write_code
from shared.claims.scans import Outcome
from shared.claims.states import State
from shared.encoding import encode_base64url
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId, Identifier, InstantMs, Strict, Thumbprint, Wire

SECURITY: Final = "operator"
MAX_BODY_BYTES: Final = 2048
CODE_LIFE_MS: Final = 24 * 3_600_000
PAGE: Final = 100


class PublicKey(Strict, frozen=True, kw_only=True):
    """A device's public key (RFC 7517): P-256."""

    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: Thumbprint
    y: Thumbprint


class ScannerBody(Strict, frozen=True, kw_only=True):
    """A scanner to be let in, and the place whose passes it checks."""

    scanner: Annotated[Identifier, Meta(max_length=40)]
    place: Identifier


class ScannerInvitation(Wire, frozen=True, kw_only=True):
    """What its device enrols with, once; the code is shown here only."""

    scanner: Identifier
    place: Identifier
    code: str
    until_ms: InstantMs


class ScannerList(Wire, frozen=True, kw_only=True):
    """All scanners, by name."""

    scanners: tuple[ScannerEntry, ...]


class SignedScan(Wire, frozen=True, kw_only=True):
    """A scan that took a pass for good.

    Attributes:
        key: of the scanner; checks `scan`.
        at_ms: by the scanner's clock; received_ms: by ours.
        outcome: what came of it when it was heard of.
        scan: ES256 JWS of type `scan+jwt`, as the scanner signed it.
    """

    scanner: Identifier
    place: Identifier
    key: PublicKey
    at_ms: InstantMs
    received_ms: InstantMs
    outcome: Outcome
    scan: str


class DisputedPickup(Wire, frozen=True, kw_only=True):
    """A claim that was handed out more than once, or should not have been: all scans that did, oldest arrival first."""

    claim_id: ClaimId
    scans: tuple[SignedScan, ...]


class DisputedPickups(Wire, frozen=True, kw_only=True):
    """A page, by claim; `next` is None on the last page."""

    pickups: tuple[DisputedPickup, ...]
    next: ClaimId | None = None


class RevokedPass(Wire, frozen=True, kw_only=True):
    """A pass that no scanner takes any more, once it has heard of it."""

    claim_id: ClaimId


_CLAIM: Final = Parameter(name="claim_id", where="path", type=ClaimId)

OPERATIONS: Final = (
    Operation(
        id="invite_scanner",
        method="POST",
        path="/v1/scanners",
        summary="Let a device check passes at a place: it enrols with a code that is shown once.",
        security=SECURITY,
        body=ScannerBody,
        answers={201: Answer(description="It may enrol.", type=ScannerInvitation)},
        problems=(*KEY_CODES, *BODY_CODES, Code.ALREADY_EXISTS),
    ),
    Operation(
        id="list_scanners",
        method="GET",
        path="/v1/scanners",
        summary="List scanners, by name.",
        security=SECURITY,
        answers={200: Answer(description="All of them.", type=ScannerList)},
        problems=KEY_CODES,
    ),
    Operation(
        id="revoke_scanner",
        method="POST",
        path="/v1/scanners/{scanner}/revoke",
        summary="Shut a scanner out; again is the same. What it has not sent yet is not taken any more.",
        security=SECURITY,
        answers={200: Answer(description="All scanners.", type=ScannerList)},
        problems=(*KEY_CODES, Code.SCANNER_UNKNOWN),
    ),
    Operation(
        id="revoke_pass",
        method="POST",
        path="/v1/passes/{claim_id}/revoke",
        summary="Revoke the pass of a settled claim; again is the same.",
        security=SECURITY,
        parameters=(_CLAIM,),
        answers={200: Answer(description="It is revoked.", type=RevokedPass)},
        problems=(*KEY_CODES, Code.SETTLEMENT_UNKNOWN),
    ),
    Operation(
        id="list_disputed_pickups",
        method="GET",
        path="/v1/pickups/disputed",
        summary="List what was handed out twice, or though it should not have been, with the signed scans as proof.",
        security=SECURITY,
        parameters=(Parameter(name="after", where="query", type=ClaimId, description="`next` of the page before"),),
        answers={200: Answer(description="A page.", type=DisputedPickups)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
)

_DECODER: Final = msgspec.json.Decoder(ScannerBody)


class Scanners:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._clock_ms = clock_ms
        self._guarded = Guard(database, SECURITY)

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        found = {
            "invite_scanner": self._invite,
            "list_scanners": self._list,
            "revoke_scanner": self._revoke,
            "revoke_pass": self._revoke_pass,
            "list_disputed_pickups": self._list_disputed,
        }
        return {name: self._guarded(handler) for name, handler in found.items()}

    async def _invite(self, request: Request) -> Response:
        body = await read_json(request, _DECODER, MAX_BODY_BYTES)
        if isinstance(body, Problem):
            return refuse(body)
        code, now_ms = write_code(encode_base64url(secrets.token_bytes(32))), self._clock_ms()
        until_ms = now_ms + CODE_LIFE_MS
        async with self._database.connection() as connection:
            added = await store.add_scanner(
                connection, body.scanner, body.place, hash_code(code), until_ms=until_ms, now_ms=now_ms
            )
        if not added:
            return refuse(Problem(code=Code.ALREADY_EXISTS))
        invitation = ScannerInvitation(scanner=body.scanner, place=body.place, code=code, until_ms=until_ms)
        return tell(invitation, status=201)

    async def _list(self, _: Request) -> Response:
        async with self._database.connection() as connection:
            return tell(ScannerList(scanners=tuple(await store.list_scanners(connection))))

    async def _revoke(self, request: Request) -> Response:
        scanner = request.path_params["scanner"]
        async with self._database.transaction() as connection:
            await store.withdraw_code(connection, scanner)
            await revoke_key(connection, name_key(scanner), self._clock_ms())
            scanners = await store.list_scanners(connection)
        if scanner not in {entry.scanner for entry in scanners}:
            return refuse(Problem(code=Code.SCANNER_UNKNOWN))
        return tell(ScannerList(scanners=tuple(scanners)))

    async def _revoke_pass(self, request: Request) -> Response:
        claim_id = request.path_params["claim_id"]
        async with self._database.transaction() as connection:
            if (await read_states(connection, [claim_id])).get(claim_id, State.REFUSED) is State.REFUSED:
                return refuse(Problem(code=Code.SETTLEMENT_UNKNOWN))
            await store.revoke_pass(connection, claim_id, self._clock_ms())
        return tell(RevokedPass(claim_id=claim_id))

    async def _list_disputed(self, request: Request) -> Response:
        try:
            after = msgspec.convert(request.query_params.get("after"), ClaimId | None)
        except msgspec.ValidationError:
            return refuse(Problem(code=Code.INVALID_FIELD, detail="In the query: `after` is the id of a claim."))
        async with self._database.connection() as connection:
            found = await store.list_disputed(connection, after or "", PAGE + 1)
        pickups = list(_gather(found))
        shown = tuple(pickups[:PAGE])
        return tell(DisputedPickups(pickups=shown, next=shown[-1].claim_id if len(pickups) > PAGE else None))


def name_key(scanner: str) -> str:
    """Return the name of a scanner's API key."""
    return f"scanner:{scanner}"


def _gather(scans: Iterable[DisputedScan]) -> Iterable[DisputedPickup]:
    for claim_id, group in groupby(scans, key=lambda scan: scan.claim_id):
        told = (
            SignedScan(
                scanner=scan.scanner,
                place=scan.place,
                key=msgspec.convert(scan.public_key, PublicKey),
                at_ms=scan.at_ms,
                received_ms=scan.received_ms,
                outcome=scan.outcome,
                scan=scan.scan,
            )
            for scan in group
        )
        yield DisputedPickup(claim_id=claim_id, scans=tuple(told))
