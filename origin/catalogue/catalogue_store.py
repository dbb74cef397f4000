"""Storage of the catalogue: creators, drops, offers, clips, and the manifests that were published of them.

Rules:

1. One writer at a time (`lock_catalogue`): two cannot each store what is good alone and bad together. Operators write
   seldom, so nothing waits for it; settlement never takes this lock.
2. A drop's `free` moves with its `total`, in the same statement, so that the stock adds up at every instant.
3. A manifest's row is written once and never changed.
"""

from collections.abc import Collection
from typing import Final

import msgspec
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from origin.database import Connection
from origin.money.shares_store import write_shares
from shared.catalogue.drops import DropStanding
from shared.catalogue.entries import ClipBody, CreatorBody, DropBody, OfferBody
from shared.claims.receipts import Pickup
from shared.structs import Wire

# The columns stand in the order of the documents' fields.
_CREATORS: Final = "SELECT creator, name, page FROM creators"
_DROPS: Final = """
    SELECT drop, run, sku, total + released - received, opens_at_ms, closes_at_ms, mode, max_quantity, per_viewer_cap,
      when_origin_away, hold_s, late_payment, pickup, allotment_of, release_at_ms, (
        SELECT coalesce(jsonb_agg(jsonb_build_object('creator', creator, 'share_bp', share_bp) ORDER BY creator), '[]')
        FROM drop_shares WHERE drop_shares.drop = drops.drop
      ), partner, coalesce(parts, '[]'), free, held, settled, received, released, stock_version, pickup_from_ms,
      pickup_until_ms,
      next_number > 1
    FROM drops
"""
_OFFERS: Final = "SELECT offer, drop, kind, names, descriptions, image, prices, payment FROM offers"
_CLIPS: Final = "SELECT clip, creator, names, default_locale, offers, links, claim_ttl_s FROM clips"

_PUT_CREATOR: Final = """
    INSERT INTO creators (creator, name, page, created_ms, updated_ms)
    VALUES (%(creator)s, %(name)s, %(page)s, %(now)s, %(now)s)
    ON CONFLICT (creator) DO UPDATE SET name = excluded.name, page = excluded.page, updated_ms = excluded.updated_ms
"""
_ADD_DROP: Final = """
    INSERT INTO drops (drop, run, sku, total, free, opens_at_ms, closes_at_ms, mode, max_quantity, per_viewer_cap,
      when_origin_away, hold_s, late_payment, pickup, pickup_from_ms, pickup_until_ms, allotment_of, release_at_ms,
      partner, parts, created_ms, updated_ms)
    VALUES (%(drop)s, %(run)s, %(sku)s, %(total)s, %(total)s, %(opens_at_ms)s, %(closes_at_ms)s, %(mode)s,
      %(max_quantity)s, %(per_viewer_cap)s, %(when_origin_away)s, %(hold_s)s, %(late_payment)s, %(pickup)s,
      %(pickup_from_ms)s, %(pickup_until_ms)s, %(allotment_of)s, %(release_at_ms)s, %(partner)s,
      nullif(%(parts)s::jsonb, '[]'), %(now)s, %(now)s)
"""
_CHANGE_DROP: Final = """
    UPDATE drops SET free = free + (%(total)s - released + received - total), total = %(total)s - released + received,
      opens_at_ms = %(opens_at_ms)s,
      closes_at_ms = %(closes_at_ms)s, mode = %(mode)s, max_quantity = %(max_quantity)s,
      per_viewer_cap = %(per_viewer_cap)s, when_origin_away = %(when_origin_away)s, hold_s = %(hold_s)s,
      late_payment = %(late_payment)s, pickup = %(pickup)s, pickup_from_ms = %(pickup_from_ms)s,
      pickup_until_ms = %(pickup_until_ms)s, release_at_ms = %(release_at_ms)s, partner = %(partner)s,
      updated_ms = %(now)s,
      stock_version = stock_version + CASE WHEN total = %(total)s - released + received THEN 0 ELSE 1 END
    WHERE drop = %(drop)s
"""
_PUT_OFFER: Final = """
    INSERT INTO offers (offer, drop, kind, names, descriptions, image, prices, payment, created_ms, updated_ms)
    VALUES (%(offer)s, %(drop)s, %(kind)s, %(names)s, %(descriptions)s, %(image)s, %(prices)s, %(payment)s, %(now)s,
      %(now)s)
    ON CONFLICT (offer) DO UPDATE SET drop = excluded.drop, kind = excluded.kind, names = excluded.names,
      descriptions = excluded.descriptions, image = excluded.image, prices = excluded.prices,
      payment = excluded.payment, updated_ms = excluded.updated_ms
"""
_PUT_CLIP: Final = """
    INSERT INTO clips (clip, creator, names, default_locale, offers, links, claim_ttl_s, created_ms, updated_ms)
    VALUES (%(clip)s, %(creator)s, %(names)s, %(default_locale)s, %(offers)s, %(links)s, %(claim_ttl_s)s, %(now)s,
      %(now)s)
    ON CONFLICT (clip) DO UPDATE SET creator = excluded.creator, names = excluded.names,
      default_locale = excluded.default_locale, offers = excluded.offers, links = excluded.links,
      claim_ttl_s = excluded.claim_ttl_s, updated_ms = excluded.updated_ms
"""


