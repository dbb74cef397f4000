"""Bases of all value types, and the scalar types that they share.

Two bases, by who wrote the bytes:

* `Strict`: what a client sends and what a token claims. Unknown fields are refused.
* `Wire`: what edge and origin tell each other. They deploy apart, so unknown fields pass and every field that is
  added later has a default.

Limits in `Meta` bite only when bytes are decoded; constructing a Struct in code checks nothing.
"""

from typing import Annotated

from msgspec import Meta, Struct


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value that a client wrote, or that a signature covers."""


class Wire(Struct, frozen=True, kw_only=True):
    """A value that one part of Cliptill wrote for another."""


# `(?!\n)`: Python's `$` also matches before a last newline; the lookahead closes that gap in every dialect.
Identifier = Annotated[
    str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$(?!\n)", description="lower-case letters, digits and hyphens")
]
Thumbprint = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{43}$(?!\n)", description="RFC 7638 SHA-256 thumbprint, base64url")
]
IdempotencyKey = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_-]{22,64}$(?!\n)", description="made anew for each tap; at least 128 random bits")
]
ClaimId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{22}$(?!\n)", description="128 bits, base64url")]
CurrencyCode = Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217")]
LocaleTag = Annotated[str, Meta(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$(?!\n)", description="BCP 47")]
AmountMinor = Annotated[int, Meta(ge=0, le=10**12, description="minor units of the currency")]
Quantity = Annotated[int, Meta(ge=1, le=100)]
InstantMs = Annotated[int, Meta(ge=0, le=2**53 - 1, description="milliseconds since 1970-01-01T00:00:00Z")]
InstantS = Annotated[int, Meta(ge=0, le=2**41, description="NumericDate: seconds since 1970-01-01T00:00:00Z")]
Units = Annotated[int, Meta(ge=0, le=10**9)]
ShortText = Annotated[str, Meta(min_length=1, max_length=120)]
LongText = Annotated[str, Meta(max_length=600)]
