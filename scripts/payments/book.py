"""The sandbox's charges: what was asked for, authorised, taken and given back. Kept in SQLite over restarts.

Rules:

1. An act has a key. The same key again is the same act, and does nothing more.
2. An act that is not possible changes nothing: the charge says how it stands.
3. Nothing is taken that was not authorised, and nothing more given back than was taken.
"""

import secrets
import sqlite3
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from shared.money.payments import Charge

Act = Literal["capture", "void", "refund"]
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS charges (reference TEXT PRIMARY KEY, document BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS acts (key TEXT PRIMARY KEY, reference TEXT NOT NULL);
"""
_DECODER: Final = msgspec.json.Decoder(Charge)


class Book:
    """All charges.

    Args:
        database: open; its tables are made here.
        pay_url: where viewers pay, before the reference.
    """

    def __init__(self, database: sqlite3.Connection, pay_url: str) -> None:
        self._database = database
        self._pay_url = pay_url
        database.executescript(_SCHEMA)

    def read(self, reference: str) -> Charge | None:
        """Return a charge."""
        row = self._database.execute("SELECT document FROM charges WHERE reference = ?", [reference]).fetchone()
        return None if row is None else _DECODER.decode(row[0])

    def list(self) -> "list[Charge]":
        """Return all charges."""
        return [_DECODER.decode(document) for (document,) in self._database.execute("SELECT document FROM charges")]

    def create(self, key: str, payment: str, amount_minor: int, currency: str) -> tuple[Charge, bool]:
        """Return a new charge, or that of the same key; and whether it is new."""
        row = self._database.execute("SELECT reference FROM acts WHERE key = ?", [key]).fetchone()
        known = None if row is None else self.read(row[0])
        if known is not None:
            return known, False
        reference = f"ch_{secrets.token_hex(12)}"
        charge = Charge(
            reference=reference,
            payment=payment,
            state="pending",
            amount_minor=amount_minor,
            currency=currency,
            pay_at=f"{self._pay_url}/{reference}",
        )
        self._write(charge, key)
        return charge, True

    def act(self, charge: Charge, key: str, act: Act, amount_minor: int = 0) -> Charge:
        """Return a charge after an act; the same one when the act was done before, or is not possible."""
        if self._database.execute("SELECT 1 FROM acts WHERE key = ?", [key]).fetchone():
            return charge
        after = _act(charge, act, amount_minor)
        if after != charge:
            self._write(after, key)
        return after

    def answer_card(self, charge: Charge, *, good: bool) -> Charge:
        """Return a charge after the viewer gave a card that is good, or is not."""
        if charge.state != "pending":
            return charge
        after = replace(charge, state="authorised" if good else "failed", pay_at="")
        self._write(after)
        return after

    def _write(self, charge: Charge, key: str = "") -> None:
        with self._database:
            self._database.execute(
                "INSERT INTO charges VALUES (?, ?) ON CONFLICT (reference) DO UPDATE SET document = excluded.document",
                [charge.reference, msgspec.json.encode(charge)],
            )
            if key:
                self._database.execute("INSERT INTO acts VALUES (?, ?)", [key, charge.reference])


def _act(charge: Charge, act: Act, amount_minor: int) -> Charge:
    match act:
        case "capture" if charge.state == "authorised":
            return replace(charge, state="captured", captured_minor=charge.amount_minor)
        case "void" if charge.state in ("pending", "authorised"):
            return replace(charge, state="voided", pay_at="")
        case "refund" if 0 < amount_minor <= charge.captured_minor - charge.refunded_minor:
            return replace(charge, refunded_minor=charge.refunded_minor + amount_minor)
        case _:
            return charge
