"""Creators' shares on a real server: posted with the money, taken back with it, in currencies of 0, 2 and 3 digits."""

from typing import Any, Final

import httpx
import psycopg
import pytest

from tests.postgres.till import Till, find, post_message, sell, take_back
from tests.postgres.world import OriginProcess, Tap

ACCOUNTS: Final = """
    SELECT account, balance_minor FROM ledger_accounts WHERE balance_minor <> 0 AND account !~ '^(provider|wallet):'
    ORDER BY account
"""
# The transactions that wrote last what a refund is made of (the system column `xmin`).
WROTE: Final = """
    SELECT 'stock', xmin::text FROM drops UNION SELECT 'goods', xmin::text FROM settlements
    UNION SELECT 'return', xmin::text FROM returns UNION SELECT 'payment', xmin::text FROM payments
    UNION SELECT 'trail', xmin::text FROM trail_entries WHERE kind = 'returned'
    UNION SELECT 'entries', xmin::text FROM ledger_entries WHERE posting LIKE '%%:refunded'
    UNION SELECT 'shares', xmin::text FROM creator_dues UNION SELECT 'wallet', xmin::text FROM wallets
    ORDER BY 1
"""
CURRENCIES: Final = pytest.mark.parametrize(
    ("price", "due"),
    [
        pytest.param((1001, "JPY"), {"ada": 601, "bo": 250}, id="JPY, no digits"),
        pytest.param((1, "KRW"), {"ada": 1}, id="KRW, one won"),
        pytest.param((12_345, "BHD"), {"ada": 7407, "bo": 3086}, id="BHD, three digits"),
        pytest.param((995, "EUR"), {"ada": 597, "bo": 249}, id="EUR, two digits"),
    ],
)


def share(till: Till, **parts: int) -> None:
    """Have creators share what the drop sells."""
    for creator, share_bp in parts.items():
        till.world.execute("INSERT INTO creators VALUES (%s, %s, NULL, 0, 0)", creator, creator.title())
        till.world.execute("INSERT INTO drop_shares VALUES ('drop-1', %s, %s)", creator, share_bp)


def sell_for(till: Till, origin: OriginProcess, price_minor: int, currency: str = "EUR") -> Tap:
    return sell(till, origin, lines=[{"sku": "sku-1", "quantity": 1, "unit_minor": price_minor}], currency=currency)


def owed(till: Till) -> dict[str, int]:
    return dict(till.world.execute("SELECT creator, owed_minor FROM creator_dues WHERE owed_minor <> 0"))


def ask(origin: OriginProcess, operator: dict[str, str], **asked: Any) -> httpx.Response:
    return origin.client.get("/v1/dues", params=asked, headers=operator)


@CURRENCIES
def test_shares_of_a_sale_are_posted_to_the_last_minor_unit_and_taken_back_to_the_last(
    till: Till, counter: OriginProcess, operator: dict[str, str], price: tuple[int, str], due: dict[str, int]
) -> None:
    """Failure table: currencies without minor digits."""
    share(till, bo=2500, ada=6000)
    tap = sell_for(till, counter, *price)
    accounts = {f"owed:{creator}:drop-1": amount for creator, amount in due.items()}
    rest = price[0] - sum(due.values())
    assert dict(till.world.execute(ACCOUNTS)) == accounts | ({"sales:creator-1": rest} if rest else {})
    told = [
        {"creator": creator, "drop": "drop-1", "currency": price[1], "owed_minor": amount}
        for creator, amount in due.items()
    ]
    assert ask(counter, operator).json() == {"dues": told, "next": None}
    till.assert_in_order()
    assert take_back(counter, tap, "refund", operator, restock=False).status_code == 200
    till.until_states(tap, "refunded")
    assert till.world.execute(ACCOUNTS) == []
    assert ask(counter, operator).json() == {"dues": [], "next": None}
    assert find(till.world.conninfo) == []


@pytest.mark.parametrize("refund_minor", [1, 333, 989])
def test_after_a_refund_of_a_part_creators_are_owed_their_shares_of_what_is_kept(
    till: Till, counter: OriginProcess, operator: dict[str, str], refund_minor: int
) -> None:
    share(till, ada=3333, bo=3333, cy=3334)
    tap = sell(till, counter)
    assert sum(owed(till).values()) == 990
    take_back(counter, tap, "refund", operator, amount_minor=refund_minor)
    till.until_states(tap, "refunded")
    kept = 990 - refund_minor
    parts = owed(till)
    assert sum(parts.values()) == kept
    assert all(abs(parts.get(creator, 0) - kept / 3) < 1.1 for creator in ("ada", "bo", "cy"))
    till.assert_in_order()


