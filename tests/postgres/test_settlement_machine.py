"""The whole of settling against PostgreSQL: any schedule of taps, reports, payments, releases, time and crashes.

The model is written from the rules in `shared.claims.settlement`, and shares no code with it. After each step all rows
of the drop are compared with it. Hypothesis makes the schedules, and shrinks one that fails to its shortest form.
"""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeVar

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from origin.database import Connection, Database
from origin.settlement.answers import Decision, HeldClaim
from origin.settlement.batches import Conflict
from origin.settlement.holds_store import read_hold
from origin.settlement.receipts import parse_signing_keys
from origin.settlement.settling import Settler
from shared.claims.settlement import Source
from shared.claims.tokens import Claim
from tests.postgres.world import PUBLIC_URL, SIGNING_KEYS, World
from tests.samples import VIEWER, make_claim

SCHEDULES = 60
STEPS = 25
CLAIMS = 8
VIEWERS = 2
HOLD_MS = 10_000
SETTLER = Settler(PUBLIC_URL, parse_signing_keys(SIGNING_KEYS))

Told = Decision | HeldClaim | Conflict
Word = Literal["settled", "refused", "held", "conflict"]
T = TypeVar("T")


class CrashError(Exception):
    """The process ends here."""


class Tap(NamedTuple):
    """A claim as it is presented; the same number with another quantity is another content under the same id."""

    number: int
    quantity: int

    @property
    def viewer(self) -> int:
        return self.number % VIEWERS

    @property
    def is_paid(self) -> bool:
        """Most claims are paid before they settle; two of one viewer cost nothing."""
        return self.number % 4 < 3


TAPS = st.builds(Tap, st.integers(0, CLAIMS - 1), st.sampled_from([1, 1, 1, 2, 3]))


@dataclass
class Standing:
    """What the model knows of one claim."""

    tap: Tap
    state: Literal["held", "gone", "settled", "refused"]
    until_ms: int = 0


@dataclass
class Model:
    """One drop, and everything that was ever decided of it."""

    total: int
    cap: int
    most: int
    late: str
    now_ms: int = 1_000_000
    claims: dict[int, Standing] = field(default_factory=dict)

    def units(self, state: str, viewer: int | None = None) -> int:
        """Return how many units are settled or held, of all or of one viewer."""
        return sum(
            one.tap.quantity for one in self.claims.values() if one.state == state and viewer in (None, one.tap.viewer)
        )

    def free(self) -> int:
        return self.total - self.units("settled") - self.units("held")

    def pass_time(self, passed_ms: int) -> None:
        self.now_ms += passed_ms
        for one in self.claims.values():
            if one.state == "held" and one.until_ms <= self.now_ms:
                one.state = "gone"

    def present(self, tap: Tap, source: Source) -> Word:
        """Decide one tap."""
        known = self.claims.get(tap.number)
        if known is not None and known.tap != tap:
            return "conflict"
        if known is not None and known.state in ("settled", "refused"):
            return known.state
        paid = source == "payment"
        if known is not None and known.state == "held":
            known.state = "settled" if paid else "held"
            return known.state
        took = not (paid and self.late == "refund") and tap.quantity <= self.most and self._make_room(tap)
        if not took:
            self.claims[tap.number] = Standing(tap, "refused")
            return "refused"
        word: Literal["held", "settled"] = "held" if tap.is_paid and not paid else "settled"
        self.claims[tap.number] = Standing(tap, word, self.now_ms + HOLD_MS)
        return word

    def _make_room(self, tap: Tap) -> bool:
        """Give back as few of the viewer's own holds as let the tap through; none when all of them would not."""
        own = sorted(
            (one for one in self.claims.values() if one.state == "held" and one.tap.viewer == tap.viewer),
            key=lambda one: (one.until_ms, one.tap.number),
        )
        settled, held = self.units("settled", tap.viewer), self.units("held", tap.viewer)
        for count in range(len(own) + 1):
            back = sum(one.tap.quantity for one in own[:count])
            if settled + held - back + tap.quantity <= self.cap and tap.quantity <= self.free() + back:
                for one in own[:count]:
                    one.state = "gone"
                return True
        return False


