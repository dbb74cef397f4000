r"""The audit trail of a drop: a hash chain of every decision that takes or gives units. Pure.

How it is made, so that anyone can make it again in any language:

1. An entry is the JSON array `[drop, position, kind, claim_id, units, settled, at_ms, content, facts]`, without spaces;
   all its texts are plain ASCII, so there is one way to write it. `content` and `facts` are SHA-256 digests, in hex.
2. digest = SHA-256("cliptill trail entry 1\n" + entry)
3. hash = SHA-256("cliptill trail 1\n" + previous hash + digest); before position 1, the previous hash is 32 zeros.
4. A head is what the origin signs (Ed25519, JWS of type `trail-head+jwt`): that after `position` entries the hash is
   `hash`. One is signed at every multiple of `HEAD_EVERY`, by each reconciliation, and when somebody asks for a proof.

Why a chain with many heads, and not a Merkle tree: the proof that an entry is in it is the digests from it to the next
head, at most `HEAD_EVERY` of them, and checking it is a loop over one hash function. A tree's proof is shorter (20
hashes for a million entries), but needs its inner nodes stored, or all leaves read, and a growing frontier kept
under the lock that all claims of a drop wait for. The chain needs its last row only.

A receipt states its position and the hash before it. So each receipt is itself a signed head of all that came earlier:
two receipts that do not fit in one chain prove that the trail was rewritten.
"""

import hashlib
from typing import Final, Literal, NamedTuple

import msgspec

from shared.encoding import decode_base64url, encode_base64url
from shared.structs import Wire

HEAD_EVERY: Final = 128
HEAD_TYPE: Final = "trail-head+jwt"
START: Final = bytes(32)

Kind = Literal["settled", "returned"]
Facts = tuple[str | int | None, ...]

_ENTRY: Final = b"cliptill trail entry 1\n"
_CHAIN: Final = b"cliptill trail 1\n"
_FACTS: Final = b"cliptill trail facts 1\n"
_ENCODE: Final = msgspec.json.Encoder().encode


class Entry(Wire, frozen=True, kw_only=True):
    """One entry.

    Attributes:
        units: that the decision takes (positive) or gives back (negative).
        settled: units settled of the drop after it: the sum of all units so far.
        content: SHA-256 of the document about it, in hex; of the receipt's payload where it settles.
        facts: `hash_facts` of what the origin keeps beside that, in hex.
    """

    drop: str
    position: int
    kind: Kind
    claim_id: str
    units: int
    settled: int
    at_ms: int
    content: str
    facts: str


class Head(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """What the origin signs of a trail: after `position` entries, the last hash is `hash`, and `settled` the total.

    Attributes:
        iss: the origin's public address.
        at_ms: when it was signed.
        total, remaining, version: of the stock that was shown at that instant, where it is signed too: the units that
            are neither settled nor left are held (`check_shown_stock`).
    """

    iss: str
    drop: str
    position: int
    hash: str
    settled: int
    at_ms: int
    total: int | None = None
    remaining: int | None = None
    version: int | None = None


class Tail(NamedTuple):
    """The end of a trail."""

    position: int = 0
    hash: bytes = START
    settled: int = 0


def hash_content(content: bytes) -> bytes:
    """Return the digest of the document that an entry is about."""
    return hashlib.sha256(content).digest()


def hash_facts(facts: Facts) -> bytes:
    """Return the digest of what is kept of a decision beside its document."""
    return hashlib.sha256(frame_facts(facts)).digest()


def frame_facts(facts: Facts) -> bytes:
    """Return the bytes that `hash_facts` hashes: for who hashes many that are nearly alike."""
    return _FACTS + _ENCODE(facts)


def digest_entry(entry: Entry) -> bytes:
    """Return the digest of an entry."""
    return digest_told((
        entry.drop, entry.position, entry.kind, entry.claim_id, entry.units, entry.settled, entry.at_ms,
        entry.content, entry.facts,
    ))  # fmt: skip


def digest_told(told: tuple[str, int, Kind, str, int, int, int, str, str]) -> bytes:
    """Return the digest of the entry that has these fields, in the order of its own."""
    return hashlib.sha256(_ENTRY + _ENCODE(told)).digest()


def extend_chain(previous: bytes, digest: bytes) -> bytes:
    """Return the hash after one more entry."""
    return hashlib.sha256(_CHAIN + previous + digest).digest()


def check_shown_stock(head: Head) -> bool:
    """Return whether the stock that a head tells fits its own total of the trail: nothing is shown that is settled."""
    if head.total is None or head.remaining is None:
        return True
    return head.remaining >= 0 and head.settled + head.remaining <= head.total


def encode_head(head: Head) -> bytes:
    """Return the payload that is signed."""
    return _ENCODE(head)


def show_hash(raw: bytes) -> str:
    """Return a hash as it is told."""
    return encode_base64url(raw)


def read_hash(text: str) -> bytes | None:
    """Return the hash that a text tells, or None when it is none."""
    raw = decode_base64url(text)
    return raw if raw is not None and len(raw) == len(START) else None
