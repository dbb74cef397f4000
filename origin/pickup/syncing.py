"""What a scanner needs of the origin: to be let in, to know a place's passes, to tell what it scanned.

Rules:

1. A device is let in with a one-time code and a public key of its own, and gets an API key that opens nothing else.
2. What it knows of passes (`GET /v1/scanner/passes`) is enough to work without network: the keys that passes are
   signed with, and of each pass what it says, whether it is used or revoked, and the hash of its code.
3. Scans are told in signed texts, any number of times, in any order; each is kept once, word for word, with what came
   of it, in the transaction that moves the claim. So a device that hears no answer tells the same again.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from origin.apikeys import add_key, make_key
from origin.database import Connection, Database
from origin.guard import KEY_CODES, Guard, holder_of
from origin.pickup import scanner_store as store
from origin.pickup.scanner_store import NewScan, StoredPass
from origin.pickup.scanners import PublicKey, name_key
from origin.responses import BODY_CODES, Handler, read_json, refuse, tell
from origin.settlement.answers import read_receipt, sign_pass
from origin.settlement.proofs import ProofKey, is_signed
from origin.settlement.receipts import SigningKeys
from origin.settlement.states_store import note_pickups, read_states
from shared.claims.passes import Pass, hash_code, read_code, write_code, write_pass
from shared.claims.scans import MAX_SCAN_BYTES, TYPE, Outcome, Scan, decode_scan, judge_scan
from shared.claims.states import State
from shared.encoding import decode_base64url, encode_base64url
from shared.openapi import Answer, Operation, Parameter
from shared.problems import Code, Problem
from shared.structs import ClaimId, Identifier, InstantMs, Strict, Thumbprint, Wire

MAX_ENROLMENT_BYTES: Final = 4096
MAX_SCANS: Final = 100
MAX_SCANS_BYTES: Final = 256 * 1024
PAGE: Final = 500
KEPT_MS: Final = 30 * 86_400_000  # a drop's passes are listed until so long after its window, to be called too late
_SEGMENTS: Final = 3


class Enrolment(Strict, frozen=True, kw_only=True):
    """What a device enrols with: the code that its operator was given, and its key."""

    code: Annotated[str, Meta(max_length=40)]
    key: PublicKey


class Enrolled(Wire, frozen=True, kw_only=True):
    """A device that was let in; the API key is shown here only."""

    scanner: Identifier
    place: Identifier
    api_key: str


class ListedPass(Wire, frozen=True, kw_only=True):
    """A pass as scanners know it.

    Attributes:
        code: `shared.claims.passes.hash_code` of its code.
    """

    said: Pass
    code: Thumbprint
    state: Literal["good", "used", "revoked"]


class PassPage(Wire, frozen=True, kw_only=True):
    """A page of a place's passes, and what else is needed to check them without network.

    Attributes:
        as_of_ms: the origin's clock; what changes later is asked for with `since_ms`.
        over_ms: passes whose window ended before this are not listed any more, and may be forgotten: they say of
            themselves that they are expired.
        keys: that passes are signed with, as JWKs.
        next: `after` of the next page; None on the last one.
    """

    issuer: str
    scanner: Identifier
    place: Identifier
    as_of_ms: InstantMs
    over_ms: InstantMs
    keys: tuple[dict[str, str], ...]
    passes: tuple[ListedPass, ...]
    next: ClaimId | None = None


class ScanReport(Strict, frozen=True, kw_only=True):
    """Signed scans: ES256 JWS of type `scan+jwt`, by this device's key."""

    scans: Annotated[tuple[Annotated[str, Meta(max_length=MAX_SCAN_BYTES)], ...], Meta(max_length=MAX_SCANS)]


class ScanReceipt(Wire, frozen=True, kw_only=True):
    """What came of each scan, in order; `refused` where it is not this device's, or cannot be read."""

    outcomes: tuple[Outcome | Literal["refused"], ...]


