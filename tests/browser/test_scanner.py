"""The scanner's page on a phone with the network off: what it takes, what it refuses, what it tells when it is back."""

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from playwright.sync_api import Browser, BrowserContext, Route, expect

from origin.pickup.page import FILES
from shared.claims.passes import write_code
from tests.browser.conftest import WATCH
from tests.browser.phone import CAMERA, PHONE, Phone
from tests.contract.golden_overlays import FOLDER
from tests.contract.golden_passes import FILE
from tests.postgres.scanning import Operator
from tests.postgres.servers import Server
from tests.postgres.world import PUBLIC_URL, Tap, World, until

GOLDEN: Final[dict[str, Any]] = json.loads((FOLDER / FILE).read_bytes())
Open = Callable[..., Phone]


@pytest.fixture(scope="module")
def stage() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="cliptill-pg-") as folder:
        server = Server(Path(folder))
        try:
            with server.database() as conninfo, World(conninfo) as made:
                yield made
        finally:
            server.stop_for_good()


@pytest.fixture
def operator(stage: World) -> Operator:
    stage.wipe()
    stage.add_drop("lamp", most=2, cap=2)
    now_ms = time.time_ns() // 1_000_000
    stage.add_pickup("kiln", drop="lamp", from_ms=now_ms - 60_000, until_ms=now_ms + 3_600_000)
    return Operator(stage, stage.lasting_origin())


@pytest.fixture
def open_phone(operator: Operator, browser: Browser) -> Iterator[Open]:
    contexts: list[BrowserContext] = []

    def open_one(name: str = "", *, camera: bool = True) -> Phone:
        context = browser.new_context(viewport=PHONE, locale="en-GB", timezone_id="Europe/Berlin")
        context.add_init_script(WATCH)
        if camera:
            context.add_init_script(CAMERA)
        context.set_default_timeout(8000)
        contexts.append(context)
        phone = Phone(context, operator.origin)
        if name:
            phone.set_up(operator.invite(name))
        return phone

    yield open_one
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.faults") == []
        context.close()


def settle(operator: Operator, drop: str = "lamp", quantity: int = 1) -> tuple[str, str]:
    tap = Tap(drop=drop, lines=[{"sku": "sku-1", "quantity": quantity, "unit_minor": 990}])
    body = operator.origin.settle(tap).json()
    return body["claim_id"], body["pass"]


def fetched(stage: World) -> list[str]:
    return [claim_id for (claim_id,) in stage.execute("SELECT claim_id FROM pickups")]


def test_the_page_s_verifier_comes_to_the_same_verdicts(open_phone: Open) -> None:
    page = open_phone().page
    found = page.evaluate(
        """async ({ gate, keys, cases, codes }) => {
          const { readPass, judgePass, readCode, hashCode } = await import("/scanner/passes.js");
          const known = (jti) => gate.revoked.includes(jti) ? "revoked" : gate.used.includes(jti) ? "used" : undefined;
          const verdicts = [];
          for (const { token, now_s } of cases) {
            const said = await readPass(token, keys);
            verdicts.push(typeof said === "string" ? said : judgePass(said, gate, known(said.jti), now_s) ?? "good");
          }
          const hashes = [];
          for (const { typed } of codes) hashes.push(readCode(typed) ? await hashCode(readCode(typed)) : null);
          return { verdicts, hashes };
        }""",
        GOLDEN,
    )
    assert dict(zip([case["name"] for case in GOLDEN["cases"]], found["verdicts"], strict=True)) == {
        case["name"]: case["verdict"] for case in GOLDEN["cases"]
    }
    assert found["hashes"] == [code["hash"] for code in GOLDEN["codes"]]


def test_a_device_is_set_up_with_its_code_and_its_key_cannot_leave_it(operator: Operator, open_phone: Open) -> None:
    phone = open_phone()
    phone.shoot("1-set-up")
    phone.page.get_by_label("Code", exact=True).fill("0000-0000-0000-0000")
    phone.page.get_by_role("button", name="Set up").click()
    expect(phone.page.get_by_role("alert")).to_contain_text("not known, used up, or too old")
    phone.set_up(operator.invite("door-1").lower())
    expect(phone.page.get_by_role("heading", name="kiln · door-1")).to_be_visible()
    phone.shoot("2-looking")
    assert phone.page.evaluate(
        """async () => (await (await import("/scanner/store.js")).loadDevice()).key.extractable"""
    ) is False  # fmt: skip


def test_a_browser_that_cannot_check_passes_says_so_and_uses_no_code_up(operator: Operator, open_phone: Open) -> None:
    old, new = open_phone(), open_phone()
    old.page.evaluate(
        """() => {
          const make = crypto.subtle.generateKey.bind(crypto.subtle);
          crypto.subtle.generateKey = async (algorithm, ...more) => {
            if (algorithm.name === "Ed25519") throw new DOMException("no", "NotSupportedError");
            return make(algorithm, ...more);
          };
        }"""
    )
    code = operator.invite("door-1")
    old.page.get_by_label("Code", exact=True).fill(code)
    old.page.get_by_role("button", name="Set up").click()
    expect(old.page.get_by_role("alert")).to_contain_text("the code is still good")
    new.set_up(code)


