"""Claims as the core takes them (`shared.claims.settlement.Presented`)."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from shared.claims.bundles import list_parts
from shared.claims.settlement import DropStock, Presented, Source
from shared.claims.tokens import Claim, count_units, fingerprint_units

_AT_ONCE: Final = 128  # claims that are presented in one go: a third of a millisecond


async def present_all(claims: Sequence[Claim], source: Source) -> list[Presented]:
    """Present claims a few at a time: another batch may be waiting for its next step meanwhile."""
    presented: list[Presented] = []
    for first in range(0, len(claims), _AT_ONCE):
        if first:
            await asyncio.sleep(0)
        presented += [present_claim(claim, source) for claim in claims[first : first + _AT_ONCE]]
    return presented


def present_claim(claim: Claim, source: Source) -> Presented:
    """Return a verified claim as the core takes it: lines summed per SKU."""
    units = count_units(claim)
    return Presented(
        claim_id=claim.jti,
        drop=claim.drop,
        run=claim.run,
        viewer=claim.cnf.jkt,
        fingerprint=fingerprint_units(claim, units),
        units=units,
        source=source,
        way="paid" if source == "payment" else "settle",
    )


def add_parts(claim: Claim, presented: Presented, drops: Mapping[str, DropStock]) -> Presented:
    """Return a claim as the core takes it with its parts, where it is on a bundle."""
    if not drops[claim.drop].parts:
        return presented
    parts = tuple(
        msgspec.structs.replace(present_claim(part, presented.source), way=presented.way, bundle=claim.jti)
        for part in list_parts(claim, drops)
    )
    return msgspec.structs.replace(presented, parts=parts)