class DropState(Wire, frozen=True, kw_only=True):
    """A drop's document, its stock, and whether it has ever sold any."""

    body: DropBody
    free: int
    held: int
    settled: int
    received: int
    released: int
    stock_version: int
    pickup_from_ms: int | None
    pickup_until_ms: int | None
    sold: bool

    def standing(self) -> DropStanding:
        """Return what a change of the document must respect."""
        return DropStanding(
            run=self.body.run,
            sku=self.body.sku,
            taken=self.held + self.settled + self.released - self.received,
            allotment_of=self.body.allotment_of,
            release_at_ms=self.body.release_at_ms,
            place=self.body.pickup.place if self.body.pickup and self.held + self.settled else None,
            opens_at_ms=self.body.opens_at_ms,
            shares=self.body.shares,
            sold=self.sold,
            parts=self.body.parts,
        )


class Published(Wire, frozen=True, kw_only=True):
    """A manifest as it was published, byte for byte."""

    clip: str
    version: int
    body: bytes
    published_at_ms: int


async def lock_catalogue(connection: Connection) -> None:
    """Become the catalogue's one writer until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('cliptill catalogue', 0))")


async def read_creators(connection: Connection, names: Collection[str]) -> dict[str, CreatorBody]:
    """Return those of these creators that are stored."""
    found = await connection.execute(f"{_CREATORS} WHERE creator = ANY(%s)", [list(names)])
    return {body.creator: body for body in map(_read_creator, await found.fetchall())}


async def list_creators(connection: Connection, after: str, limit: int) -> list[CreatorBody]:
    """Return a page of creators, by id."""
    found = await connection.execute(f"{_CREATORS} WHERE creator > %s ORDER BY creator LIMIT %s", (after, limit))
    return [_read_creator(row) for row in await found.fetchall()]


async def write_creator(connection: Connection, body: CreatorBody, now_ms: int) -> None:
    """Store a creator."""
    await connection.execute(_PUT_CREATOR, {**_fields(body), "now": now_ms})


async def read_drops(connection: Connection, names: Collection[str]) -> dict[str, DropState]:
    """Return those of these drops that are stored."""
    found = await connection.execute(f"{_DROPS} WHERE drop = ANY(%s)", [list(names)])
    return {state.body.drop: state for state in map(_read_drop, await found.fetchall())}


async def find_bundles(connection: Connection, name: str) -> list[DropBody]:
    """Return the bundles that a drop is a part of."""
    found = await connection.execute(f"{_DROPS} WHERE parts @> %s", [Jsonb([{"drop": name}])])
    return [_read_drop(row).body for row in await found.fetchall()]


async def lock_drop(connection: Connection, name: str) -> DropState | None:
    """Return a drop, and keep others from changing its stock until the transaction ends."""
    found = await connection.execute(f"{_DROPS} WHERE drop = %s FOR UPDATE", [name])
    row = await found.fetchone()
    return None if row is None else _read_drop(row)


async def list_drops(connection: Connection, after: str, limit: int) -> list[DropState]:
    """Return a page of drops, by id."""
    found = await connection.execute(f"{_DROPS} WHERE drop > %s ORDER BY drop LIMIT %s", (after, limit))
    return [_read_drop(row) for row in await found.fetchall()]


async def add_drop(connection: Connection, body: DropBody, pickup: Pickup | None, now_ms: int) -> None:
    """Store a new drop, with its pickup window as instants: all of it is free."""
    await connection.execute(_ADD_DROP, {**_fields(body), **_instants(pickup), "now": now_ms})
    await write_shares(connection, body.drop, body.shares)


async def change_drop(connection: Connection, body: DropBody, pickup: Pickup | None, now_ms: int) -> None:
    """Change a drop that is locked; its free units follow its total."""
    await connection.execute(_CHANGE_DROP, {**_fields(body), **_instants(pickup), "now": now_ms})
    await write_shares(connection, body.drop, body.shares)


async def read_offers(connection: Connection, names: Collection[str]) -> dict[str, OfferBody]:
    """Return those of these offers that are stored."""
    found = await connection.execute(f"{_OFFERS} WHERE offer = ANY(%s)", [list(names)])
    return {body.offer: body for body in map(_read_offer, await found.fetchall())}


async def list_offers(connection: Connection, after: str, limit: int) -> list[OfferBody]:
    """Return a page of offers, by id."""
    found = await connection.execute(f"{_OFFERS} WHERE offer > %s ORDER BY offer LIMIT %s", (after, limit))
    return [_read_offer(row) for row in await found.fetchall()]


async def write_offer(connection: Connection, body: OfferBody, now_ms: int) -> None:
    """Store an offer."""
    await connection.execute(_PUT_OFFER, {**_fields(body), "now": now_ms})


async def read_clips(connection: Connection, names: Collection[str]) -> dict[str, ClipBody]:
    """Return those of these clips that are stored."""
    found = await connection.execute(f"{_CLIPS} WHERE clip = ANY(%s)", [list(names)])
    return {body.clip: body for body in map(_read_clip, await found.fetchall())}


async def find_clips_showing(connection: Connection, offer: str) -> list[ClipBody]:
    """Return all clips that show an offer."""
    found = await connection.execute(f"{_CLIPS} WHERE offers @> ARRAY[%s] ORDER BY clip", [offer])
    return [_read_clip(row) for row in await found.fetchall()]


async def list_clips(connection: Connection, after: str, limit: int) -> list[ClipBody]:
    """Return a page of clips, by id."""
    found = await connection.execute(f"{_CLIPS} WHERE clip > %s ORDER BY clip LIMIT %s", (after, limit))
    return [_read_clip(row) for row in await found.fetchall()]


async def write_clip(connection: Connection, body: ClipBody, now_ms: int) -> None:
    """Store a clip."""
    await connection.execute(_PUT_CLIP, {**_fields(body), "now": now_ms})


async def read_newest_manifest(connection: Connection, clip: str) -> Published | None:
    """Return the newest manifest of a clip, or None when it was never published."""
    found = await connection.execute(
        "SELECT clip, version, body, published_at_ms FROM manifests WHERE clip = %s ORDER BY version DESC LIMIT 1",
        [clip],
    )
    row = await found.fetchone()
    return None if row is None else _read_published(row)


async def list_newest_manifests(connection: Connection, after: str, limit: int) -> list[Published]:
    """Return a page of the newest manifests of all clips, by clip."""
    found = await connection.execute(
        "SELECT DISTINCT ON (clip) clip, version, body, published_at_ms FROM manifests WHERE clip > %s "
        "ORDER BY clip, version DESC LIMIT %s",
        (after, limit),
    )
    return [_read_published(row) for row in await found.fetchall()]


async def add_manifest(connection: Connection, published: Published) -> None:
    """Store a version of a manifest; that it is new is the caller's business, under `lock_catalogue`."""
    await connection.execute(
        "INSERT INTO manifests (clip, version, body, published_at_ms) VALUES (%s, %s, %s, %s)",
        (published.clip, published.version, published.body, published.published_at_ms),
    )


