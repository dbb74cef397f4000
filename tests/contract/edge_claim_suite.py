"""What any edge does with a tap: which claim it gives, and to whom it gives none."""

from typing import Any, Final

import pytest

from shared.claims.tokens import Claim, derive_claim_id, verify_claim
from tests import samples
from tests.contract.edge_driver import Clip, Edge, Received

EUR_1990: Final = {"payment": "at_pickup", "prices": [{"currency": "EUR", "amount_minor": 1990}]}


def read_claim_of(edge: Edge, received: Received) -> Claim:
    """Verify the claim in an answer as the origin would."""
    assert received.status == 201, received.body
    world = edge.world
    claim = verify_claim(
        received.json["claim"],
        world.claim_keys,
        issuer=world.issuer,
        audience=world.origin_url,
        now_s=world.now_ms() // 1000,
    )
    assert isinstance(claim, Claim), claim
    return claim


class ClaimContract:
    """`POST /v1/claims`, for taps that are as they should be."""

    def test_a_tap_is_answered_with_a_claim_that_the_origin_verifies(self, edge: Edge) -> None:
        clip = edge.publish(terms={"max_quantity": 3}, offer=EUR_1990, claim_ttl_s=120)
        tap = edge.new_tap()
        received = edge.tap(clip, quantity=2, idempotency_key=tap)
        claim = read_claim_of(edge, received)
        assert claim.cnf.jkt == samples.VIEWER
        assert claim.jti == received.json["claim_id"] == derive_claim_id(clip.drop, samples.VIEWER, tap)
        assert (claim.drop, claim.clip, claim.offer, claim.creator) == (clip.drop, clip.clip, clip.offer, "creator-1")
        assert (claim.quantity, claim.total_minor, claim.currency) == (2, 3980, "EUR")
        assert (claim.nbf, claim.exp) == (claim.iat, claim.iat + 120)
        assert claim.stock_version == 1
        answer = received.json
        assert (answer["total_minor"], answer["currency"], answer["settles"]) == (3980, "EUR", "request")
        assert answer["expires_at_ms"] == claim.exp * 1000
        assert answer["settle_url"] == edge.world.origin_url
        assert answer["lines"] == [{"sku": "sku-1", "quantity": 2, "unit_minor": 1990}]

    def test_what_costs_nothing_settles_by_itself(self, edge: Edge) -> None:
        received = edge.tap(edge.publish())
        assert (received.json["settles"], received.json["total_minor"]) == ("event", 0)

    @pytest.mark.parametrize("content_type", ["text/plain", "text/plain;charset=UTF-8", "application/json; charset=x"])
    def test_a_tap_may_come_as_plain_text(self, edge: Edge, content_type: str) -> None:
        clip = edge.publish()
        assert edge.post("/v1/claims", edge.tap_document(clip), content_type).status == 201

    def test_the_same_tap_twice_is_the_same_answer_and_one_event(self, edge: Edge) -> None:
        clip = edge.publish()
        tap = edge.tap_document(clip)
        first, second = edge.post("/v1/claims", tap), edge.post("/v1/claims", tap)
        assert first.body == second.body
        (event,) = edge.events_of(clip.clip)
        assert (event.claim_id, event.token) == (first.json["claim_id"], first.json["claim"])

    def test_two_taps_are_two_claims(self, edge: Edge) -> None:
        clip = edge.publish()
        assert edge.tap(clip).json["claim_id"] != edge.tap(clip).json["claim_id"]

    def test_two_viewers_with_the_same_key_are_two_claims(self, edge: Edge) -> None:
        clip, tap = edge.publish(), edge.new_tap()
        ids = {
            edge.tap(clip, viewer=viewer, idempotency_key=tap).json["claim_id"]
            for viewer in (samples.VIEWER, samples.OTHER_VIEWER)
        }
        assert len(ids) == 2

    @pytest.mark.parametrize("change", [{"quantity": 2}, {"currency": "USD"}], ids=["quantity", "currency"])
    def test_the_same_key_for_something_else_is_a_conflict(self, edge: Edge, change: dict[str, Any]) -> None:
        prices = [{"currency": code, "amount_minor": 100} for code in ("EUR", "USD")]
        clip = edge.publish(terms={"max_quantity": 3}, offer={"prices": prices, "payment": "at_pickup"})
        tap = edge.new_tap()
        assert edge.tap(clip, idempotency_key=tap).status == 201
        assert edge.tap(clip, idempotency_key=tap, **change).code == "idempotency_conflict"
        assert edge.tap(clip, idempotency_key=tap).status == 201

    def test_the_same_key_for_another_offer_of_the_same_drop_is_a_conflict(self, edge: Edge) -> None:
        drop, now_ms = edge.new_name("drop"), edge.world.now_ms()
        terms = samples.terms_document(drop=drop, opens_at_ms=now_ms - 60_000, closes_at_ms=now_ms + 60_000)
        dear, free = (samples.offer_document(offer=name, terms=terms) for name in ("dear", "free"))
        clip = edge.publish(offers=[{**dear, **EUR_1990}, free])
        edge.world.set_stock(drop, remaining=50)
        tap = edge.new_tap()
        assert edge.tap(clip, offer="dear", idempotency_key=tap).json["total_minor"] == 1990
        assert edge.tap(clip, offer="free", idempotency_key=tap).code == "idempotency_conflict"

    def test_a_repeated_tap_is_answered_although_nothing_is_left_since(self, edge: Edge) -> None:
        clip = edge.publish(remaining=1)
        tap = edge.tap_document(clip)
        first = edge.post("/v1/claims", tap)
        edge.world.set_stock(clip.drop, remaining=0, version=2)
        edge.world.wait_ms(1500)
        assert edge.tap(clip).code == "sold_out"
        assert edge.post("/v1/claims", tap).body == first.body

    @pytest.mark.parametrize(
        ("country", "wish", "currency"),
        [("US", None, "USD"), ("", None, "EUR"), ("US", "EUR", "EUR"), ("??", None, "EUR")],
        ids=["country", "offer's first", "wish", "nonsense"],
    )
    def test_the_currency_is_wished_or_the_countrys(
        self, edge: Edge, country: str, wish: str | None, currency: str
    ) -> None:
        prices = [{"currency": code, "amount_minor": 100} for code in ("EUR", "USD")]
        clip = edge.publish(offer={"prices": prices, "payment": "at_pickup"})
        edge.world.set_place(country=country)
        assert read_claim_of(edge, edge.tap(clip, currency=wish)).currency == currency

    def test_a_price_that_moves_is_the_one_that_the_overlay_tells(self, edge: Edge) -> None:
        rule = {"floor_minor": 500, "ceiling_minor": 2000, "by_stock": [{"left_bp": 5000, "price_bp": 12_000}]}
        prices = [{"currency": "EUR", "amount_minor": 1000, "rule": rule}]
        clip = edge.publish(offer={"prices": prices, "payment": "at_pickup"}, remaining=51)
        tap = edge.tap_document(clip)
        first = edge.post("/v1/claims", tap)
        assert (edge.overlay(clip)["offers"][0]["price"]["amount_minor"], first.json["total_minor"]) == (1000, 1000)
        edge.world.set_stock(clip.drop, remaining=50, version=2)
        edge.world.wait_ms(1500)
        claim = read_claim_of(edge, edge.tap(clip))
        assert edge.overlay(clip)["offers"][0]["price"] == {
            "amount_minor": 1200, "currency": "EUR", "text": "€12.00"
        }  # fmt: skip
        assert [line.unit_minor for line in claim.lines] == [1200]
        assert edge.post("/v1/claims", tap).body == first.body  # what was promised stays promised


