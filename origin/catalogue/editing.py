"""The catalogue as the operator API uses it: check, then store, in one transaction.

What is good is decided by `shared.catalogue.entries`; here is only what a check must be shown, and in which order.
"""

from collections.abc import Callable, Collection
from typing import Literal

import msgspec

from origin.catalogue import catalogue_store as store
from origin.catalogue.catalogue_store import DropState
from origin.catalogue.publishing import read_clock_ms
from origin.database import Connection, Database
from origin.fulfilment.partners_store import find_partners
from origin.pickup.zones import resolve_pickup
from shared.catalogue.drops import check_allotment, check_bundles, check_drop, check_parts, sort_shares
from shared.catalogue.entries import (
    ClipBody,
    CreatorBody,
    DropBody,
    DropView,
    OfferBody,
    check_clip,
    check_creator,
    check_offer,
)
from shared.problems import Code, Problem
from shared.structs import Wire

Kind = Literal["creator", "drop", "offer", "clip"]
Body = CreatorBody | DropBody | OfferBody | ClipBody
View = CreatorBody | DropView | OfferBody | ClipBody


class Written(Wire, frozen=True, kw_only=True):
    """A document that is stored now; `created` says that there was none of its id."""

    document: View
    created: bool


class Catalogue:
    """Reads and writes documents."""

    def __init__(self, database: Database, clock_ms: Callable[[], int] = read_clock_ms) -> None:
        self._database = database
        self._clock_ms = clock_ms

    async def read(self, kind: Kind, name: str) -> View | None:
        """Return the document of that id."""
        async with self._database.connection() as connection:
            return await _read(connection, kind, name)

    async def list(self, kind: Kind, after: str, limit: int) -> list[View]:
        """Return up to `limit` documents of ids after `after`, by id."""
        async with self._database.connection() as connection:
            match kind:
                case "creator":
                    return [*await store.list_creators(connection, after, limit)]
                case "drop":
                    return [view_drop(state) for state in await store.list_drops(connection, after, limit)]
                case "offer":
                    return [*await store.list_offers(connection, after, limit)]
                case "clip":
                    return [*await store.list_clips(connection, after, limit)]

    async def write(self, kind: Kind, body: Body, *, replace: bool) -> Written | Problem:
        """Store a document.

        Args:
            kind: of it.
            body: the document.
            replace: whether it may take the place of another content.

        Returns:
            What is stored; or a problem: `already_exists`, or what the checks found. Nothing is stored then.
        """
        name: str = getattr(body, kind)
        if isinstance(body, DropBody):
            body = sort_shares(body)
        async with self._database.transaction() as connection:
            await store.lock_catalogue(connection)
            stored = await _read(connection, kind, name)
            if stored is not None and _body_of(stored) == body:
                return Written(document=stored, created=False)
            if stored is not None and not replace:
                return Problem(code=Code.ALREADY_EXISTS)
            problem = await _check_and_store(connection, body, self._clock_ms())
            if problem is not None:
                return problem
            document = await _read(connection, kind, name)
        if document is None:
            raise AssertionError(f"{kind} {name} was stored and is not there")
        return Written(document=document, created=stored is None)


def view_drop(state: DropState) -> DropView:
    """Return a drop with its stock."""
    fields = msgspec.structs.asdict(state.body)
    fields |= {"pickup": state.body.pickup, "shares": state.body.shares, "parts": state.body.parts}
    stock = {name: getattr(state, name) for name in DropView.__struct_fields__ if name not in fields}
    return DropView(**fields, **stock)


async def _read(connection: Connection, kind: Kind, name: str) -> View | None:
    match kind:
        case "creator":
            return (await store.read_creators(connection, [name])).get(name)
        case "drop":
            state = (await store.read_drops(connection, [name])).get(name)
            return None if state is None else view_drop(state)
        case "offer":
            return (await store.read_offers(connection, [name])).get(name)
        case "clip":
            return (await store.read_clips(connection, [name])).get(name)


