"""Proofs that a receipt's entry is in its drop's trail: made of public values, checked by anyone. Pure.

To check one: hash the receipt's payload, and compare it with the entry's `content`; make the entry's digest, and chain
it to `previous`; chain every digest of `following`; compare with the head's `hash`; check the head's signature with the
origin's public keys. This module does all but the last, which needs a JOSE library.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shared.audit.trail import HEAD_EVERY, Entry, Head, digest_entry, extend_chain, hash_content, read_hash
from shared.claims.receipts import Receipt
from shared.encoding import decode_base64url
from shared.structs import Wire

MAX_HEAD_BYTES: Final = 2048

Hash = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)", description="SHA-256, base64url")]


class InclusionProof(Wire, frozen=True, kw_only=True):
    """What shows that an entry is in the trail of its drop, up to a signed head.

    Attributes:
        entry: of the settlement.
        previous: the hash before it.
        following: digests of the entries after it, up to the head; at most `HEAD_EVERY`, without any content.
        head: EdDSA JWS of type `trail-head+jwt`; keys are at `/.well-known/jwks.json`.
    """

    entry: Entry
    previous: Hash
    following: Annotated[tuple[Hash, ...], Meta(max_length=HEAD_EVERY)]
    head: Annotated[str, Meta(max_length=MAX_HEAD_BYTES)]


ProofFault = Literal[
    "head_unreadable",
    "other_drop",
    "other_place",
    "hash_unreadable",
    "other_receipt",
    "does_not_reach_head",
]

_HEAD_DECODER: Final = msgspec.json.Decoder(Head)
_RECEIPT_DECODER: Final = msgspec.json.Decoder(Receipt)


def read_head(token: str) -> Head | None:
    """Return what a head says, or None when it cannot be read. Its signature is not looked at."""
    parts = token.split(".")
    payload = decode_base64url(parts[1]) if len(parts) == 3 and len(token) <= MAX_HEAD_BYTES else None  # noqa: PLR2004 - RFC 7515
    return None if payload is None else decode_head(payload)


def decode_head(payload: bytes) -> Head | None:
    """Return what the payload of a head says, or None when it cannot be read."""
    try:
        return _HEAD_DECODER.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def chain_on(start: bytes, digests: Sequence[bytes]) -> bytes:
    """Return the hash after some more entries."""
    reached = start
    for digest in digests:
        reached = extend_chain(reached, digest)
    return reached


def check_proof(proof: InclusionProof, receipt: bytes | None = None) -> ProofFault | None:
    """Return why a proof shows nothing, or None when it holds. The head's signature is the caller's to check.

    Args:
        proof: as the origin told it.
        receipt: payload of the receipt that it should be about; None to check the entry alone.
    """
    head, entry = read_head(proof.head), proof.entry
    if head is None:
        return "head_unreadable"
    if head.drop != entry.drop:
        return "other_drop"
    if head.position != entry.position + len(proof.following):
        return "other_place"
    previous, wanted = read_hash(proof.previous), read_hash(head.hash)
    following = [read_hash(digest) for digest in proof.following]
    digests = [digest for digest in following if digest is not None]
    if previous is None or wanted is None or len(digests) != len(following):
        return "hash_unreadable"
    if receipt is not None and not _is_about(entry, proof.previous, receipt):
        return "other_receipt"
    reached = chain_on(previous, [digest_entry(entry), *digests])
    return None if reached == wanted else "does_not_reach_head"


def _is_about(entry: Entry, previous: str, receipt: bytes) -> bool:
    """Return whether an entry is the one of a receipt: by its bytes, and by all that both say."""
    try:
        said = _RECEIPT_DECODER.decode(receipt)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    told = (said.drop, said.jti, len(said.run_numbers), said.iat, said.position, said.previous)
    kept = (entry.drop, entry.claim_id, entry.units, entry.at_ms // 1000, entry.position, previous)
    return entry.kind == "settled" and hash_content(receipt).hex() == entry.content and told == kept
