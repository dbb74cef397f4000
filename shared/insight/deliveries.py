"""Intake: what a delivered queue message says, and which of its claims count. Pure: bytes in, facts out.

Rules:

1. A message is read leniently. What cannot be read is a `Rejection` with a closed reason; it never takes with it the
   rest of its message, nor other messages.
2. The signature is believed, not the event: a claim counts when its own token is good, and agrees with the event.
3. A claim that costs nothing is presented by the event that reports it: it settles however late the queue delivers,
   because the edge gave it in time. So its expiry is not looked at here. One with a price needs its viewer.
4. A token under a key that is not known here is neither good nor forged: keys may reach the edge first. It waits. One
   that nobody can have signed (another algorithm, no signature, a known key's name over other bytes) is forged.
"""

import re
from collections.abc import Collection
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.claims.keys import ClaimKey
from shared.claims.tokens import Claim, ClaimFault, read_claim
from shared.encoding import decode_base64url
from shared.insight.events import SCHEMA, ClaimIssued, Country, EdgeEvent, NodeId
from shared.problems import Code
from shared.structs import Strict, Wire

MAX_MESSAGE_BYTES: Final = 131_072  # the provider's own limit for one queue message
MAX_EVENTS: Final = 1000
EARLIEST_MS: Final = 1_577_836_800_000  # 2020-01-01: a clock that says less was never set
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01
WHOLE: Final = -1  # the index of a rejection that is about the message, not about one of its events

Reason = Literal[
    "too_large",
    "undecodable_body",
    "not_json",
    "other_schema",
    "not_a_batch",
    "not_an_event",
    "sequence_reused",
    "claim_forged",
]


class Rejection(Wire, frozen=True, kw_only=True):
    """Something that was delivered and does not count.

    Attributes:
        index: of the event in its message; -1 for the message as a whole.
    """

    index: int
    reason: Reason


class Positioned(Wire, frozen=True, kw_only=True):
    """An event, and its place in its message."""

    index: int
    event: EdgeEvent


class ReadBatch(Wire, frozen=True, kw_only=True):
    """A message that could be read, with those of its events that could."""

    node: str
    seq: int
    colo: str
    country: str
    at_ms: int
    events: tuple[Positioned, ...]
    rejections: tuple[Rejection, ...]


class IssuedClaim(Wire, frozen=True, kw_only=True):
    """A claim that the edge reports to have given.

    Attributes:
        claim: what the token says; None while its key is not known here.
        token: as reported.
    """

    claim_id: str
    drop: str
    expires_at_ms: int
    claim: Claim | None
    token: str


class _Envelope(Wire, frozen=True, kw_only=True):
    """An `EventBatch` whose events are left for later, each by itself."""

    v: int
    node: NodeId
    colo: Annotated[str, Meta(max_length=16)] = ""
    country: Country = ""
    seq: Annotated[int, Meta(ge=1, le=2**62)]
    at_ms: Annotated[int, Meta(ge=EARLIEST_MS, lt=LATEST_MS)]
    events: Annotated[tuple[msgspec.Raw, ...], Meta(max_length=MAX_EVENTS)]


class _Versioned(Wire, frozen=True, kw_only=True):
    v: int


class _Header(Strict, frozen=True, kw_only=True):
    """The header of a claim's token; one that says more, or something else, is not the edge's."""

    alg: Literal["HS256"]
    typ: Literal["claim+jwt"]
    kid: str


_SIGNATURE_BYTES: Final = 32
_HEADER_DECODER: Final = msgspec.json.Decoder(_Header)
_ENVELOPE_DECODER: Final = msgspec.json.Decoder(_Envelope)
_TOKEN: Final = re.compile(r"[A-Za-z0-9._-]+")
_VERSION_DECODER: Final = msgspec.json.Decoder(_Versioned)
_EVENT_DECODER: Final = msgspec.json.Decoder(EdgeEvent)


def read_batch(raw: bytes | None) -> ReadBatch | Rejection:
    """Read one delivered message; None stands for a body that its own encoding does not fit."""
    if raw is None:
        return Rejection(index=WHOLE, reason="undecodable_body")
    if len(raw) > MAX_MESSAGE_BYTES:
        return Rejection(index=WHOLE, reason="too_large")
    try:
        if _VERSION_DECODER.decode(raw).v != SCHEMA:
            return Rejection(index=WHOLE, reason="other_schema")
        envelope = _ENVELOPE_DECODER.decode(raw)
    except msgspec.ValidationError:
        return Rejection(index=WHOLE, reason="not_a_batch")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Rejection(index=WHOLE, reason="not_json")
    read = [_read_event(index, event) for index, event in enumerate(envelope.events)]
    return ReadBatch(
        node=envelope.node,
        seq=envelope.seq,
        colo=clean_text(envelope.colo),
        country=clean_text(envelope.country),
        at_ms=envelope.at_ms,
        events=tuple(item for item in read if isinstance(item, Positioned)),
        rejections=tuple(item for item in read if isinstance(item, Rejection)),
    )


def judge_issue(event: ClaimIssued, keys: Collection[ClaimKey], *, issuer: str, audience: str) -> IssuedClaim | None:
    """Return the claim that a `claim_issued` event stands for, or None when it is forged."""
    if not _TOKEN.fullmatch(event.token):
        return None
    claim = read_claim(event.token, keys)
    if isinstance(claim, ClaimFault):
        if claim.code is not Code.CLAIM_KEY_UNKNOWN or not _may_be_signed(event.token, keys):
            return None
        return IssuedClaim(
            claim_id=event.claim_id,
            drop=event.drop,
            expires_at_ms=event.expires_at_ms,
            claim=None,
            token=event.token,
        )
    if (claim.iss, claim.aud) != (issuer, audience) or (claim.jti, claim.drop) != (event.claim_id, event.drop):
        return None
    return IssuedClaim(
        claim_id=claim.jti, drop=claim.drop, expires_at_ms=claim.exp * 1000, claim=claim, token=event.token
    )


def _may_be_signed(token: str, keys: Collection[ClaimKey]) -> bool:
    """Return whether a token may be a claim under a key that is to come, and not what nobody has signed."""
    header, _, rest = token.partition(".")
    signature = decode_base64url(rest.rpartition(".")[2])
    try:
        said = _HEADER_DECODER.decode(decode_base64url(header) or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return len(signature or b"") == _SIGNATURE_BYTES and all(said.kid != key.kid for key in keys)


def settles_by_event(issued: IssuedClaim) -> bool:
    """Return whether the report alone settles the claim: it is good, and all of it is free."""
    return issued.claim is not None and issued.claim.total_minor == 0


def clean_text(text: str) -> str:
    """Return text without what a database's text cannot hold (U+0000), or a terminal should not see."""
    return "".join(character for character in text if character.isprintable())


def _read_event(index: int, raw: msgspec.Raw) -> Positioned | Rejection:
    try:
        return Positioned(index=index, event=_EVENT_DECODER.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Rejection(index=index, reason="not_an_event")
