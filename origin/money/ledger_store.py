"""SQL of the ledger: double entry in integer minor units, append-only.

Rules, which the schema keeps by itself:

1. In each posting the entries of a currency sum to zero when its transaction commits; so all accounts together do.
2. An entry is never changed. What was wrong is posted the other way round.
3. A posting's name is its key: it tells which act it belongs to, and there is one of each.
4. What a viewer has (`wallet:`) is never less than nothing.
"""

from collections.abc import Mapping
from typing import Final

from origin.database import Connection
from shared.structs import AmountMinor, CurrencyCode, Wire

_ENTRY: Final = """
    INSERT INTO ledger_entries (posting, account, currency, amount_minor, at_ms) VALUES (%s, %s, %s, %s, %s)
"""
_LOCK: Final = "SELECT balance_minor FROM wallets WHERE viewer = %s AND currency = %s FOR UPDATE"
_BALANCES: Final = "SELECT currency, balance_minor FROM wallets WHERE viewer = %s ORDER BY currency"
_POSTING: Final = "SELECT account, currency, amount_minor FROM ledger_entries WHERE posting = %s"


class Balance(Wire, frozen=True, kw_only=True):
    """What a wallet has in one currency."""

    currency: CurrencyCode
    amount_minor: AmountMinor


def wallet_of(viewer: str) -> str:
    """Return the account of what a viewer has to spend."""
    return f"wallet:{viewer}"


async def lock_balance(connection: Connection, viewer: str, currency: str) -> int:
    """Return what a viewer has, and keep others from spending it until the transaction ends."""
    row = await (await connection.execute(_LOCK, (viewer, currency))).fetchone()
    return 0 if row is None else int(row[0])


async def read_balances(connection: Connection, viewer: str) -> tuple[Balance, ...]:
    """Return what a viewer has, by currency."""
    found = await connection.execute(_BALANCES, [viewer])
    return tuple(
        Balance(currency=currency, amount_minor=amount) for currency, amount in await found.fetchall() if amount
    )


async def read_posting(connection: Connection, posting: str) -> dict[tuple[str, str], int]:
    """Return the amounts of a posting by (account, currency); none when there is no such posting."""
    found = await connection.execute(_POSTING, [posting])
    return {(account, currency): amount for account, currency, amount in await found.fetchall()}


async def post(connection: Connection, posting: str, currency: str, amounts: Mapping[str, int], now_ms: int) -> None:
    """Post amounts to accounts, in the caller's transaction.

    Args:
        connection: in a transaction.
        posting: its key.
        currency: of all amounts.
        amounts: minor units by account, which sum to zero.
        now_ms: the origin's clock.

    Raises:
        ClashError: through the transaction, when that posting is there already.
    """
    rows = [(posting, account, currency, amounts[account], now_ms) for account in sorted(amounts)]
    await connection.cursor().executemany(_ENTRY, rows)