def test_without_network_the_page_opens_takes_a_pass_once_and_tells_it_when_it_is_back(
    stage: World, operator: Operator, open_phone: Open
) -> None:
    claim_id, token = settle(operator, quantity=2)
    phone = open_phone("door-1")
    phone.go(offline=True)
    phone.page.reload()
    expect(phone.page.get_by_role("heading", name="kiln · door-1")).to_be_visible()

    phone.type_code(write_code(token).lower().replace("-", " "))
    phone.says("Good", "2 \u00d7 lamp · No. 1\u20132")
    phone.says("Good", "Collect €19.80")
    phone.shoot("3-good")
    phone.press("Handed out")
    phone.to_send(1)

    phone.page.reload()
    phone.to_send(1)
    phone.hold_up(token)
    phone.says("Already picked up")
    phone.shoot("4-used")
    phone.press("Next")
    phone.to_send(2)
    assert fetched(stage) == []

    phone.go(offline=False)
    phone.to_send(0)
    assert fetched(stage) == [claim_id]
    told = stage.execute("SELECT verdict, outcome FROM scans ORDER BY seq")
    assert told == [("good", "picked_up"), ("used", "noted")]


def test_without_network_a_pass_that_is_newer_than_the_list_is_taken_by_its_signature(
    stage: World, operator: Operator, open_phone: Open
) -> None:
    phone = open_phone("door-1")
    phone.go(offline=True)
    claim_id, token = settle(operator)
    phone.type_code(write_code(token))
    phone.says("Not known here", "scan its QR code")
    phone.press("Next")
    phone.hold_up(token)
    phone.says("Good", "1 \u00d7 lamp · No. 1")
    phone.press("Handed out")
    phone.hold_up(token)
    phone.says("Already picked up")
    phone.press("Next")
    phone.go(offline=False)
    phone.to_send(0)
    assert fetched(stage) == [claim_id]


def test_of_two_tabs_that_show_one_pass_one_hands_it_out(stage: World, operator: Operator, open_phone: Open) -> None:
    claim_id, token = settle(operator)
    phone = open_phone("door-1")
    other = phone.open_tab()
    phone.go(offline=True)
    for tab in (phone, other):
        tab.hold_up(token)
        tab.says("Good")
    phone.press("Handed out")
    other.page.get_by_role("button", name="Handed out").click()
    other.says("Already picked up")
    phone.go(offline=False)
    phone.to_send(0)
    assert fetched(stage) == [claim_id]
    assert stage.execute("SELECT outcome FROM scans") == [("picked_up",)]


def test_a_device_that_cannot_write_it_down_says_to_hand_nothing_out(
    stage: World, operator: Operator, open_phone: Open
) -> None:
    _, token = settle(operator)
    phone = open_phone("door-1")
    phone.page.evaluate(
        """() => {
          const add = IDBObjectStore.prototype.add;
          IDBObjectStore.prototype.add = function (value) {
            const request = add.call(this, value);
            this.transaction.abort();
            return request;
          };
        }"""
    )
    phone.hold_up(token)
    phone.page.get_by_role("button", name="Handed out").click()
    phone.says("Good", "Hand nothing out")
    phone.page.reload()
    phone.hold_up(token)
    phone.says("Good")
    assert fetched(stage) == []


def test_not_now_hands_nothing_out(stage: World, operator: Operator, open_phone: Open) -> None:
    _, token = settle(operator)
    phone = open_phone("door-1")
    phone.go(offline=True)
    phone.hold_up(token)
    phone.press("Not now")
    phone.to_send(0)
    phone.hold_up(token)
    phone.says("Good")
    assert fetched(stage) == []


REFUSALS: Final = {
    "revoked": ("Revoked", "1 \u00d7 lamp"),
    "expired": ("Too late", "Until"),
    "too early": ("Too early", "From"),
    "elsewhere": ("For another place", "Place: harbour"),
    "foreign": ("Not one of ours", ""),
    "forged": ("Forged", ""),
    "menu": ("Not a pass", ""),
}


def make_pass(stage: World, operator: Operator, name: str) -> str:
    """Return a pass, or what looks like one, that is not good for the reason of that name."""
    claim_id, token = settle(operator)
    now_ms = time.time_ns() // 1_000_000
    match name:
        case "expired":
            stage.add_pickup(drop="other", from_ms=1000, until_ms=now_ms - 1000)
        case "too early":
            stage.add_pickup(drop="other", from_ms=now_ms + 3_600_000)
        case "elsewhere":
            stage.add_pickup("harbour", drop="other")
        case "revoked":
            operator.post(f"/v1/passes/{claim_id}/revoke")
            return token
        case "foreign":
            return str(GOLDEN["cases"][0]["token"])
        case "forged":
            return token[:-20] + "A" * 20
        case "menu":
            return "https://example.com/menu"
    return settle(operator, "other")[1]


