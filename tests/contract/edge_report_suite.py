"""What any edge reports: batches that are numbered without gaps, and events that say what happened."""

from itertools import pairwise
from typing import Any

import pytest

from shared.claims.tokens import Claim, verify_claim
from tests.contract.edge_driver import Edge


class ReportContract:
    """`POST /v1/events`, and what goes into the queue."""

    def test_what_a_browser_saw_is_reported_as_it_was_sent(self, edge: Edge) -> None:
        clip = edge.publish()
        sent: list[dict[str, Any]] = [
            {"type": "view", "at_ms": 1},
            {"type": "click", "at_ms": 2, "offer": clip.offer},
            {"type": "error", "at_ms": 3, "name": "settle", "detail": "\u0000 <b>&</b> 🎬"},
            {"type": "timing", "at_ms": 4, "name": "first_overlay", "duration_ms": 12.5},
        ]
        received = edge.post("/v1/events", {"clip": clip.clip, "events": sent}, "text/plain")
        assert (received.status, received.json) == (202, {"accepted": 4})
        view, click, error, timing = edge.events_of(clip.clip)
        assert [type(event).__name__ for event in (view, click, error, timing)] == [
            "Viewed",
            "Clicked",
            "Failed",
            "Timed",
        ]
        assert (view.name, click.offer, error.detail) == ("overlay", clip.offer, "\u0000 <b>&</b> 🎬")
        assert (timing.name, timing.duration_ms, timing.at_ms) == ("first_overlay", 12.5, 4)

    def test_fifty_events_are_taken_at_once(self, edge: Edge) -> None:
        name = edge.new_name("clip")
        events = [{"type": "view", "at_ms": number} for number in range(50)]
        assert edge.post("/v1/events", {"clip": name, "events": events}).json == {"accepted": 50}
        assert len(edge.events_of(name)) == 50

    def test_a_refused_beacon_reports_nothing(self, edge: Edge) -> None:
        name = edge.new_name("clip")
        events = [{"type": "view", "at_ms": 1}, {"type": "view", "at_ms": -1}]
        assert edge.post("/v1/events", {"clip": name, "events": events}).status == 422
        assert edge.events_of(name) == []

    def test_a_given_claim_is_reported_with_a_token_that_verifies(self, edge: Edge) -> None:
        clip = edge.publish()
        received = edge.tap(clip)
        (event,) = edge.events_of(clip.clip)
        world = edge.world
        claim = verify_claim(
            event.token,
            world.claim_keys,
            issuer=world.issuer,
            audience=world.origin_url,
            now_s=world.now_ms() // 1000,
        )
        assert isinstance(claim, Claim)
        assert event.token == received.json["claim"]
        assert (event.claim_id, event.drop, event.offer) == (claim.jti, clip.drop, clip.offer)
        assert event.expires_at_ms == claim.exp * 1000

    def test_batches_of_a_node_are_numbered_without_gaps(self, edge: Edge) -> None:
        clip = edge.publish()
        for _ in range(3):
            edge.tap(clip)
        edge.events_of(clip.clip)
        by_node: dict[str, list[int]] = {}
        for batch in edge.world.batches():
            by_node.setdefault(batch.node, []).append(batch.seq)
        assert by_node
        for seqs in by_node.values():
            ordered = sorted(seqs)
            assert ordered[0] == 1
            assert all(later == earlier + 1 for earlier, later in pairwise(ordered))

    def test_a_batch_says_where_and_when(self, edge: Edge) -> None:
        edge.world.set_place(country="DE", colo="FRA")
        clip = edge.publish()
        edge.tap(clip)
        edge.events_of(clip.clip)
        (batch,) = [batch for batch in edge.world.batches() if any(event.clip == clip.clip for event in batch.events)]
        assert (batch.country, batch.colo, batch.v) == ("DE", "FRA", 1)
        assert abs(batch.at_ms - edge.world.now_ms()) < 10_000

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_looking_reports_nothing(self, edge: Edge, method: str) -> None:
        clip = edge.publish()
        edge.request(method, f"/v1/clips/{clip.clip}/overlay")
        edge.request(method, f"/v1/drops/{clip.drop}/stock")
        assert edge.events_of(clip.clip) == []