def test_what_is_paid_with_credit_is_shared_too_and_credit_back_takes_it_back(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    till.world.execute("UPDATE offers SET payment = 'wallet'")
    share(till, ada=1, bo=9999)
    tap = Tap()
    order = {"key": "gift-key-0000000000000000", "amount_minor": 990, "currency": "EUR"}
    counter.client.post(f"/v1/wallets/{tap.viewer.thumbprint}/credits", json=order, headers=operator)
    counter.settle(tap)
    assert counter.post(tap, "/payment").json()["state"] == "captured"
    assert owed(till) == {"bo": 990}
    till.assert_in_order()
    take_back(counter, tap, "refund", operator, amount_minor=600)
    assert owed(till) == {"bo": 390}
    till.assert_in_order()


def test_a_refund_takes_stock_goods_shares_and_credit_back_in_one_transaction(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    till.world.execute("UPDATE offers SET payment = 'wallet'")
    share(till, ada=5000)
    tap = Tap()
    order = {"key": "gift-key-0000000000000000", "amount_minor": 990, "currency": "EUR"}
    counter.client.post(f"/v1/wallets/{tap.viewer.thumbprint}/credits", json=order, headers=operator)
    counter.settle(tap)
    counter.post(tap, "/payment")
    assert take_back(counter, tap, "refund", operator).status_code == 200
    wrote = till.world.execute(WROTE)
    assert [what for what, _ in wrote] == sorted(
        ["stock", "goods", "return", "trail", "payment", "entries", "shares", "wallet"]
    )
    assert len({transaction for _, transaction in wrote}) == 1
    assert (owed(till), till.world.stock()) == ({}, (100, 0, 0))


def test_money_that_buys_nothing_is_nobodys_share(till: Till, counter: OriginProcess) -> None:
    share(till, ada=5000)
    tap = till.begin(counter)
    till.lapse()
    till.world.execute("UPDATE drops SET free = 0, total = held, stock_version = stock_version + 1")
    assert counter.settle(Tap()).status_code == 202  # takes the lapsed unit
    till.sandbox.pay(tap)
    till.until_states(tap, "refunded")
    assert owed(till) == {}
    assert till.world.execute("SELECT count(*) FROM ledger_entries WHERE account LIKE 'owed:%%'") == [(0,)]
    assert find(till.world.conninfo) == []


def test_money_that_the_provider_gives_back_by_itself_is_taken_back_from_the_creators(
    till: Till, counter: OriginProcess
) -> None:
    share(till, ada=7000, bo=3000)
    tap = sell(till, counter)
    reference = till.sandbox.charges_of(tap)[0]["reference"]
    headers = {"Authorization": "Bearer sandbox-key", "Idempotency-Key": f"dashboard-{reference}"}
    till.sandbox.client.post(f"/charges/{reference}/refund", json={"amount_minor": 990}, headers=headers)
    post_message(counter, f"{tap.claim.jti}.1")
    till.until_states(tap, "refunded")
    assert owed(till) == {}
    till.assert_in_order()


def test_sales_that_are_paid_at_once_by_two_processes_are_shared_once_each(till: Till) -> None:
    share(till, ada=3333, bo=6667)
    first, second = till.world.start(), till.world.start()
    till.sandbox.tell(first)
    taps = [till.begin(first) for _ in range(12)]
    till.sandbox.fault(duplicates=2)
    for tap in taps:
        till.sandbox.pay(tap)
        second.post(tap, "/payment")
    for tap in taps:
        till.until_states(tap, "captured")
    assert owed(till) == {"ada": 330 * 12, "bo": 660 * 12}
    till.assert_in_order()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param("UPDATE drop_shares SET share_bp = 5999 WHERE creator = 'ada'", id="another share"),
        pytest.param("DELETE FROM drop_shares WHERE creator = 'ada'", id="a share that is gone"),
        pytest.param(
            "INSERT INTO ledger_entries VALUES ('{payment}:more', 'owed:bo:drop-1', 'JPY', 1, 0), "
            "('{payment}:more', 'sales:creator-1', 'JPY', -1, 0)",
            id="an entry of its own",
        ),
    ],
)
def test_the_audit_finds_shares_that_are_not_what_is_due(till: Till, counter: OriginProcess, change: str) -> None:
    share(till, ada=6000, bo=2500)
    tap = sell_for(till, counter, 9999, "JPY")
    assert find(till.world.conninfo) == []
    payment = f"{tap.claim.jti}.1"
    till.world.execute(change.format(payment=payment))
    assert set(find(till.world.conninfo)) == {(payment, "shares_differ")}