OPERATIONS: Final = (
    Operation(
        id="enrol_scanner",
        method="POST",
        path="/v1/enrolments",
        summary="Enrol a device as a scanner, with its one-time code and its public key.",
        body=Enrolment,
        answers={201: Answer(description="It is let in.", type=Enrolled)},
        problems=(*BODY_CODES, Code.ENROLMENT_REFUSED, Code.UNAVAILABLE),
    ),
    Operation(
        id="list_passes",
        method="GET",
        path="/v1/scanner/passes",
        summary="Read what is picked up at this scanner's place, to check passes without network.",
        description="A drop's passes are listed until thirty days after its window.",
        security="scanner",
        parameters=(
            Parameter(name="after", where="query", type=ClaimId, description="`next` of the page before"),
            Parameter(name="since_ms", where="query", type=InstantMs, description="only what changed since"),
        ),
        answers={200: Answer(description="A page.", type=PassPage)},
        problems=(*KEY_CODES, Code.INVALID_FIELD),
    ),
    Operation(
        id="report_scans",
        method="POST",
        path="/v1/scanner/scans",
        summary="Tell what was scanned: each scan counts once, however often it is told.",
        security="scanner",
        body=ScanReport,
        answers={200: Answer(description="All are kept.", type=ScanReceipt)},
        problems=(*KEY_CODES, *BODY_CODES),
    ),
)

_ENROLMENT_DECODER: Final = msgspec.json.Decoder(Enrolment)
_REPORT_DECODER: Final = msgspec.json.Decoder(ScanReport)
_HEADER: Final = encode_base64url(f'{{"alg":"ES256","typ":"{TYPE}"}}'.encode())