async def _check_and_store(connection: Connection, body: Body, now_ms: int) -> Problem | None:
    match body:
        case CreatorBody():
            problem = check_creator(body)
            if problem is None:
                await store.write_creator(connection, body, now_ms)
        case DropBody():
            problem = await _store_drop(connection, body, now_ms)
        case OfferBody():
            problem = await _check_offer(connection, body)
            if problem is None:
                await store.write_offer(connection, body, now_ms)
        case ClipBody():
            problem = await _check_clip(connection, body)
            if problem is None:
                await store.write_clip(connection, body, now_ms)
    return problem


async def _store_drop(connection: Connection, body: DropBody, now_ms: int) -> Problem | None:
    # Settlement must not take units between the check of the total and the change of it.
    state = await store.lock_drop(connection, body.drop)
    problem = check_drop(body, None if state is None else state.standing(), now_ms)
    if problem is not None:
        return problem
    problem = await _check_ties(connection, body)
    if problem is not None:
        return problem
    known = await store.read_creators(connection, [share.creator for share in body.shares])
    unknown = [share.creator for share in body.shares if share.creator not in known]
    if unknown:
        return Problem(code=Code.CREATOR_UNKNOWN, detail=f"At $.shares: {unknown[0]}.")
    if body.partner is not None and not await find_partners(connection, [body.partner]):
        return Problem(code=Code.PARTNER_UNKNOWN, detail="At $.partner.")
    pickup = None if body.pickup is None else resolve_pickup(body.pickup)
    if isinstance(pickup, Problem):
        return pickup
    if state is None:
        await store.add_drop(connection, body, pickup, now_ms)
    else:
        await store.change_drop(connection, body, pickup, now_ms)
    return None


async def _check_ties(connection: Connection, body: DropBody) -> Problem | None:
    """Check a drop against those that it is tied to: its pool, its parts, the bundles that it is a part of."""
    if body.allotment_of is not None:
        pool = await _read_bodies(connection, [body.allotment_of])
        return check_allotment(body, pool.get(body.allotment_of))
    if body.parts:
        return check_parts(body, await _read_bodies(connection, [part.drop for part in body.parts]))
    bundles = await store.find_bundles(connection, body.drop)
    parts = await _read_bodies(connection, [part.drop for bundle in bundles for part in bundle.parts])
    return check_bundles(body, bundles, parts)


async def _read_bodies(connection: Connection, names: Collection[str]) -> dict[str, DropBody]:
    return {drop: state.body for drop, state in (await store.read_drops(connection, names)).items()}


async def _check_offer(connection: Connection, body: OfferBody) -> Problem | None:
    problem = check_offer(body)
    if problem is not None:
        return problem
    if body.drop not in await store.read_drops(connection, [body.drop]):
        return Problem(code=Code.DROP_UNKNOWN, detail="At $.drop.")
    for clip in await store.find_clips_showing(connection, body.offer):
        problem = await _check_shown(connection, clip, body)
        if problem is not None:
            return problem
    return None


async def _check_clip(connection: Connection, body: ClipBody) -> Problem | None:
    if body.creator not in await store.read_creators(connection, [body.creator]):
        return Problem(code=Code.CREATOR_UNKNOWN, detail="At $.creator.")
    return await _check_shown(connection, body, None)


async def _check_shown(connection: Connection, clip: ClipBody, changed: OfferBody | None) -> Problem | None:
    """Check a clip with all that it shows, as it would be after a change of one offer."""
    offers = await store.read_offers(connection, clip.offers)
    if changed is not None:
        offers[changed.offer] = changed
    return check_clip(clip, offers, await _read_bodies(connection, {offer.drop for offer in offers.values()}))


def _body_of(view: View) -> Body:
    """Return a document as its writer wrote it."""
    if isinstance(view, DropView):
        return DropBody(**{name: getattr(view, name) for name in DropBody.__struct_fields__})
    return view
