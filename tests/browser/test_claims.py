"""From a tap to its outcome: on keyboards, over failures, reloads and lost answers."""

import base64
import json
from typing import Any

import jwt
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from shared.claims.tokens import hash_token
from tests.browser.drive import button, focused, happened, offer, open_shop, wait_until
from tests.browser.world import HOUR_MS, World


def read_proof(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Verify a proof with its own key, by a library that is not ours; return the key and what it says."""
    header = jwt.get_unverified_header(proof)
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    key = jwt.PyJWK.from_dict({**header["jwk"], "alg": "ES256"})
    return header["jwk"], jwt.decode(proof, key, algorithms=["ES256"], options={"verify_iat": False})


def thumbprint(jwk: dict[str, Any]) -> str:
    """Return a key's RFC 7638 thumbprint."""
    canonical = json.dumps({name: jwk[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    return hash_token(canonical)


def keys_of(world: World) -> list[str]:
    return [seen.json()["idempotency_key"] for seen in world.posts("/v1/claims")]


def test_a_keyboard_is_enough(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if focused(page) == "Reserve":
            break
    page.keyboard.press("Enter")
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert focused(page) == "It is yours."


def test_a_tap_is_one_request_and_says_so_at_once(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    world.edge_delay_s = 0.5
    button(overlay, "Shirt").click()
    expect(button(overlay, "Shirt")).to_have_text("One moment…", timeout=300)
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    claims = [seen for seen in world.edge_seen if seen.path == "/v1/claims"]
    assert [seen.method for seen in claims] == ["POST"]
    assert claims[0].headers["content-type"].startswith("text/plain")


def test_the_page_is_given_the_receipt_and_never_the_claim(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    wait_until(lambda: happened(page, "settled"), "settled", page)
    (claimed,), (settled,) = happened(page, "claim"), happened(page, "settled")
    assert claimed["claim_id"] == settled["claim_id"]
    assert {
        name: settled[name] for name in ("clip", "offer", "drop", "run_numbers", "total_minor", "payment", "receipt")
    } == {
        "clip": world.clip,
        "offer": "shirt",
        "drop": "shirt-r1",
        "run_numbers": [7],
        "total_minor": 2400,
        "payment": "at_pickup",
        "receipt": "receipt.of.it",
    }
    assert "signature" not in json.dumps([claimed, settled])


def test_the_proof_is_the_viewer_keys_for_this_request_and_claim(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    wait_until(lambda: world.posts("/v1/settlements"), "the settlement is asked for", page)
    (settlement,), (tap,) = world.posts("/v1/settlements"), world.posts("/v1/claims")
    jwk, said = read_proof(settlement.headers["dpop"])
    claim = settlement.headers["authorization"].removeprefix("DPoP ")
    assert thumbprint(jwk) == tap.json()["viewer"]
    assert (said["htm"], said["htu"]) == ("POST", f"{world.origin_url}/v1/settlements")
    assert said["ath"] == hash_token(claim)
    assert abs(said["iat"] * 1000 - world.now_ms()) < 5000


def test_a_device_with_a_wrong_clock_proves_the_servers_time(page: Page, world: World) -> None:
    world.clock_ahead_ms = -3 * HOUR_MS
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    _, said = read_proof(world.posts("/v1/settlements")[0].headers["dpop"])
    assert abs(said["iat"] * 1000 - world.now_ms()) < 5000


def test_a_retried_tap_keeps_its_idempotency_key_and_obeys_retry_after(page: Page, world: World) -> None:
    world.claim_failures, world.claim_waits = 1, 1
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    taps = world.posts("/v1/claims")
    assert len(taps) == 3
    assert len(set(keys_of(world))) == 1
    assert len(base64.urlsafe_b64decode(keys_of(world)[0] + "==")) == 16
    assert taps[2].at - taps[1].at >= 1


def test_each_settlement_attempt_has_a_fresh_proof_and_a_lost_answer_is_asked_again(page: Page, world: World) -> None:
    world.lose_answers = 2
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    proofs = [read_proof(seen.headers["dpop"])[1]["jti"] for seen in world.posts("/v1/settlements")]
    assert len(proofs) == len(set(proofs)) == 3
    assert len(world.decided) == 1


def test_a_claim_that_is_pending_is_asked_for_again_until_it_is_decided(page: Page, world: World) -> None:
    world.pending_answers = 2
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    asked = world.posts("/v1/settlements")
    assert len(asked) == 3
    assert asked[1].at - asked[0].at >= 1


def test_saved_claims_are_there_after_a_reload_with_the_same_viewer_key(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    page.reload()
    expect(button(overlay, "Shirt")).to_have_text("It is yours.")
    overlay.get_by_text("Your claims (1)").click()
    expect(overlay.get_by_text("Shirt: It is yours. No. 7")).to_be_visible()
    button(overlay, "Sticker").click()
    expect(offer(overlay, "Sticker")).to_contain_text("No. 8")
    assert len({seen.json()["viewer"] for seen in world.posts("/v1/claims")}) == 1


def test_saved_claims_are_there_when_the_edge_is_not(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    world.edge_away = world.shared_away = True
    page.reload()
    expect(overlay.get_by_text("Your claims (1)")).to_be_visible()


def test_an_origin_that_comes_back_settles_without_a_second_tap(page: Page, world: World) -> None:
    world.origin_away = True
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("Still trying")
    world.origin_away = False
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert len(world.posts("/v1/claims")) == 1


def test_a_crowd_and_an_edge_that_is_away_are_told_apart_while_the_tap_waits(page: Page, world: World) -> None:
    world.claim_failures = 10**6
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("Still trying")
    world.claim_failures, world.claim_waits = 0, 10**6
    expect(offer(overlay, "Shirt")).to_contain_text("Many people tapped at once. We keep trying for you.")
    world.claim_waits = 0
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert len({seen.json()["idempotency_key"] for seen in world.posts("/v1/claims")}) == 1


def test_a_claim_is_taken_up_again_on_the_next_page(context: BrowserContext, page: Page, world: World) -> None:
    world.origin_away = True
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("Still trying")
    page.close()
    world.origin_away = False
    later = context.new_page()
    overlay = open_shop(later, world)
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert len(world.posts("/v1/claims")) == 1


def test_a_tap_without_network_waits_for_it(context: BrowserContext, page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    wait_until(lambda: "/cliptill-claims.js" in [seen.path for seen in world.edge_seen], "what claims need", page)
    context.set_offline(offline=True)
    button(overlay, "Shirt").click()
    expect(button(overlay, "Shirt")).to_have_text("One moment…")
    expect(offer(overlay, "Shirt")).to_contain_text("You are offline. We keep your claim and go on by ourselves.")
    context.set_offline(offline=False)
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")


def test_a_free_claim_settles_by_itself(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    button(overlay, "Sticker").click()
    expect(offer(overlay, "Sticker")).to_contain_text("No. 7")
    assert world.posts("/v1/settlements") == []
    assert any(seen.path.endswith("/stream") for seen in world.origin_seen)


def test_a_free_claim_whose_event_is_lost_is_settled_by_the_browser(page: Page, world: World) -> None:
    world.settle_events = False
    overlay = open_shop(page, world)
    button(overlay, "Sticker").click()
    expect(offer(overlay, "Sticker")).to_contain_text("No. 7", timeout=12_000)
    assert len(world.posts("/v1/settlements")) == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [
        pytest.param("sold_out", "Somebody was a moment faster", id="sold-out"),
        pytest.param("cap_reached", "You already have as many as one person may have.", id="cap"),
        pytest.param("claim_forged", "That did not work.", id="no-words-for-it"),
    ],
)
def test_a_refused_settlement_is_told_kindly(page: Page, world: World, code: str, told: str) -> None:
    world.settlement_refusal = code
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(overlay.get_by_role("status")).to_contain_text(f"Shirt: {told}")
    expect(offer(overlay, "Shirt")).to_contain_text(told)
    assert [detail["code"] for detail in happened(page, "refused")] == [code]


def test_the_edge_saying_sold_out_is_shown_at_once(page: Page, world: World) -> None:
    world.claim_refusal = "sold_out"
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    world.stock, world.stock_version = 0, 8
    button(overlay, "Shirt").click()
    expect(button(overlay, "Shirt")).to_have_text("Sold out", timeout=600)
    assert world.posts("/v1/settlements") == []


def test_an_expired_claim_lapses_and_the_next_tap_is_the_same_tap(page: Page, world: World) -> None:
    world.settlement_refusal = "claim_expired"
    overlay = open_shop(page, world)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("This took too long")
    assert any(seen.method == "GET" and seen.path.count("/") == 3 for seen in world.origin_seen)
    world.settlement_refusal = ""
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert len(set(keys_of(world))) == 1


@pytest.mark.parametrize(("now_minor", "told"), [(2900, "€29.00"), (1900, "€19.00")], ids=["rose", "fell"])
def test_a_price_that_changed_is_never_settled_unseen(page: Page, world: World, now_minor: int, told: str) -> None:
    overlay = open_shop(page, world)
    expect(offer(overlay, "Shirt")).to_contain_text("€24.00")
    world.price_minor = now_minor
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("The price has changed")
    expect(offer(overlay, "Shirt")).to_contain_text(told)
    assert world.posts("/v1/settlements") == []
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text(f"Pay {told}")


def test_one_may_take_as_many_as_offered_each_by_a_tap_of_its_own(page: Page, world: World) -> None:
    world.max_quantity = 2
    overlay = open_shop(page, world)
    for number in (7, 8):
        button(overlay, "Shirt").click()
        expect(offer(overlay, "Shirt")).to_contain_text(f"No. {number}")
    expect(button(overlay, "Shirt")).to_have_text("It is yours.")
    assert len(set(keys_of(world))) == 2


def test_a_second_tap_while_one_is_under_way_is_the_same(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    world.edge_delay_s = 0.3
    button(overlay, "Shirt").dblclick()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert len(world.posts("/v1/claims")) == 1


def test_two_overlays_on_a_page_share_key_and_claims(page: Page, world: World) -> None:
    first = open_shop(page, world, overlays=2)
    second = page.locator("cliptill-overlay").nth(1)
    button(first, "Shirt").click()
    expect(button(second, "Shirt")).to_have_text("It is yours.")
    assert len(happened(page, "settled")) == 1


def test_without_storage_claims_work_and_the_viewer_is_told(context: BrowserContext, page: Page, world: World) -> None:
    context.add_init_script("Object.defineProperty(window, 'indexedDB', { get() { throw new DOMException('no') } });")
    overlay = open_shop(page, world)
    expect(overlay.get_by_text("This browser keeps nothing")).to_be_hidden()
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    overlay.get_by_text("Your claims (1)").click()
    expect(overlay.get_by_text("This browser keeps nothing")).to_be_visible()


def test_reaching_for_an_offer_spares_the_settlement_its_preflight(page: Page, world: World) -> None:
    overlay = open_shop(page, world)
    expect(button(overlay, "Shirt")).to_be_visible()
    wait_until(lambda: "/cliptill-claims.js" in [seen.path for seen in world.edge_seen], "what claims need", page)
    page.wait_for_timeout(200)
    assert world.origin_seen == []
    button(overlay, "Shirt").hover()
    wait_until(lambda: len(world.origin_seen) == 2, "the warming request", page)
    button(overlay, "Shirt").click()
    expect(offer(overlay, "Shirt")).to_contain_text("No. 7")
    assert [seen.method for seen in world.origin_seen] == ["OPTIONS", "GET", "POST"]