class Machine(RuleBasedStateMachine):
    """A drop of its own for each schedule, all in one database."""

    world: World
    rows: psycopg.Connection[Any]
    database: Database
    run: Any
    schedules = itertools.count(1)

    @initialize(
        total=st.integers(1, 6),
        cap=st.integers(1, 4),
        most=st.sampled_from([1, 2, 3, 3]),
        late=st.sampled_from(["honour", "refund"]),
    )
    def open_drop(self, total: int, cap: int, most: int, late: str) -> None:
        self.schedule = next(Machine.schedules)
        self.drop = f"machine-{self.schedule}"
        self.world.add_drop(self.drop, total=total, cap=cap, most=most)
        self._read("UPDATE drops SET hold_s = %s, late_payment = %s WHERE drop = %s", HOLD_MS // 1000, late, self.drop)
        self.model = Model(total, cap, most, late)
        self.answers: dict[int, Decision] = {}

    @rule(taps=st.lists(TAPS, min_size=1, max_size=5), crash=st.booleans())
    def present(self, taps: list[Tap], crash: bool) -> None:  # noqa: FBT001 - drawn
        """Taps of browsers, in one batch; the same tap may come twice in it."""
        self._settle(taps, "request", crash=crash)

    @rule(taps=st.lists(TAPS, min_size=1, max_size=5), crash=st.booleans())
    def report(self, taps: list[Tap], crash: bool) -> None:  # noqa: FBT001
        """Edge events: late, repeated, in any order, before and after the browser itself came."""
        self._settle([tap for tap in taps if not tap.is_paid], "event", crash=crash)

    @rule(number=st.integers(0, CLAIMS - 1), crash=st.booleans())
    def pay(self, number: int, crash: bool) -> None:  # noqa: FBT001
        """Money comes for what was held once, however late, and however often it is told."""
        known = self.model.claims.get(number)
        if known is not None and known.tap.is_paid and self._hold_of(number) is not None:
            self._settle([known.tap], "payment", crash=crash)

    @rule(number=st.integers(0, CLAIMS - 1), crash=st.booleans())
    def release(self, number: int, crash: bool) -> None:  # noqa: FBT001
        held = self._hold_of(number)
        if held is None:
            return

        async def give_back(connection: Connection) -> None:
            await SETTLER.release_in(connection, held, self.model.now_ms)

        if self._in_transaction(give_back, crash=crash) and self.model.claims[number].state == "held":
            self.model.claims[number].state = "gone"

    @rule(crash=st.booleans())
    def tidy(self, crash: bool) -> None:  # noqa: FBT001
        async def write_down(connection: Connection) -> None:
            await SETTLER.tidy_in(connection, [self.drop], self.model.now_ms)

        self._in_transaction(write_down, crash=crash)

    @rule(passed_ms=st.sampled_from([1, HOLD_MS - 1, HOLD_MS, 3 * HOLD_MS]))
    def wait(self, passed_ms: int) -> None:
        self.model.pass_time(passed_ms)

    @invariant()
    def the_rows_are_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        ((free, held, settled),) = self._read("SELECT free, held, settled FROM drops WHERE drop = %s", self.drop)
        ((overdue,),) = self._read(
            "SELECT coalesce(sum(quantity), 0)::int FROM holds WHERE drop = %s AND state = 'held' AND until_ms <= %s",
            self.drop, self.model.now_ms,
        )  # fmt: skip
        assert free + held + settled == self.model.total
        assert settled == self.model.units("settled")
        assert (held - overdue, free + overdue) == (self.model.units("held"), self.model.free())
        decided = {
            one.tap.number: one.state for one in self.model.claims.values() if one.state in ("settled", "refused")
        }
        rows = self._read("SELECT claim_id, status FROM settlements WHERE drop = %s", self.drop)
        assert {self._number_of(claim_id): status for claim_id, status in rows} == decided

    @invariant()
    def numbers_and_trail_have_no_gap(self) -> None:
        if not hasattr(self, "model"):
            return
        settled = self.model.units("settled")
        numbers = self._read(
            "SELECT n FROM settlements, generate_series(first_number, first_number + quantity - 1) AS n "
            "WHERE drop = %s AND status = 'settled' ORDER BY n", self.drop,
        )  # fmt: skip
        assert [number for (number,) in numbers] == list(range(1, settled + 1))
        trail = self._read("SELECT position, settled FROM trail_entries WHERE drop = %s ORDER BY 1", self.drop)
        assert [position for position, _ in trail] == list(range(1, len(trail) + 1))
        assert len(trail) == [one.state for one in self.model.claims.values()].count("settled")
        assert not trail or trail[-1][1] == settled

    def _settle(self, taps: Sequence[Tap], source: Source, *, crash: bool) -> None:
        told: list[Told] = []

        async def settle(connection: Connection) -> None:
            told.extend(
                await SETTLER.settle_in(connection, [self._claim(tap) for tap in taps], source, self.model.now_ms)
            )

        if not self._in_transaction(settle, crash=crash):
            return
        for tap, answer in zip(taps, told, strict=True):
            expected = self.model.present(tap, source)
            assert _word(answer) == expected, tap
            if isinstance(answer, Decision):  # once told, the same for ever: code, receipt, instant, stock
                assert self.answers.setdefault(tap.number, answer) == answer

    def _in_transaction(self, work: Any, *, crash: bool) -> bool:
        """Return whether it was committed; a crash ends the process after all is written, and before that."""

        async def go() -> None:
            async with self.database.transaction() as connection:
                await work(connection)
                if crash:
                    raise CrashError

        try:
            self.run(go())
        except CrashError:
            return False
        return True

    def _claim(self, tap: Tap) -> Claim:
        price = 990 if tap.is_paid else 0
        return make_claim(
            jti=self._id_of(tap.number),
            cnf={"jkt": f"{tap.viewer:05}{VIEWER[5:]}"},
            drop=self.drop,
            offer="offer-1" if tap.is_paid else "offer-free",
            lines=[{"sku": "sku-1", "quantity": tap.quantity, "unit_minor": price}],
        )

    def _id_of(self, number: int) -> str:
        return f"{self.schedule:014}{number:08}"

    def _number_of(self, claim_id: str) -> int:
        return int(claim_id[14:])

    def _hold_of(self, number: int) -> Any:
        async def read() -> Any:
            async with self.database.connection() as connection:
                return await read_hold(connection, self._id_of(number))

        return self.run(read())

    def _read(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.rows.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def _word(answer: Told) -> Word:
    if isinstance(answer, Conflict):
        return "conflict"
    if isinstance(answer, HeldClaim):
        return "held"
    return "settled" if answer.code is None else "refused"


@contextmanager
def opened(world: World) -> Iterator[tuple[Database, Any]]:
    """Lend a database's connections, and what runs their coroutines."""
    with asyncio.Runner() as runner:

        def run(work: Coroutine[Any, Any, T]) -> T:
            return runner.run(work)

        database = Database(world.conninfo)
        run(database.open())
        try:
            yield database, run
        finally:
            run(database.close())


@pytest.fixture
def machine(own_world: World) -> Iterator[type[Machine]]:
    """Machines on a database of their own."""
    own_world.add_paid_offer("card")
    with psycopg.connect(own_world.conninfo, autocommit=True) as rows, opened(own_world) as (database, run):

        class Here(Machine):
            """In this database."""

        Here.world, Here.rows, Here.database, Here.run = own_world, rows, database, staticmethod(run)
        yield Here


def test_any_schedule_with_crashes_ends_as_the_rules_say(machine: type[Machine]) -> None:
    chosen = settings(max_examples=SCHEDULES, stateful_step_count=STEPS, deadline=None)
    run_state_machine_as_test(machine, settings=chosen)


def test_what_is_held_and_given_back_twice_within_one_instant_is_as_it_was(machine: type[Machine]) -> None:
    here = machine()
    here.open_drop(total=1, cap=1, most=1, late="honour")
    here.present(taps=[Tap(0, 1)], crash=False)
    here.release(number=0, crash=False)
    here.present(taps=[Tap(0, 1), Tap(2, 1)], crash=False)  # the second takes the unit of the first, of the same viewer
    here.the_rows_are_what_the_model_says()
    assert here.model.claims[0].state == "gone"
    assert here.model.claims[2].state == "held"
