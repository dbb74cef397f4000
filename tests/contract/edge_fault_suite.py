"""What any edge does when what it needs is away, late, or wrong: it degrades, and says so."""

import re
from typing import Any, Final

import pytest

from tests import samples
from tests.contract.edge_driver import Clip, Edge

MANIFEST_LATE_MS: Final = 11_000  # beyond this age an overlay waits until its manifest was read again
STOCK_LATE_MS: Final = 6_000  # beyond this age, stock is stale


def republish(edge: Edge, clip: Clip, **changes: Any) -> None:
    """Have the store hold another version of a clip that has no offers."""
    document = samples.manifest_document(**{"clip": clip.clip, "offers": [], **changes})
    edge.world.publish(clip.clip, samples.encode(document))


class StoreFaultContract:
    """The manifest store is away, late, or holds what cannot be used."""

    def test_without_store_and_memory_an_overlay_is_unavailable(self, edge: Edge) -> None:
        clip = edge.publish()
        edge.world.set_store_away(away=True)
        received = edge.get(f"/v1/clips/{clip.clip}/overlay")
        assert (received.status, received.code, received.headers["retry-after"]) == (503, "unavailable", "1")
        assert edge.tap(clip).code == "unavailable"

    def test_while_the_store_is_away_the_last_good_manifest_counts(self, edge: Edge) -> None:
        clip = edge.publish()
        edge.overlay(clip)
        edge.world.set_store_away(away=True)
        edge.world.wait_ms(MANIFEST_LATE_MS)
        assert edge.overlay(clip)["manifest_version"] == 1
        assert edge.tap(clip).status == 201

    def test_a_newer_manifest_is_taken_within_seconds(self, edge: Edge) -> None:
        clip = edge.publish(version=3)
        edge.overlay(clip)
        republish(edge, clip, version=4, names={"en": "Renamed"})
        edge.world.wait_ms(MANIFEST_LATE_MS)
        overlay = edge.overlay(clip)
        assert (overlay["manifest_version"], overlay["title"]) == (4, "Renamed")

    def test_an_older_manifest_never_comes_back(self, edge: Edge) -> None:
        clip = edge.publish(version=3)
        edge.overlay(clip)
        republish(edge, clip, version=2, names={"en": "Old"})
        edge.world.wait_ms(MANIFEST_LATE_MS)
        assert edge.overlay(clip)["manifest_version"] == 3

    @pytest.mark.parametrize(
        "document",
        [
            pytest.param({"schema": 2, "everything": "else"}, id="newer schema"),
            pytest.param({"schema": 0}, id="older schema"),
            pytest.param({"schema": 1, "clip": "other"}, id="not a manifest"),
            pytest.param(samples.manifest_document(clip="another-clip"), id="another clip's"),
            pytest.param(b"{", id="not JSON"),
            pytest.param(b"", id="nothing"),
            pytest.param(b'{"schema":1,"x":' + b"[" * 100_000, id="endlessly nested"),
        ],
    )
    def test_what_cannot_be_used_changes_nothing(self, edge: Edge, document: Any) -> None:
        raw = document if isinstance(document, bytes) else samples.encode(document)
        clip = edge.publish(version=3)
        edge.overlay(clip)
        edge.world.publish(clip.clip, raw)
        edge.world.wait_ms(MANIFEST_LATE_MS)
        assert edge.overlay(clip)["manifest_version"] == 3
        unseen = edge.new_name("clip")
        edge.world.publish(unseen, raw)
        assert edge.get(f"/v1/clips/{unseen}/overlay").code == "unavailable"

    def test_a_price_in_no_currency_is_not_shown(self, edge: Edge) -> None:
        clip = edge.publish(offer={"prices": [{"currency": "XXX", "amount_minor": 5}], "payment": "at_pickup"})
        assert edge.get(f"/v1/clips/{clip.clip}/overlay").code == "unavailable"
        assert edge.tap(clip).code == "unavailable"

    def test_a_manifest_may_have_fields_that_are_not_known_yet(self, edge: Edge) -> None:
        clip = edge.publish(terms={"later": {"a": [1]}}, offer={"later": 1}, later="x")
        assert edge.overlay(clip)["offers"][0]["offer"] == clip.offer

    def test_a_clip_that_is_taken_away_is_unknown(self, edge: Edge) -> None:
        clip = edge.publish()
        edge.overlay(clip)
        edge.world.publish(clip.clip, None)
        edge.world.wait_ms(MANIFEST_LATE_MS)
        assert edge.get(f"/v1/clips/{clip.clip}/overlay").code == "clip_unknown"