class Syncing:
    """The handlers of `OPERATIONS`."""

    def __init__(self, database: Database, issuer: str, keys: SigningKeys, clock_ms: Callable[[], int]) -> None:
        self._database = database
        self._issuer = issuer
        self._keys = keys
        self._clock_ms = clock_ms
        self._guarded = Guard(database, "scanner")

    def handlers(self) -> Mapping[str, Handler]:
        """Return a handler for each operation."""
        return {
            "enrol_scanner": self._enrol,
            "list_passes": self._guarded(self._list),
            "report_scans": self._guarded(self._report),
        }

    async def _enrol(self, request: Request) -> Response:
        body = await read_json(request, _ENROLMENT_DECODER, MAX_ENROLMENT_BYTES)
        if isinstance(body, Problem):
            return refuse(body)
        code, key, now_ms = read_code(body.code), make_key(), self._clock_ms()
        if code is None:
            return refuse(Problem(code=Code.ENROLMENT_REFUSED))
        async with self._database.transaction() as connection:
            enrolled = await store.enrol_scanner(connection, hash_code(code), body.key, now_ms)
            if enrolled is None:
                return refuse(Problem(code=Code.ENROLMENT_REFUSED))
            scanner, place = enrolled
            if not await add_key(connection, name_key(scanner), key, now_ms, "scanner"):
                raise AssertionError(f"scanner {scanner} was enrolled before")
        return tell(Enrolled(scanner=scanner, place=place, api_key=key), status=201)

    async def _list(self, request: Request) -> Response:
        try:
            after = msgspec.convert(request.query_params.get("after"), ClaimId | None)
            since_ms = msgspec.convert(request.query_params.get("since_ms", 0), InstantMs, strict=False)
        except msgspec.ValidationError:
            detail = "In the query: `after` is the id of a claim, `since_ms` an instant."
            return refuse(Problem(code=Code.INVALID_FIELD, detail=detail))
        scanner, now_ms = _scanner_of(request), self._clock_ms()
        async with self._database.connection() as connection:
            place, _ = await store.meet_scanner(connection, scanner, now_ms)
            over_ms = now_ms - KEPT_MS
            found = await store.list_passes(
                connection, place, after or "", since_ms=since_ms, over_ms=over_ms, limit=PAGE + 1
            )
        shown = found[:PAGE]
        page = PassPage(
            issuer=self._issuer,
            scanner=scanner,
            place=place,
            as_of_ms=now_ms,
            over_ms=over_ms,
            keys=self._keys.public,
            passes=tuple(listed for row in shown for listed in self._describe(row)),
            next=shown[-1].claim_id if len(found) > PAGE else None,
        )
        return tell(page)

    def _describe(self, row: StoredPass) -> tuple[ListedPass, ...]:
        said, token = write_pass(read_receipt(row.receipt)), sign_pass(row.receipt, row.kid, self._keys)
        if said is None or token is None:  # settled before the drop had a pickup
            return ()
        return (ListedPass(said=said, code=hash_code(write_code(token)), state=row.state),)

    async def _report(self, request: Request) -> Response:
        body = await read_json(request, _REPORT_DECODER, MAX_SCANS_BYTES)
        if isinstance(body, Problem):
            return refuse(body)
        scanner = _scanner_of(request)
        async with self._database.transaction() as connection:
            place, public_key = await store.meet_scanner(connection, scanner, self._clock_ms())
            key = msgspec.convert(public_key, ProofKey)
            scans = [read_scan(text, key, scanner, self._issuer) for text in body.scans]
            outcomes = await self._take(connection, place, body.scans, scans)
        return tell(ScanReceipt(outcomes=outcomes))

    async def _take(
        self, connection: Connection, place: str, texts: tuple[str, ...], scans: list[Scan | None]
    ) -> tuple[Outcome | Literal["refused"], ...]:
        """Keep scans that are new, and move the claims that they pick up."""
        good = [scan for scan in scans if scan is not None]
        ids = [scan.claim_id for scan in good if scan.claim_id is not None]
        await store.lock_drops_of(connection, ids)
        states, passes = await read_states(connection, ids), await store.read_passes(connection, place, ids)
        digests = [hashlib.sha256(text.encode()).digest() for text in texts]
        known = await store.read_outcomes(connection, good[0].iss, digests) if good else {}
        now_ms, new, moved = self._clock_ms(), [], []
        outcomes: list[Outcome | Literal["refused"]] = []
        for text, digest, scan in zip(texts, digests, scans, strict=True):
            if scan is None:
                outcomes.append("refused")
                continue
            if digest not in known:
                known[digest] = self._judge(scan, passes.get(scan.claim_id or ""), states)
                new.append(_row(scan, digest, text, known[digest], now_ms))
                if known[digest] in {"picked_up", "revoked"} and scan.claim_id is not None:
                    states[scan.claim_id] = State.PICKED_UP
                    moved.append(scan.claim_id)
            outcomes.append(known[digest])
        await store.keep_scans(connection, new)
        await note_pickups(connection, moved, now_ms)
        return tuple(outcomes)

    def _judge(self, scan: Scan, row: StoredPass | None, states: Mapping[str, State]) -> Outcome:
        if row is None:
            return judge_scan(scan, None, None, revoked=False)
        token = sign_pass(row.receipt, row.kid, self._keys)
        return judge_scan(scan, token, states.get(row.claim_id), revoked=row.state == "revoked")


def read_scan(text: str, key: ProofKey, scanner: str, issuer: str) -> Scan | None:
    """Return what a scanner signed for this origin, or None when it did not, or cannot be read."""
    segments = text.split(".")
    if len(segments) != _SEGMENTS or segments[0] != _HEADER:
        return None
    payload, signature = decode_base64url(segments[1]), decode_base64url(segments[2])
    if payload is None or signature is None or not is_signed(key, text.rpartition(".")[0].encode(), signature):
        return None
    scan = decode_scan(payload)
    return scan if scan is not None and (scan.iss, scan.aud) == (scanner, issuer) else None


def _row(scan: Scan, digest: bytes, text: str, outcome: Outcome, now_ms: int) -> NewScan:
    return NewScan(
        scanner=scan.iss,
        digest=digest,
        seq=scan.seq,
        claim_id=scan.claim_id,
        verdict=scan.verdict,
        outcome=outcome,
        at_ms=scan.at_ms,
        received_ms=now_ms,
        scan=text,
    )


def _scanner_of(request: Request) -> str:
    return holder_of(request).removeprefix(name_key(""))
