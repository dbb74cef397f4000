"""Admission: whether a node gives a claim now. A pure function of terms, snapshot, the node's own bucket, and now.

Nothing is promised here about stock: exactness belongs to settlement. What is promised is a bound: a node gives at
most rate x age + one second's burst beyond what is left (`shared.catalogue.stock.bound_over_issue`).
"""

from typing import Final

from shared.catalogue.manifest import DropTerms
from shared.catalogue.stock import StockSnapshot, is_believable, is_stale
from shared.problems import Code, Problem
from shared.structs import Wire

_MILLI: Final = 1000
_MAX_RETRY_AFTER_S: Final = 60


class Bucket(Wire, frozen=True, kw_only=True):
    """A node's token bucket for one drop: thousandths of a claim, at an instant."""

    milli: int
    at_ms: int


class Admitted(Wire, frozen=True, kw_only=True):
    """A claim may be given; `bucket` is what the node keeps; `stock_version` is what it was decided on."""

    bucket: Bucket | None
    stock_version: int


class NotAdmitted(Wire, frozen=True, kw_only=True):
    """No claim; why, and what the node keeps."""

    problem: Problem
    bucket: Bucket | None


def decide_admission(
    terms: DropTerms, snapshot: StockSnapshot | None, bucket: Bucket | None, quantity: int, now_ms: int
) -> Admitted | NotAdmitted:
    """Decide one tap.

    Args:
        terms: of the drop, from the manifest.
        snapshot: the newest that the node has; None when it has none.
        bucket: what the node kept from the last tap on this drop.
        quantity: units asked for, 1 or more.
        now_ms: the node's clock.
    """
    outside = _outside_window(terms, now_ms)
    if outside is not None:
        return NotAdmitted(problem=outside, bucket=bucket)
    if quantity > terms.max_quantity:
        problem = Problem(code=Code.QUANTITY_NOT_OFFERED, detail=f"At most {terms.max_quantity} in one claim.")
        return NotAdmitted(problem=problem, bucket=bucket)
    if snapshot is None or is_stale(snapshot, now_ms) or not is_believable(snapshot, now_ms):
        return _decide_blind(terms, snapshot, bucket)
    if snapshot.remaining < quantity:
        return NotAdmitted(problem=Problem(code=Code.SOLD_OUT), bucket=bucket)
    return _draw(snapshot, bucket, now_ms)


def _outside_window(terms: DropTerms, now_ms: int) -> Problem | None:
    if now_ms < terms.opens_at_ms:
        wait_s = min(_MAX_RETRY_AFTER_S, -(-(terms.opens_at_ms - now_ms) // _MILLI))
        return Problem(code=Code.DROP_NOT_OPEN, retry_after_s=wait_s)
    if now_ms >= terms.closes_at_ms:
        return Problem(code=Code.DROP_CLOSED)
    return None


def _decide_blind(terms: DropTerms, snapshot: StockSnapshot | None, bucket: Bucket | None) -> Admitted | NotAdmitted:
    """Without a fresh snapshot the drop's declared mode decides; a run that was seen sold out stays so."""
    if snapshot is not None and snapshot.remaining == 0:
        return NotAdmitted(problem=Problem(code=Code.SOLD_OUT), bucket=bucket)
    if terms.when_origin_away == "close":
        return NotAdmitted(problem=Problem(code=Code.STOCK_UNKNOWN, retry_after_s=2), bucket=bucket)
    return Admitted(bucket=bucket, stock_version=snapshot.version if snapshot else 0)


def _draw(snapshot: StockSnapshot, bucket: Bucket | None, now_ms: int) -> Admitted | NotAdmitted:
    """Take one claim from the bucket, which holds at most one second's worth."""
    rate = snapshot.admit_per_s
    if rate is None:
        return Admitted(bucket=None, stock_version=snapshot.version)
    full = rate * _MILLI
    # A clock that is put back refills nothing, now or when it passes the same instants again.
    at_ms = now_ms if bucket is None else max(now_ms, bucket.at_ms)
    milli = full if bucket is None else min(full, bucket.milli + (at_ms - bucket.at_ms) * rate)
    if milli < _MILLI:
        problem = Problem(code=Code.NOT_ADMITTED_YET, retry_after_s=1)
        return NotAdmitted(problem=problem, bucket=Bucket(milli=milli, at_ms=at_ms))
    return Admitted(bucket=Bucket(milli=milli - _MILLI, at_ms=at_ms), stock_version=snapshot.version)
