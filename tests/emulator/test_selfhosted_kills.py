"""A self-hosted node that is killed: what was acknowledged reaches the origin all the same."""

import contextlib
import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.contract.edge_driver import Edge, decode_batches
from tests.emulator.origin_double import OriginDouble
from tests.emulator.workerd_program import Node


def test_what_was_acknowledged_outlives_a_kill_at_any_moment(node: Node, origin: OriginDouble) -> None:
    acknowledged = 0
    for number in range(5):
        # The origin answers late, so that some kills come while events are under way, and some after they arrived.
        origin.events_delay_s = 0.05 * number
        for _ in range(10):
            node.beacon(f"clip-{acknowledged}")
            acknowledged += 1
        node.end(signal.SIGKILL)
        node.start()
    origin.events_delay_s = 0
    Edge.wait_for(lambda: node.spool()["waiting"] == 0)
    batches = decode_batches(origin.messages)
    # What comes again has the same identity, by which the origin stores it once.
    once = {(batch.node, batch.seq): batch.events for batch in batches}
    told = Counter(event.clip for events in once.values() for event in events)
    assert told == Counter(f"clip-{number}" for number in range(acknowledged))


def test_what_goes_out_with_another_requests_report_outlives_a_kill_too(node: Node, origin: OriginDouble) -> None:
    acknowledged: list[str] = []

    def report(worker: int) -> None:
        with contextlib.suppress(httpx.HTTPError):
            for number in range(10_000):
                node.beacon(clip := f"clip-{worker}-{number}")
                acknowledged.append(clip)

    for _ in range(3):
        before = len(acknowledged)
        with ThreadPoolExecutor(16) as pool:
            workers = [pool.submit(report, worker) for worker in range(16)]
            Edge.wait_for(lambda: len(acknowledged) >= before + 300)  # noqa: B023 - called at once
            node.end(signal.SIGKILL)
            for worker in workers:
                worker.result()
        node.start()
    Edge.wait_for(lambda: node.spool()["waiting"] == 0)
    once = {(batch.node, batch.seq): batch.events for batch in decode_batches(origin.messages)}
    told = Counter(event.clip for events in once.values() for event in events)
    assert Counter(acknowledged) - told == Counter()
    assert len(once) < sum(told.values())  # else nothing went out together, and this shows nothing
