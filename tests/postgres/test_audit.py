"""Auditing a drop: what an operator, or whoever has the database, changes in the rows is found and named."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from origin.audit import AWAY, FAULTS, FITS, WRONG_USE
from origin.database import Database
from origin.insight.reconciliation_store import read_only_snapshot
from origin.settlement.receipts import parse_signing_keys
from origin.trail.auditing import Audit, audit_drop
from origin.trail.heads import Signer, sign_open_ends
from origin.trail.public_keys import PublicKeys
from tests.postgres.world import PUBLIC_URL, ROOT, SIGNING_KEYS, OriginProcess, Tap, World, origin_settings

KEYS = parse_signing_keys(SIGNING_KEYS)
SETTLED = 5
COPY_OF_A_SETTLEMENT = """
    INSERT INTO settlements (
      claim_id, first_number, drop, run, viewer, fingerprint, status, quantity, total_minor, currency, creator, clip,
      offer, arm, lines, receipt, kid, source, settled_at_ms, stock_total, stock_remaining, stock_version
    ) SELECT
      'mine', 6, drop, run, viewer, fingerprint, status, quantity, total_minor, currency, creator, clip,
      offer, arm, lines, receipt, kid, source, settled_at_ms, stock_total, stock_remaining, stock_version
    FROM settlements WHERE first_number = 3
"""
COPY_OF_AN_ENTRY = """
    INSERT INTO trail_entries
    SELECT drop, 6, kind, 'mine', units, 6, at_ms, content, facts, sha256('x') FROM trail_entries WHERE position = 5
"""
TURNED_INTO_A_REFUSAL = """
    UPDATE settlements SET status = 'refused', code = 'sold_out', first_number = NULL, receipt = NULL, kid = NULL
    WHERE first_number = 5