@pytest.mark.parametrize("name", REFUSALS)
def test_without_network_what_is_not_good_is_refused_and_says_why(
    stage: World, operator: Operator, open_phone: Open, name: str
) -> None:
    stage.add_drop("other")
    token = make_pass(stage, operator, name)
    phone = open_phone("door-1")
    phone.go(offline=True)
    phone.hold_up(token)
    phone.says(*REFUSALS[name])
    expect(phone.page.get_by_role("button", name="Handed out")).to_be_hidden()
    phone.shoot(f"5-{name}".replace(" ", "-"))
    phone.press("Next")
    phone.go(offline=False)
    phone.to_send(0)
    assert stage.execute("SELECT outcome FROM scans") == [("noted",)]
    assert fetched(stage) == []


def test_passes_of_long_ago_and_scans_that_are_kept_are_forgotten_and_still_refused(
    stage: World, operator: Operator, open_phone: Open
) -> None:
    stage.add_drop("other")
    now_ms, day_ms = time.time_ns() // 1_000_000, 86_400_000
    stage.add_pickup(drop="other", from_ms=1000, until_ms=now_ms - 29 * day_ms)
    token = settle(operator, "other")[1]
    settle(operator)
    phone = open_phone("door-1")
    assert phone.keeps("passes") == 2

    def two_days_later(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json={**answer.json(), "over_ms": answer.json()["over_ms"] + 2 * day_ms})

    phone.page.route("**/v1/scanner/passes**", two_days_later)
    phone.page.get_by_role("button", name="Sync").click()
    until(lambda: phone.keeps("passes") == 1)
    phone.hold_up(token)
    phone.says("Too late")
    phone.press("Next")
    phone.page.get_by_role("button", name="Sync").click()
    phone.to_send(0)
    assert stage.execute("SELECT verdict FROM scans") == [("expired",)]
    assert phone.keeps("scans") == 0


def test_a_phone_whose_clock_is_put_back_takes_no_old_pass(stage: World, operator: Operator, open_phone: Open) -> None:
    stage.add_drop("other")
    token = make_pass(stage, operator, "expired")
    phone = open_phone("door-1")
    phone.go(offline=True)
    phone.page.evaluate("() => { const now = Date.now; Date.now = () => now() - 3_600_000; }")
    phone.hold_up(token)
    phone.says("Too late")


def test_two_phones_without_network_that_took_one_pass_are_found_with_both_scans(
    operator: Operator, open_phone: Open
) -> None:
    claim_id, token = settle(operator)
    phones = [open_phone("door-1"), open_phone("door-2")]
    for phone in phones:
        phone.go(offline=True)
        phone.hold_up(token)
        phone.press("Handed out")
    for phone in phones:
        phone.go(offline=False)
        phone.to_send(0)
    (disputed,) = operator.disputed()
    assert disputed["claim_id"] == claim_id
    assert [(scan["scanner"], scan["outcome"]) for scan in disputed["scans"]] == [
        ("door-1", "picked_up"),
        ("door-2", "second_pickup"),
    ]
    for scan in disputed["scans"]:
        said = jwt.decode(scan["scan"], jwt.PyJWK.from_dict(scan["key"]), algorithms=["ES256"], audience=PUBLIC_URL)
        assert (said["iss"], said["claim_id"], said["verdict"]) == (scan["scanner"], claim_id, "good")


def test_with_a_network_another_phone_s_pickup_is_known_at_once(
    stage: World, operator: Operator, open_phone: Open
) -> None:
    _, token = settle(operator)
    first, second = open_phone("door-1"), open_phone("door-2")
    first.hold_up(token)
    first.press("Handed out")
    until(lambda: bool(fetched(stage)))
    second.hold_up(token)
    second.says("Already picked up")


def test_a_phone_that_was_shut_out_says_so(operator: Operator, open_phone: Open) -> None:
    phone = open_phone("door-1")
    operator.post("/v1/scanners/door-1/revoke")
    phone.page.get_by_role("button", name="Sync now").click()
    expect(phone.page.locator("#network")).to_have_text("This scanner was shut out")


def test_without_a_camera_the_page_says_so_and_codes_are_typed(operator: Operator, open_phone: Open) -> None:
    _, token = settle(operator)
    phone = open_phone("door-1", camera=False)
    expect(phone.page.locator("#no-camera")).to_contain_text("Type the code")
    phone.type_code(write_code(token))
    phone.says("Good")


def test_the_page_keeps_each_of_its_files(open_phone: Open, operator: Operator) -> None:
    worker = operator.origin.client.get("/scanner/worker.js").text
    for name in set(FILES) - {"scanner.html", "worker.js"}:
        assert f'"/scanner/{name}"' in worker
    assert '"development"' not in worker
    phone = open_phone("door-1")
    kept = phone.page.evaluate("async () => (await caches.keys()).length")
    assert kept == 1
