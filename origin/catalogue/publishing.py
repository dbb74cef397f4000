"""Publishing: a clip's manifest, made from the catalogue, kept as an immutable version, written to the edge's store.

Rules:

1. First the version is committed here, then it is written there. When the store is away, nothing is lost: the next
   publication or reconciliation writes it (`restore`).
2. What has not changed is not a new version; it is written again all the same, so that publishing repairs.
3. Of two publications at once, the newer wins: whoever has written looks whether a newer version came meanwhile.
4. What the store holds is compared with what was published byte for byte, so a lost or foreign value is replaced.
"""

import time
from collections.abc import Callable
from typing import Final

from origin.catalogue.catalogue_store import (
    Published,
    add_manifest,
    list_newest_manifests,
    lock_catalogue,
    read_clips,
    read_drops,
    read_newest_manifest,
    read_offers,
)
from origin.database import Connection, Database
from origin.provider import KeyValue, Provider
from shared.catalogue.entries import build_manifest, check_clip, says_the_same
from shared.catalogue.manifest import Manifest, encode_manifest, manifest_key, read_manifest
from shared.problems import Code, Problem

PAGE: Final = 100
_FIRST_VERSION: Final = 1


def read_clock_ms() -> int:
    """Return the system's time."""
    return time.time_ns() // 1_000_000


class Publisher:
    """Publishes the manifests of one catalogue to one store."""

    def __init__(self, database: Database, provider: Provider, clock_ms: Callable[[], int] = read_clock_ms) -> None:
        self._database = database
        self._provider = provider
        self._clock_ms = clock_ms

    async def publish(self, clip: str) -> Published | Problem:
        """Publish a clip as it is now.

        Returns:
            The manifest, written to the store; or a problem: `clip_unknown`, or what `check_clip` found.

        Raises:
            ServiceAwayError: the database is away, and nothing was published; or (`ProviderAwayError`) the version is
                kept here, and the store will have it later.
        """
        async with self._database.transaction() as connection:
            published = await self._add_version(connection, clip)
        if isinstance(published, Published):
            await self._write_newest(published)
        return published

    async def restore(self) -> tuple[str, ...]:
        """Write every manifest that the store does not hold as it was published; return the clips that it was."""
        restored: list[str] = []
        after = ""
        while True:
            async with self._database.connection() as connection:
                page = await list_newest_manifests(connection, after, PAGE)
            missing = [published for published in page if not await self._holds(published)]
            await self._provider.write_values([_entry(published) for published in missing])
            restored += [published.clip for published in missing]
            if len(page) < PAGE:
                return tuple(restored)
            after = page[-1].clip

    async def _add_version(self, connection: Connection, name: str) -> Published | Problem:
        await lock_catalogue(connection)
        clip = (await read_clips(connection, [name])).get(name)
        if clip is None:
            return Problem(code=Code.CLIP_UNKNOWN)
        offers = await read_offers(connection, clip.offers)
        states = await read_drops(connection, {offer.drop for offer in offers.values()})
        drops = {drop: state.body for drop, state in states.items()}
        problem = check_clip(clip, offers, drops)
        if problem is not None:
            return problem
        newest = await read_newest_manifest(connection, name)
        version = newest.version + 1 if newest else _FIRST_VERSION
        manifest = build_manifest(clip, offers, drops, version=version, published_at_ms=self._clock_ms())
        if newest is not None:
            before = read_manifest(newest.body, name)
            if isinstance(before, Manifest) and says_the_same(before, manifest):
                return newest
        published = Published(
            clip=name, version=version, body=encode_manifest(manifest), published_at_ms=manifest.published_at_ms
        )
        await add_manifest(connection, published)
        return published

    async def _write_newest(self, published: Published) -> None:
        while True:
            await self._provider.write_values([_entry(published)])
            async with self._database.connection() as connection:
                newest = await read_newest_manifest(connection, published.clip)
            if newest is None or newest.version <= published.version:
                return
            published = newest

    async def _holds(self, published: Published) -> bool:
        return await self._provider.read_value(manifest_key(published.clip)) == published.body


def _entry(published: Published) -> KeyValue:
    return KeyValue(key=manifest_key(published.clip), value=published.body.decode())