def test_the_audit_splits_as_the_till_does_whatever_the_amount(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    """Ties and remainders: the rule as SQL, beside the rule as it was posted."""
    share(till, ada=2500, bo=2500, cy=2500)
    taps = [sell_for(till, counter, price_minor, "KRW") for price_minor in range(1, 12)]
    take_back(counter, taps[10], "refund", operator, amount_minor=5)
    till.until_states(taps[10], "refunded")
    assert find(till.world.conninfo) == []
    assert sum(owed(till).values()) + dict(till.world.execute(ACCOUNTS))["sales:creator-1"] == sum(range(12)) - 5


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(
            "INSERT INTO ledger_entries VALUES ('p', 'owed:ada:drop-1', 'EUR', -1, 0), ('p', 'b', 'EUR', 1, 0)",
            id="less than nothing",
        ),
        pytest.param("UPDATE creator_dues SET owed_minor = 5", id="changed by itself"),
        pytest.param("DELETE FROM creator_dues", id="removed"),
        pytest.param("INSERT INTO creator_dues VALUES ('bo', 'drop-1', 'EUR', 5)", id="from nowhere"),
    ],
)
def test_the_database_itself_keeps_what_is_owed(till: Till, counter: OriginProcess, statement: str) -> None:
    share(till, cy=10_000)
    sell(till, counter)
    with pytest.raises(psycopg.errors.CheckViolation):
        till.world.execute(statement)
    assert owed(till) == {"cy": 990}


def test_what_is_owed_comes_in_pages_of_one_creator_or_one_drop_where_asked(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    share(till, ada=5000, bo=5000)
    for currency in ("EUR", "JPY"):
        sell_for(till, counter, 200, currency)
    rows = [(creator, currency) for creator in ("ada", "bo") for currency in ("EUR", "JPY")]
    seen: list[tuple[str, str]] = []
    after: dict[str, str] = {}
    while True:
        page = ask(counter, operator, limit=3, **after).json()
        seen += [(due["creator"], due["currency"]) for due in page["dues"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == rows
    assert [due["creator"] for due in ask(counter, operator, creator="bo").json()["dues"]] == ["bo", "bo"]
    assert len(ask(counter, operator, drop="drop-1", limit=200).json()["dues"]) == 4
    assert ask(counter, operator, drop="unheard").json()["dues"] == []


@pytest.mark.parametrize(
    "asked", [{"limit": 0}, {"limit": 201}, {"limit": "many"}, {"after": "bo"}, {"creator": "Bo"}, {"drop": ""}]
)
def test_a_page_that_cannot_be_is_refused(counter: OriginProcess, operator: dict[str, str], asked: Any) -> None:
    assert ask(counter, operator, **asked).json()["code"] == "invalid_field"


def test_dues_are_told_to_operators_only(counter: OriginProcess) -> None:
    assert ask(counter, {}).json()["code"] == "key_missing"


def test_a_drop_tells_its_shares_and_keeps_them_once_it_has_opened(
    till: Till, counter: OriginProcess, operator: dict[str, str]
) -> None:
    def put(**changes: Any) -> httpx.Response:
        document = {
            "drop": "mug", "run": "r1", "sku": "mug", "total": 5, "opens_at_ms": 2**50, "closes_at_ms": 2**51, **changes
        }  # fmt: skip
        return counter.client.put("/v1/drops/mug", json=document, headers=operator)

    till.world.execute("INSERT INTO creators VALUES ('ada', 'Ada', NULL, 0, 0), ('bo', 'Bo', NULL, 0, 0)")
    bo, ada = {"creator": "bo", "share_bp": 4000}, {"creator": "ada", "share_bp": 1}
    assert put(shares=[bo, {"creator": "cy", "share_bp": 1}]).json()["code"] == "creator_unknown"
    assert put(shares=[bo]).json()["shares"] == [bo]
    assert put(shares=[bo, ada]).json()["shares"] == [ada, bo]
    assert put(shares=[ada, bo]).status_code == 200
    assert put(shares=[ada, bo], opens_at_ms=1).status_code == 200
    for shares in ([ada], [], [ada, {**bo, "share_bp": 5000}]):
        for opens_at_ms in (1, 2**50):
            assert put(shares=shares, opens_at_ms=opens_at_ms).json()["code"] == "revision_conflict"
    assert put(shares=[bo, ada], opens_at_ms=1, total=6).json()["shares"] == [ada, bo]