def _fields(body: CreatorBody | DropBody | OfferBody | ClipBody) -> dict[str, object]:
    """Return a document's fields as statement parameters: what is nested goes as JSON, ids go as an array."""
    fields = msgspec.to_builtins(body)
    return {
        name: list(value) if name == "offers" else Jsonb(value) if isinstance(value, dict | list | tuple) else value
        for name, value in fields.items()
    }


def _instants(pickup: Pickup | None) -> dict[str, int | None]:
    return {
        "pickup_from_ms": None if pickup is None else pickup.from_ms,
        "pickup_until_ms": None if pickup is None else pickup.until_ms,
    }


def _read_creator(row: TupleRow) -> CreatorBody:
    creator, name, page = row
    return CreatorBody(creator=creator, name=name, page=page)


def _read_drop(row: TupleRow) -> DropState:
    names = DropBody.__struct_fields__
    body = msgspec.convert(dict(zip(names, row[: len(names)], strict=True)), DropBody)
    stock = dict(zip(DropState.__struct_fields__[1:], row[len(names) :], strict=True))
    return DropState(body=body, **stock)


def _read_offer(row: TupleRow) -> OfferBody:
    return msgspec.convert(dict(zip(OfferBody.__struct_fields__, row, strict=True)), OfferBody)


def _read_clip(row: TupleRow) -> ClipBody:
    return msgspec.convert(dict(zip(ClipBody.__struct_fields__, row, strict=True)), ClipBody)


def _read_published(row: TupleRow) -> Published:
    clip, version, body, published_at_ms = row
    return Published(clip=clip, version=version, body=bytes(body), published_at_ms=published_at_ms)
