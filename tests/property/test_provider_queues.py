"""The emulated provider's queues, in any order of things: no message is lost, none comes back once acknowledged."""

import sqlite3

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from scripts.emulator.queues import Outgoing, Queue, QueueStore, Retry

QUEUES = (
    Queue(name="events", max_retries=2, dead_letter="dead"),
    # Never spent here: what is attempted too often in this queue would have nowhere to go.
    Queue(name="dead", max_retries=10_000),
)


class QueueMachine(RuleBasedStateMachine):
    """Any interleaving of sends, pulls, acknowledgements, retries, waits and restarts."""

    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.database = sqlite3.connect(":memory:")
        self.store = QueueStore(self.database, QUEUES)
        self.now_ms = 0
        self.sent: set[str] = set()
        self.gone: set[str] = set()
        # Of each message, the lease of its latest delivery and the instant until which that lease counts.
        self.latest: dict[str, tuple[str, int]] = {}

    @rule(number=st.integers(1, 4))
    def send(self, number: int) -> None:
        names = [f"m{len(self.sent) + index}" for index in range(number)]
        self.store.send("events", [Outgoing(id=name, body=b"{}") for name in names], self.now_ms)
        self.sent.update(names)

    @rule(target=leases, queue=st.sampled_from(["events", "dead"]), lease_ms=st.integers(1, 5000))
    def pull_one(self, queue: str, lease_ms: int) -> tuple[str, str, str]:
        for delivery in self.store.pull(queue, 1, lease_ms, self.now_ms):
            assert delivery.id not in self.gone
            assert self.latest.get(delivery.id, ("", 0))[1] <= self.now_ms, "leased twice at one time"
            self.latest[delivery.id] = (delivery.lease, self.now_ms + lease_ms)
            return queue, delivery.id, delivery.lease
        return queue, "", "nothing was waiting"

    @rule(leased=leases)
    def acknowledge(self, leased: tuple[str, str, str]) -> None:
        queue, name, lease = leased
        counts = self._counts(name, lease)
        assert self.store.acknowledge(queue, [lease], [], self.now_ms).acknowledged == counts
        if counts:
            self.gone.add(name)
            del self.latest[name]

    @rule(leased=consumes(leases), delay_s=st.integers(0, 3))
    def retry(self, leased: tuple[str, str, str], delay_s: int) -> None:
        queue, name, lease = leased
        counts = self._counts(name, lease)
        assert self.store.acknowledge(queue, [], [Retry(lease=lease, delay_s=delay_s)], self.now_ms).retried == counts
        if counts:
            del self.latest[name]

    @rule(passed_ms=st.integers(1, 4000))
    def wait(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule()
    def restart(self) -> None:
        self.store = QueueStore(self.database, QUEUES)

    @invariant()
    def every_message_is_waiting_or_was_acknowledged(self) -> None:
        stored = {row[0] for row in self.database.execute("SELECT id FROM message")}
        assert stored == self.sent - self.gone

    def _counts(self, name: str, lease: str) -> bool:
        current, until_ms = self.latest.get(name, ("", 0))
        return current == lease and until_ms > self.now_ms

    def teardown(self) -> None:
        self.database.close()


TestAnyInterleaving = QueueMachine.TestCase