class RefusalContract:
    """`POST /v1/claims`, for taps that get no claim."""

    @pytest.mark.parametrize(
        ("opens_in_ms", "closes_in_ms", "status", "code"),
        [
            pytest.param(30_000, 60_000, 409, "drop_not_open", id="before"),
            pytest.param(-60_000, -1, 410, "drop_closed", id="after"),
        ],
    )
    def test_outside_the_window_there_is_no_claim(
        self, edge: Edge, opens_in_ms: int, closes_in_ms: int, status: int, code: str
    ) -> None:
        received = edge.tap(edge.publish(opens_in_ms=opens_in_ms, closes_in_ms=closes_in_ms))
        assert (received.status, received.code) == (status, code)
        if code == "drop_not_open":
            assert 1 <= int(received.headers["retry-after"]) <= 30

    def test_sold_out_is_told(self, edge: Edge) -> None:
        received = edge.tap(edge.publish(remaining=0))
        assert (received.status, received.code) == (409, "sold_out")

    def test_more_than_is_left_is_sold_out(self, edge: Edge) -> None:
        clip = edge.publish(remaining=2, terms={"max_quantity": 3})
        assert edge.tap(clip, quantity=3).code == "sold_out"
        assert edge.tap(clip, quantity=2).status == 201

    def test_more_than_one_claim_may_have_is_refused(self, edge: Edge) -> None:
        received = edge.tap(edge.publish(terms={"max_quantity": 2}), quantity=3)
        assert (received.status, received.code) == (422, "quantity_not_offered")

    def test_a_currency_that_has_no_price_is_refused(self, edge: Edge) -> None:
        received = edge.tap(edge.publish(), currency="USD")
        assert (received.status, received.code) == (422, "currency_not_offered")

    def test_an_unknown_clip_or_offer_is_told(self, edge: Edge) -> None:
        clip = edge.publish()
        unknown = Clip(edge.new_name(), clip.offer, clip.drop)
        assert edge.tap(unknown).code == "clip_unknown"
        assert edge.tap(clip, offer="none-such").code == "offer_unknown"

    def test_beyond_the_rate_a_tap_is_put_off(self, edge: Edge) -> None:
        clip = edge.publish(remaining=None)
        edge.world.set_stock(clip.drop, remaining=50, admit_per_s=1)
        received = [edge.tap(clip) for _ in range(12)]
        refused = [answer for answer in received if answer.status == 429]
        assert received[0].status == 201
        assert refused
        assert {(answer.code, answer.headers["retry-after"]) for answer in refused} == {("not_admitted_yet", "1")}

    def test_a_rate_of_nothing_admits_nothing(self, edge: Edge) -> None:
        clip = edge.publish(remaining=None)
        edge.world.set_stock(clip.drop, remaining=50, admit_per_s=0)
        assert edge.tap(clip).code == "not_admitted_yet"

    def test_a_refusal_is_reported(self, edge: Edge) -> None:
        edge.world.wait_ms(1100)
        clip = edge.publish(remaining=0)
        edge.tap(clip)
        (event,) = edge.events_of(clip.clip)
        assert (event.code, event.drop, event.offer) == ("sold_out", clip.drop, clip.offer)

    def test_a_flood_of_refusals_is_not_a_flood_of_events(self, edge: Edge) -> None:
        edge.world.wait_ms(1100)
        clip = edge.publish(remaining=0)
        began_ms = edge.world.now_ms()
        taps = 40
        for _ in range(taps):
            assert edge.tap(clip).code == "sold_out"
        seconds = 1 + (edge.world.now_ms() - began_ms) // 1000
        assert len(edge.events_of(clip.clip)) <= 10 * (seconds + 1)
        edge.world.wait_ms(1100)
        edge.tap(clip)
        reported = edge.events_of(clip.clip)
        assert len(reported) + sum(event.suppressed for event in reported) == taps + 1