class OriginFaultContract:
    """The origin is away: stock is old, or not known at all."""

    def test_stock_is_shown_as_it_was_and_marked_stale(self, edge: Edge) -> None:
        clip = edge.publish(remaining=50)
        edge.overlay(clip)
        edge.world.set_origin_away(away=True)
        edge.world.wait_ms(STOCK_LATE_MS)
        stock = edge.overlay(clip)["offers"][0]["stock"]
        assert (stock["stale"], stock["remaining"], stock["state"]) == (True, 50, "available")
        told = edge.get(f"/v1/drops/{clip.drop}/stock").json
        assert told["stale"] is True
        assert told["age_ms"] >= STOCK_LATE_MS

    def test_the_document_too_marks_stale_stock_and_tells_its_age(self, edge: Edge) -> None:
        clip = edge.publish(remaining=50)
        html = {"accept": "text/html", "accept_language": "en"}
        fresh = edge.get(f"/v1/clips/{clip.clip}/overlay", **html).body.decode()
        assert "50 left</span></p>" in fresh
        assert "data-stale" not in fresh
        edge.world.set_origin_away(away=True)
        edge.world.wait_ms(STOCK_LATE_MS)
        stale = edge.get(f"/v1/clips/{clip.clip}/overlay", **html).body.decode()
        age = re.search(r" data-stale>50 left</span> <small>Stock as of (\d+) s ago</small>", stale)
        assert age
        assert int(age[1]) >= STOCK_LATE_MS // 1000

    def test_stock_that_was_never_read_is_unknown(self, edge: Edge) -> None:
        clip = edge.publish()
        edge.world.set_origin_away(away=True)
        stock = edge.overlay(clip)["offers"][0]["stock"]
        assert (stock["state"], stock["remaining"], stock["stale"]) == ("unknown", None, True)
        assert edge.get(f"/v1/drops/{clip.drop}/stock").json["state"] == "unknown"

    @pytest.mark.parametrize("seen", [True, False], ids=["seen before", "never seen"])
    @pytest.mark.parametrize(
        ("mode", "status", "code"), [("take", 201, None), ("close", 503, "stock_unknown")], ids=["take", "close"]
    )
    def test_the_drop_says_whether_taps_are_taken(
        self, edge: Edge, mode: str, status: int, code: str | None, *, seen: bool
    ) -> None:
        clip = edge.publish(terms={"when_origin_away": mode})
        if seen:
            edge.overlay(clip)
        edge.world.set_origin_away(away=True)
        edge.world.wait_ms(STOCK_LATE_MS)
        assert edge.overlay(clip)["offers"][0]["claimable"] == (mode == "take")
        received = edge.tap(clip)
        assert (received.status, received.json.get("code")) == (status, code)

    def test_what_was_seen_sold_out_stays_so(self, edge: Edge) -> None:
        clip = edge.publish(remaining=0)
        edge.overlay(clip)
        edge.world.set_origin_away(away=True)
        edge.world.wait_ms(STOCK_LATE_MS)
        assert edge.tap(clip).code == "sold_out"

    def test_when_the_origin_is_back_stock_is_fresh_again(self, edge: Edge) -> None:
        clip = edge.publish(remaining=50)
        edge.world.set_origin_away(away=True)
        edge.overlay(clip)
        edge.world.set_origin_away(away=False)
        edge.world.wait_ms(1500)
        stock = edge.overlay(clip)["offers"][0]["stock"]
        assert (stock["stale"], stock["remaining"]) == (False, 50)

    def test_an_older_snapshot_never_comes_back(self, edge: Edge) -> None:
        clip = edge.publish(remaining=None)
        edge.world.set_stock(clip.drop, remaining=10, version=5)
        edge.overlay(clip)
        edge.world.set_stock(clip.drop, remaining=20, version=4)
        edge.world.wait_ms(1500)
        stock = edge.overlay(clip)["offers"][0]["stock"]
        assert (stock["version"], stock["remaining"]) == (5, 10)


class BrokenPortContract:
    """Something fails in a way that nobody foresaw."""

    @pytest.mark.parametrize("accept", ["application/json", "text/html"])
    def test_an_unforeseen_failure_is_told_as_internal_and_nothing_else(self, edge: Edge, accept: str) -> None:
        clip = edge.publish()
        edge.world.break_store(broken=True)
        received = edge.get(f"/v1/clips/{clip.clip}/overlay", accept=accept)
        assert (received.status, received.code) == (500, "internal")
        assert set(received.json) == {"type", "title", "status", "code"}
        assert b"hunter2" not in received.body

    def test_a_tap_that_failed_so_can_be_repeated(self, edge: Edge) -> None:
        clip = edge.publish()
        tap = edge.tap_document(clip)
        edge.world.break_store(broken=True)
        assert edge.post("/v1/claims", tap).code == "internal"
        edge.world.break_store(broken=False)
        assert edge.post("/v1/claims", tap).status == 201
