r"""Splitting what a sale brought among the creators of its drop, to the last minor unit. Pure.

The rule, so that anyone can do it again in any language (the largest remainder, also called Hamilton's method):

1. A share is in basis points: 1 of 10,000. What the shares leave of 10,000 is the shop's own share.
2. Each first gets amount x share / 10,000, rounded down to whole minor units of the currency, be they cents, yen or
   fils: nothing here knows how many digits a currency has.
3. The units that are left, fewer than there are parts, go one each to those whose division left the largest remainders.
4. Of equal remainders, the one of the smaller digest is first: SHA-256 over "cliptill split 1", the sale's id and the
   creator's id (empty for the shop), each preceded by its length in bytes as four bytes, big-endian. So the order in
   which shares are written does not matter, and nobody wins every tie.

What follows from it, and is tested: the parts sum to the amount; none is negative; each is less than one minor unit
away from the exact share; who has the larger share never gets less; who has none gets nothing.

After a refund each is owed the split of what was not refunded. So it does not matter in how many parts, or in which
order, money goes back, and nothing is left once all of it has. With each refund a part changes by its share of it, give
or take less than two minor units: it was rounded, and now is anew.
"""

from collections.abc import Iterable
from typing import Annotated, Final

from msgspec import Meta

from shared.encoding import digest_fields
from shared.structs import Identifier, Strict

WHOLE_BP: Final = 10_000
SHOP: Final = ""  # no creator's id is empty
_TIES: Final = "cliptill split 1"


class Share(Strict, frozen=True, kw_only=True, omit_defaults=False):
    """What one creator has of each sale of a drop, in basis points."""

    creator: Identifier
    share_bp: Annotated[int, Meta(ge=1, le=WHOLE_BP)]


def split_money(amount_minor: int, shares: Iterable[Share], sale: str) -> dict[str, int]:
    """Return what each has of an amount: by creator, and the shop's part under `SHOP`.

    Args:
        amount_minor: 0 or more.
        shares: of different creators, together at most `WHOLE_BP`, in any order.
        sale: the id of the claim that was sold; it decides ties.
    """
    parts = {share.creator: share.share_bp for share in shares}
    parts[SHOP] = WHOLE_BP - sum(parts.values())
    if amount_minor < 0 or parts[SHOP] < 0:
        raise AssertionError(f"{amount_minor} cannot be split by {WHOLE_BP - parts[SHOP]} basis points")
    divided = {part: divmod(amount_minor * share_bp, WHOLE_BP) for part, share_bp in parts.items()}
    left = amount_minor - sum(whole for whole, _ in divided.values())
    first = sorted(parts, key=lambda part: (-divided[part][1], digest_fields(_TIES, (sale, part))))
    return {part: divided[part][0] + (place < left) for place, part in enumerate(first)}


def change_split(before_minor: int, after_minor: int, shares: Iterable[Share], sale: str) -> dict[str, int]:
    """Return by how much each part changes when what is kept of a sale does; parts that stay are not there."""
    listed = tuple(shares)
    before, after = split_money(before_minor, listed, sale), split_money(after_minor, listed, sale)
    return {part: after[part] - before[part] for part in after if after[part] != before[part]}
