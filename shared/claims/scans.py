"""Scans: what a scanner signs of each pass that it looked at, and what comes of it once the origin hears. Pure.

Rules:

1. A scanner signs every scan with its own key (ES256, type `scan+jwt`), so what it accepted cannot be denied, nor be
   made up by somebody else.
2. An accepted scan proves that the pass was there: it has the hash of the pass's text, or the typed code. Both follow
   from the pass's signature, which nobody can make or guess.
3. The first accepted scan that is heard of picks the claim up. Every further one of another scan is a second pickup:
   both scans are the proof, whichever came first.
4. Who accepted what was revoked, or was never to be handed out, has handed it out all the same: that is told too.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.claims.passes import PassFault, write_code
from shared.claims.states import Actor, State, may_move
from shared.claims.tokens import hash_token
from shared.structs import ClaimId, Identifier, InstantMs, Strict, Thumbprint

TYPE: Final = "scan+jwt"
MAX_SCAN_BYTES: Final = 1024

Verdict = Literal["good"] | PassFault
Outcome = Literal["noted", "picked_up", "second_pickup", "revoked", "not_settled", "unproven"]


class Scan(Strict, frozen=True, kw_only=True):
    """One look at one pass.

    Attributes:
        iss: the scanner.
        aud: the origin.
        seq: counts up with each scan of this scanner.
        at_ms: when, by the scanner's clock as the origin set it last.
        verdict: `good` for what was handed out.
        claim_id: of the pass; None where none could be read.
        pass_hash: base64url of the SHA-256 of the pass's text, when it was scanned.
        code: as typed, in four groups, when it was typed.
    """

    iss: Identifier
    aud: str
    seq: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    at_ms: InstantMs
    verdict: Verdict
    claim_id: ClaimId | None = None
    pass_hash: Thumbprint | None = None
    code: Annotated[str, Meta(max_length=19)] | None = None


_DECODER: Final = msgspec.json.Decoder(Scan)


def decode_scan(payload: bytes) -> Scan | None:
    """Return what a well-signed scan says, or None when it says nothing of ours."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def judge_scan(scan: Scan, token: str | None, state: State | None, *, revoked: bool) -> Outcome:
    """Return what comes of a scan that was not heard of before.

    Args:
        scan: its signature is checked.
        token: the pass of its claim; None where the claim has none at this scanner's place.
        state: where the claim stands; None where it is not known.
        revoked: whether its pass is revoked.
    """
    if scan.verdict != "good":
        return "noted"
    if token is None or state is None or not proves(scan, token):
        return "unproven"
    if state is State.PICKED_UP:
        return "second_pickup"
    if not may_move(state, State.PICKED_UP, Actor.SCANNER):
        return "not_settled"
    return "revoked" if revoked else "picked_up"


def proves(scan: Scan, token: str) -> bool:
    """Return whether a scan shows that the pass was there (rule 2)."""
    return scan.pass_hash == hash_token(token) if scan.code is None else scan.code == write_code(token)
