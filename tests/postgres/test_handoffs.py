"""Handing on what is sold, on a real server: one effect at the partner, whoever is killed, down, slow or lying."""

import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shared.fulfilment.handoffs import GIVE_UP_MS
from tests.postgres.partner import Partner, pass_time, states_of, until_states, until_taken
from tests.postgres.till import Till, find, free_tap, sell, sell_free, take_back
from tests.postgres.world import OriginProcess, Tap, together, until


@pytest.fixture
def partner(till: Till) -> Iterator[Partner]:
    """The partner of `drop-1`."""
    with Partner() as started:
        started.join(till)
        yield started
        till.world.execute("UPDATE drops SET partner = NULL")


def ask(origin: OriginProcess, operator: dict[str, str], **asked: Any) -> list[dict[str, Any]]:
    answer = origin.client.get("/v1/handoffs", params=asked, headers=operator)
    handoffs: list[dict[str, Any]] = answer.json()["handoffs"]
    return handoffs


def resend(origin: OriginProcess, tap: Tap, operator: dict[str, str]) -> httpx.Response:
    return origin.client.post(f"/v1/handoffs/{tap.claim.jti}/resend", headers=operator)


def test_each_settled_claim_is_handed_on_once_and_signed(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    free, paid = sell_free(counter), sell(till, counter)
    held = till.begin(counter)
    for tap in (free, paid):
        until_taken(till, tap)
    assert partner.counts() == {f"{tap.claim.jti}-settled": 1 for tap in (free, paid)}
    told = dict(partner.messages)[f"{paid.claim.jti}-settled"]
    assert (told["type"], told["data"]["payment"], told["data"]["run_numbers"]) == ("claim.settled", "card", [2])
    assert states_of(till, held) == []
    (listed,) = ask(counter, operator, claim=paid.claim.jti)
    assert (listed["state"], listed["tries"], listed["answer"]) == ("delivered", 1, "200")
    assert (listed["drop"], listed["position"], listed["partner"]) == ("drop-1", 2, "potter")
    assert find(till.world.conninfo) == []


def test_what_is_called_off_is_told_after_what_was_sold_though_both_waited(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    partner.status = 503
    tap, other = sell_free(counter), sell(till, counter)
    take_back(counter, tap, "cancel", operator)
    take_back(counter, other, "refund", operator, restock=False)
    until(lambda: [*states_of(till, tap), *states_of(till, other)] == ["waiting"] * 4)
    pass_time(till)
    until(lambda: partner.counts()[f"{tap.claim.jti}-settled"] > 1)
    assert {name.rpartition("-")[2] for name in partner.ids()} == {"settled"}
    partner.messages, partner.status = [], 202
    until_states(till, tap, "delivered", "delivered")
    until_states(till, other, "delivered", "delivered")
    for sold, back in ((tap, "claim.cancelled"), (other, "claim.refunded")):
        came = [told["type"] for name, told in partner.messages if name.startswith(sold.claim.jti)]
        assert list(dict.fromkeys(came)) == ["claim.settled", back]
    assert dict(partner.messages)[f"{other.claim.jti}-returned"]["data"]["restocked"] is False


def test_killed_between_the_delivery_and_its_note_it_tells_the_same_again(till: Till, partner: Partner) -> None:
    """The partner has one effect: both tries have one id, and one content."""
    till.world.close_all()
    dying = till.world.start()
    partner.behave = "slowly"
    tap = sell_free(dying)
    until(lambda: len(partner.messages) == 1)
    dying.kill()
    partner.behave = "well"
    partner.go_on.set()
    assert states_of(till, tap) == ["waiting"]
    till.world.start()
    until_states(till, tap, "delivered")
    assert partner.ids() == [f"{tap.claim.jti}-settled"] * 2
    assert partner.messages[0] == partner.messages[1]


def test_two_processes_hand_each_claim_on_once(till: Till, counter: OriginProcess, partner: Partner) -> None:
    origins = [counter, till.world.start(), till.world.start()]
    taps = [free_tap() for _ in range(60)]
    together(lambda place: origins[place % 3].settle_patiently(taps[place]), range(60), workers=8)
    until(lambda: len(partner.counts()) == 60)
    until(lambda: all(states_of(till, tap) == ["delivered"] for tap in taps))
    assert set(partner.counts().values()) == {1}


def test_killed_while_many_are_sold_none_is_passed_over(till: Till, counter: OriginProcess, partner: Partner) -> None:
    dying = till.world.start()
    taps = [free_tap() for _ in range(40)]

    def settle(place: int) -> None:
        if place == 15:
            dying.kill()
        counter.settle_patiently(taps[place])

    together(settle, range(40), workers=4)
    for tap in taps:
        until_states(till, tap, "delivered")
    assert set(partner.counts()) == {f"{tap.claim.jti}-settled" for tap in taps}


def test_a_partner_that_is_named_later_is_told_of_what_was_sold_before(till: Till, counter: OriginProcess) -> None:
    tap = sell_free(counter)
    with Partner("latecomer") as late:
        late.join(till)
        until_taken(till, tap)
        assert late.ids() == [f"{tap.claim.jti}-settled"]
        till.world.execute("UPDATE drops SET partner = NULL")
        sell_free(counter)
        assert till.world.execute("SELECT count(*) FROM handoffs") == [(1,)]


def test_a_partner_that_is_down_is_tried_again_later_and_later(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    partner.status = 500
    tap = sell_free(counter)
    until(lambda: len(partner.messages) >= 3)
    (listed,) = ask(counter, operator, state="waiting")
    assert listed["answer"] == "500"
    assert listed["tries"] >= 2
    partner.status = 200
    until_states(till, tap, "delivered")
    assert len(partner.counts()) == 1


def test_a_partner_that_nobody_answers_for_is_tried_again(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    till.world.execute("UPDATE partners SET url = 'http://127.0.0.1:9/'")
    tap = sell_free(counter)
    until(lambda: [each["answer"] for each in ask(counter, operator)] == ["no_answer"])
    till.world.execute("UPDATE partners SET url = %s", partner.url)
    until_states(till, tap, "delivered")


def test_a_slow_partner_keeps_nobody_else_waiting(till: Till, counter: OriginProcess, partner: Partner) -> None:
    partner.behave = "slowly"
    till.world.add_drop("drop-2")
    with Partner("weaver") as quick:
        quick.join(till, "drop-2")
        slow = sell_free(counter)
        until(lambda: len(partner.messages) == 1)
        tap = free_tap(drop="drop-2")
        assert counter.settle(tap).status_code == 200
        until_taken(till, tap)
        assert states_of(till, slow) == ["waiting"]
        till.world.execute("UPDATE drops SET partner = NULL")
    partner.go_on.set()
    until_taken(till, slow)


def test_a_redirect_is_not_followed(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    with Partner("elsewhere") as other:
        partner.status, partner.elsewhere = 307, other.url
        tap = sell_free(counter)
        until(lambda: [each["answer"] for each in ask(counter, operator)] == ["307"])
        assert other.messages == []
    partner.status, partner.elsewhere = 200, ""
    until_states(till, tap, "delivered")


def test_an_answer_without_end_is_cut_off_and_its_status_counts(
    till: Till, counter: OriginProcess, partner: Partner
) -> None:
    partner.behave = "wordily"
    tap = sell_free(counter)
    until_taken(till, tap)
    until(lambda: partner.behave == "was cut off")


@pytest.mark.parametrize("how", ["for three days", "gone"])
def test_what_nobody_takes_is_dead_until_an_operator_sends_it_again(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str], how: str
) -> None:
    partner.status = 410 if how == "gone" else 500
    tap = sell_free(counter)
    if how != "gone":
        until(lambda: states_of(till, tap) == ["waiting"])
        till.world.execute("UPDATE handoffs SET since_ms = since_ms - %s", GIVE_UP_MS)
    take_back(counter, tap, "cancel", operator)
    until_states(till, tap, "dead", "waiting")
    assert [each["claim_id"] for each in ask(counter, operator, state="dead")] == [tap.claim.jti]
    assert find(till.world.conninfo) == [(tap.claim.jti, "handoff_dead")]
    tries = len(partner.messages)
    pass_time(till)  # the second waits for the first, however often it is looked at
    partner.status = 200
    assert resend(counter, tap, operator).status_code == 200
    until_states(till, tap, "delivered", "delivered")
    came = [told["type"] for _, told in partner.messages[tries:]]
    assert came == ["claim.settled", "claim.cancelled"]
    assert find(till.world.conninfo) == []


def test_what_was_taken_is_sent_again_when_asked_under_the_id_that_it_had(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    tap = sell_free(counter)
    until_taken(till, tap)
    (before,) = ask(counter, operator)
    (waits,) = resend(counter, tap, operator).json()["handoffs"]
    assert (waits["state"], waits["delivered_ms"]) == ("waiting", before["delivered_ms"])
    until_taken(till, tap)
    (after,) = ask(counter, operator)
    assert after["delivered_ms"] == before["delivered_ms"]  # the first acknowledgement is the one that is kept
    assert partner.ids() == [f"{tap.claim.jti}-settled"] * 2
    assert resend(counter, Tap(), operator).json()["code"] == "handoff_unknown"
    assert resend(counter, tap, {}).json()["code"] == "key_missing"


def test_all_that_a_partner_missed_is_sent_once_it_is_back(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    def resend_all(name: str) -> Any:
        return counter.client.post(f"/v1/partners/{name}/resend", headers=operator).json()

    taken = sell_free(counter)
    until_taken(till, taken)
    partner.status = 410
    taps = [sell_free(counter) for _ in range(3)]
    until(lambda: len(ask(counter, operator, state="dead")) == 3)
    partner.status = 503
    till.world.execute("UPDATE handoffs SET state = 'waiting', next_try_ms = %s WHERE position = 2", 2**52)
    take_back(counter, taps[2], "cancel", operator)
    until(lambda: len(ask(counter, operator, state="waiting")) == 2)
    partner.status, partner.messages = 200, []
    assert resend_all(partner.name) == {"messages": 4}
    until_states(till, taps[2], "delivered", "delivered")
    until(lambda: len(ask(counter, operator, state="delivered")) == 5)
    assert f"{taken.claim.jti}-settled" not in partner.ids()
    assert resend_all(partner.name) == {"messages": 0}
    assert resend_all("nobody")["code"] == "partner_unknown"


def test_messages_are_listed_in_pages(counter: OriginProcess, partner: Partner, operator: dict[str, str]) -> None:
    taps = [sell_free(counter) for _ in range(5)]
    until(lambda: len(partner.counts()) == 5)
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = counter.client.get("/v1/handoffs", params={"limit": 2, **after}, headers=operator).json()
        seen += [each["claim_id"] for each in page["handoffs"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == [tap.claim.jti for tap in taps]
    assert ask(counter, operator, partner="weaver") == []
    assert len(ask(counter, operator, drop="drop-1", partner="potter")) == 5
    until(lambda: len(ask(counter, operator, state="delivered")) == 5)
    for wrong in ({"state": "lost"}, {"after": "drop-1"}, {"limit": 0}, {"claim": "x"}):
        answer = counter.client.get("/v1/handoffs", params=wrong, headers=operator)
        assert answer.json()["code"] == "invalid_field"


def test_a_partner_gets_its_secret_once_and_a_new_one_beside_the_old(
    counter: OriginProcess, operator: dict[str, str]
) -> None:
    def put(url: str, name: str = "mint") -> httpx.Response:
        return counter.client.put("/v1/partners/mint", json={"partner": name, "url": url}, headers=operator)

    made = put("https://partner.example/hooks")
    assert (made.status_code, made.json()["secret"][:6], len(made.json()["secret"])) == (201, "whsec_", 50)
    again = put("https://partner.example/other")
    assert (again.status_code, again.json()) == (
        200, {"partner": "mint", "url": "https://partner.example/other", "waiting": 0, "dead": 0},
    )  # fmt: skip
    renewed = counter.client.post("/v1/partners/mint/secrets", headers=operator)
    assert (renewed.status_code, renewed.json()["secret"] != made.json()["secret"]) == (201, True)
    listed = counter.client.get("/v1/partners", headers=operator).json()
    assert (listed["partners"], listed["next"]) == ([again.json()], None)
    for url in ("http://partner.example/", "https://user@partner.example/", "ftp://partner.example/", ""):
        assert put(url).json()["code"] == "invalid_field"
    assert put("https://partner.example/", "other").json()["code"] == "invalid_field"
    assert counter.client.post("/v1/partners/nobody/secrets", headers=operator).json()["code"] == "partner_unknown"
    assert counter.client.get("/v1/partners", params={"limit": 0}, headers=operator).json()["code"] == "invalid_field"
    assert counter.client.get("/v1/partners").json()["code"] == "key_missing"


def test_both_secrets_sign_until_the_next_is_made(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    counter.client.post("/v1/partners/potter/secrets", headers=operator)
    tap = sell_free(counter)
    until_taken(till, tap)  # which the partner checked with its old secret
    assert partner.report(counter, tap).status_code == 200
    counter.client.post("/v1/partners/potter/secrets", headers=operator)
    assert partner.report(counter, tap, message="msg_2", at_ms=2_000).json()["code"] == "message_forged"


def test_a_drop_names_a_partner_that_there_is(
    counter: OriginProcess, operator: dict[str, str], partner: Partner
) -> None:
    def put(name: str | None) -> Any:
        drop = {"drop": "mug", "run": "r1", "sku": "mug", "total": 5, "opens_at_ms": 1, "closes_at_ms": 2}
        return counter.client.put("/v1/drops/mug", json={**drop, "partner": name}, headers=operator).json()

    assert put("nobody")["code"] == "partner_unknown"
    assert put(partner.name)["partner"] == "potter"
    assert put(None)["partner"] is None


def test_reports_count_once_and_the_latest_is_what_stands(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    tap = sell_free(counter)
    until_taken(till, tap)
    now_ms = time.time_ns() // 1_000_000

    def standing() -> tuple[str, int]:
        (listed,) = ask(counter, operator, claim=tap.claim.jti)
        return listed["progress"], listed["progress_at_ms"]

    first = partner.report(counter, tap, "shipped", at_ms=now_ms - 10, reason="on its way\u0000")
    assert (first.status_code, first.json()) == (200, {"claim_id": tap.claim.jti, "outcome": "applied"})
    again = together(
        lambda _: partner.report(counter, tap, "shipped", at_ms=now_ms - 10, reason="on its way\u0000"), range(6)
    )
    assert {answer.json()["outcome"] for answer in again} == {"repeated"}
    assert partner.report(counter, tap, "failed", at_ms=now_ms - 10).json()["code"] == "idempotency_conflict"
    earlier = partner.report(counter, tap, "failed", message="msg_0", at_ms=now_ms - 11)
    assert (earlier.json()["outcome"], standing()) == ("outdated", ("shipped", now_ms - 10))
    assert partner.report(counter, tap, "handed_over", message="msg_2", at_ms=now_ms).json()["outcome"] == "applied"
    assert standing() == ("handed_over", now_ms)
    assert till.world.execute("SELECT count(*) FROM partner_reports") == [(3,)]
    assert find(till.world.conninfo) == []


def test_what_a_partner_cannot_send_needs_a_person(
    till: Till, counter: OriginProcess, partner: Partner, operator: dict[str, str]
) -> None:
    tap = sell_free(counter)
    until_taken(till, tap)
    partner.report(counter, tap, "failed", reason="broken in the kiln")
    assert find(till.world.conninfo) == [(tap.claim.jti, "handoff_failed")]
    assert [each["claim_id"] for each in ask(counter, operator, progress="failed")] == [tap.claim.jti]
    take_back(counter, tap, "cancel", operator)
    assert find(till.world.conninfo) == []


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        pytest.param({"secret": "whsec_" + "A" * 43 + "="}, (401, "message_forged"), id="another secret"),
        pytest.param({"late_s": 301}, (401, "message_stale"), id="too old"),
        pytest.param({"late_s": -302}, (401, "message_stale"), id="from the future"),
        pytest.param({"claim_id": "A" * 22}, (404, "handoff_unknown"), id="of a claim that is not there"),
        pytest.param({"claim_id": "x"}, (422, "invalid_field"), id="of no claim"),
        pytest.param({"what": "lost"}, (422, "invalid_field"), id="of no kind"),
        pytest.param({"at_ms": 2**52}, (422, "invalid_field"), id="of what has not happened"),
        pytest.param({"reason": "x" * 20_000}, (413, "body_too_large"), id="too long"),
    ],
)
def test_a_report_that_does_not_count_changes_nothing(
    till: Till, counter: OriginProcess, partner: Partner, changes: dict[str, Any], refusal: tuple[int, str]
) -> None:
    tap = sell_free(counter)
    until_taken(till, tap)
    answer = partner.report(counter, tap, **changes)
    assert (answer.status_code, answer.json()["code"]) == refusal
    assert till.world.execute("SELECT count(*) FROM partner_reports") == [(0,)]
    assert till.world.execute("SELECT count(progress) FROM handoffs") == [(0,)]


@pytest.mark.usefixtures("partner")
def test_a_partner_reports_of_its_own_claims_only(till: Till, counter: OriginProcess) -> None:
    tap = sell_free(counter)
    until_taken(till, tap)
    with Partner("weaver") as other:
        other.join(till, "none")
        assert other.report(counter, tap).json()["code"] == "handoff_unknown"
    other.name = "nobody"
    assert other.report(counter, tap).json()["code"] == "partner_unknown"
    assert counter.client.post("/v1/partners/potter/reports", content=b"{}").json()["code"] == "message_forged"