"""


@pytest.fixture
def sold(world: World, origin: OriginProcess) -> Iterator[World]:
    """A drop with five settlements, a refusal, and a signed head of its trail."""
    for _ in range(SETTLED):
        assert origin.settle(Tap()).status_code == 200
    assert origin.settle(Tap(run="run-0")).status_code == 410
    sign(world)
    yield world
    world.execute("DELETE FROM holds")


def sign(world: World) -> None:
    async def story() -> None:
        database = Database(world.conninfo)
        await database.open()
        async with database.transaction() as connection:
            await sign_open_ends(connection, Signer(PUBLIC_URL, KEYS), 1)
        await database.close()

    asyncio.run(story())


def audit(world: World, *published: str) -> Audit:
    async def story() -> Audit:
        database = Database(world.conninfo)
        await database.open()
        try:
            async with read_only_snapshot(database) as connection:
                found = await audit_drop(connection, "drop-1", PublicKeys(KEYS.key_set).verify, published)
        finally:
            await database.close()
        assert found is not None
        return found

    return asyncio.run(story())


def run(world: World, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, **origin_settings(world.conninfo, "/nonexistent"), **settings}
    command = [sys.executable, "-m", "origin.audit", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_what_was_settled_fits(sold: World) -> None:
    found = audit(sold)
    assert (found.faults, found.entries, found.settled, found.settlements) == ((), SETTLED, SETTLED, SETTLED)
    assert found.signed_until == SETTLED
    assert found.stock is not None
    assert (found.stock.total, found.stock.free, found.stock.settled) == (100, 95, SETTLED)


@pytest.mark.parametrize(
    ("statements", "faults"),
    [
        pytest.param(
            ["UPDATE settlements SET viewer = 'me' WHERE first_number = 3"],
            [("settlement_changed", 3, "viewer, fingerprint, arm, kid, source or stock")],
            id="settlement-given-to-another",
        ),
        pytest.param(
            ["UPDATE settlements SET quantity = 2, total_minor = 1 WHERE first_number = 3"],
            [("settlement_changed", 3, "quantity, total_minor")],
            id="settlement-of-another-amount",
        ),
        pytest.param(
            ["UPDATE settlements SET lines = '[]', first_number = 9 WHERE first_number = 3"],
            [("settlement_changed", 3, "first_number, lines")],
            id="settlement-of-something-else",
        ),
        pytest.param(
            ["UPDATE settlements SET settled_at_ms = settled_at_ms - 1 WHERE first_number = 3"],
            [("settlement_changed", 3, "settled_at_ms")],
            id="settlement-backdated",
        ),
        pytest.param(
            ["UPDATE settlements SET receipt = receipt || ' ' WHERE first_number = 3"],
            [("settlement_changed", 3, "receipt")],
            id="receipt-changed",
        ),
        pytest.param(
            ["UPDATE settlements SET receipt = '{}' WHERE first_number = 3"],
            [("settlement_changed", 3, "receipt")],
            id="receipt-emptied",
        ),
        pytest.param(
            ["DELETE FROM settlements WHERE first_number = 3"],
            [("settlement_removed", 3, "")],
            id="settlement-removed",
        ),
        pytest.param(
            [TURNED_INTO_A_REFUSAL],
            [("settlement_removed", SETTLED, "")],
            id="settlement-turned-into-a-refusal",
        ),
        pytest.param(
            [COPY_OF_A_SETTLEMENT],
            [("settlement_inserted", None, "its receipt says entry 3")],
            id="settlement-inserted",
        ),
        pytest.param(
            ["UPDATE trail_entries SET units = 2 WHERE position = 3"], [("entry_changed", 3, "")], id="entry-changed"
        ),
        pytest.param(
            ["UPDATE trail_entries SET hash = sha256('x') WHERE position = 3"],
            [("entry_changed", 3, "")],
            id="hash-changed",
        ),
        pytest.param(
            ["DELETE FROM trail_entries WHERE position = 3"],
            [("entry_missing", 3, "3 to 3"), ("settlement_inserted", None, "its receipt says entry 3")],
            id="entry-removed",
        ),
        pytest.param(
            [
                "DELETE FROM trail_entries WHERE position = 3",
                "DELETE FROM settlements WHERE first_number = 3",
                "UPDATE trail_entries SET position = position - 1 WHERE position > 3",
            ],
            [
                ("entry_changed", 3, ""),
                ("entry_changed", 4, ""),
                ("head_beyond_end", SETTLED, f"the trail ends at {SETTLED - 1}"),
            ],
            id="entry-and-settlement-removed-and-the-rest-moved",
        ),
        pytest.param(
            [COPY_OF_AN_ENTRY],
            [("entry_changed", 6, ""), ("stock_disagrees", None, "5 settled, the trail says 6")],
            id="entry-inserted",
        ),
        pytest.param(
            ["DELETE FROM trail_entries WHERE position = 5"],
            [
                ("settlement_inserted", None, f"its receipt says entry {SETTLED}"),
                ("head_beyond_end", SETTLED, f"the trail ends at {SETTLED - 1}"),
                ("stock_disagrees", None, f"{SETTLED} settled, the trail says {SETTLED - 1}"),
            ],
            id="tail-cut-off",
        ),
        pytest.param(
            ["UPDATE trail_heads SET head = head || 'A'"], [("head_forged", None, "stored head 1")], id="head-changed"
        ),
        pytest.param(
            ["UPDATE drops SET free = free + 1, settled = settled - 1"],
            [("stock_disagrees", None, f"{SETTLED - 1} settled, the trail says {SETTLED}")],
            id="stock-changed",
        ),
        pytest.param(
            ["UPDATE drops SET free = free - 1, held = held + 1, next_number = 9"],
            [
                ("stock_disagrees", None, "1 held, the holds say 0"),
                ("stock_disagrees", None, f"the next number is 9 instead of {SETTLED + 1}"),
            ],
            id="units-held-for-nobody",
        ),
        pytest.param(["DELETE FROM drops"], [("stock_disagrees", None, "the drop is gone")], id="drop-removed"),
    ],
)
def test_what_is_changed_is_named(
    sold: World, statements: list[str], faults: list[tuple[str, int | None, str]]
) -> None:
    for statement in statements:
        sold.execute(statement)
    assert [(fault.code, fault.position, fault.detail) for fault in audit(sold).faults] == faults


def test_a_drop_whose_end_was_removed_everywhere_is_found_by_a_head_that_somebody_kept(
    sold: World, origin: OriginProcess
) -> None:
    (published,) = origin.client.get("/v1/drops/drop-1/trail/heads").json()["heads"]
    sold.execute("DELETE FROM settlements WHERE claim_id = (SELECT claim_id FROM trail_entries WHERE position = 5)")
    sold.execute("DELETE FROM trail_entries WHERE position = 5")
    sold.execute("DELETE FROM trail_heads")
    sold.execute("UPDATE drops SET settled = 4, free = 96, next_number = 5")
    assert audit(sold).faults == ()
    assert [(fault.code, fault.position) for fault in audit(sold, published).faults] == [("head_beyond_end", 5)]


def test_an_audit_by_command_names_the_fault_and_has_its_exit_code(sold: World) -> None:
    good = run(sold, "drop-1")
    assert (good.returncode, good.stdout.splitlines()[0]) == (FITS, "drop drop-1: everything fits"), good.stderr
    sold.execute("UPDATE settlements SET viewer = 'me' WHERE first_number = 3")
    bad = run(sold, "drop-1")
    assert bad.returncode == FAULTS
    assert bad.stdout.splitlines()[0] == "drop drop-1: 1 fault"
    assert "settlement_changed: entry 3, claim " in bad.stdout
    said = msgspec.json.decode(run(sold, "drop-1", "--json").stdout, type=Audit)
    assert [fault.code for fault in said.faults] == ["settlement_changed"]


def test_an_exported_file_is_checked_without_the_database(sold: World, origin: OriginProcess, tmp_path: Path) -> None:
    origin.settle(Tap())  # after the last head: the export signs the end
    file, keys = tmp_path / "drop.trail", tmp_path / "keys.json"
    keys.write_bytes(origin.client.get("/.well-known/jwks.json").content)
    assert run(sold, "drop-1", "--export", str(file)).returncode == FITS
    nowhere = dict.fromkeys(origin_settings("", ""), "")
    checked = run(sold, "--check", str(file), "--keys", str(keys), **nowhere)
    assert (checked.returncode, checked.stdout.splitlines()[0]) == (
        FITS,
        f"drop drop-1 of {PUBLIC_URL}: everything fits",
    ), checked.stderr
    assert f"signed until entry {SETTLED + 1}" in checked.stdout
    file.write_bytes(file.read_bytes().replace(b'"units":1', b'"units":2', 1))
    said: dict[str, Any] = msgspec.json.decode(
        run(sold, "--check", str(file), "--keys", str(keys), "--json", **nowhere).stdout
    )
    assert [(fault["code"], fault["position"]) for fault in said["faults"]] == [("entry_changed", 1)]


def test_what_does_not_fit_is_exported_as_it_is_and_not_signed(sold: World, tmp_path: Path) -> None:
    sold.execute("DELETE FROM trail_heads")
    sold.execute("DELETE FROM settlements WHERE first_number = 3")
    assert run(sold, "drop-1", "--export", str(tmp_path / "drop.trail")).returncode == FAULTS
    assert (tmp_path / "drop.trail").read_bytes().count(b"\n") == SETTLED + 2
    assert sold.execute("SELECT count(*) FROM trail_heads") == [(0,)]


def test_heads_that_were_kept_are_given_as_a_file(sold: World, origin: OriginProcess, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    heads.write_text("\n".join([*origin.client.get("/v1/drops/drop-1/trail/heads?after=0").json()["heads"], ""]))
    assert run(sold, "drop-1", "--head", str(heads)).returncode == FITS
    heads.write_text("what is this\n")
    bad = run(sold, "drop-1", "--head", str(heads))
    assert (bad.returncode, "head_forged" in bad.stdout) == (FAULTS, True)


@pytest.mark.parametrize(
    ("arguments", "settings", "code"),
    [
        pytest.param([], {}, WRONG_USE, id="no-drop"),
        pytest.param(["drop-1", "--check", "file"], {}, WRONG_USE, id="both"),
        pytest.param(["--check", "file"], {}, WRONG_USE, id="file-without-keys"),
        pytest.param(["--check", "/nonexistent", "--keys", "/nonexistent"], {}, WRONG_USE, id="no-such-file"),
        pytest.param(["drop-1", "--head", "/nonexistent"], {}, WRONG_USE, id="no-such-heads"),
        pytest.param(["--check", "README.md", "--keys", "README.md"], {}, WRONG_USE, id="keys-that-are-none"),
        pytest.param(["unknown"], {}, WRONG_USE, id="unknown-drop"),
        pytest.param(["drop-1"], {"CLIPTILL_QUEUE": ""}, WRONG_USE, id="missing-setting"),
        pytest.param(["drop-1"], {"DATABASE_URL": "host=127.0.0.1 port=1 dbname=x"}, AWAY, id="no-database"),
    ],
)
def test_wrong_use_is_told(world: World, arguments: list[str], settings: dict[str, str], code: int) -> None:
    done = run(world, *arguments, **settings)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr
