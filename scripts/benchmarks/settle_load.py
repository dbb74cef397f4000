"""The load of `settle` over HTTP, as a process of its own: so many connections, each asks again when it is answered.

`python -m scripts.benchmarks.settle_load CONNECTIONS PORT[,PORT...] FILE` prints its figures as JSON. The file has the
requests as they go over the wire, each behind its length in four bytes. Connections stay open. A round trip is timed
from the first byte that is sent to the last that is received.
"""

import gc
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length: "
_READ_BYTES: Final = 65_536


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it: seconds, how many answers of each status, each one's milliseconds."""

    seconds: float
    statuses: dict[str, int]
    latencies_ms: list[float]


class _Connection:
    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked = 0.0
        self.received = b""


def read_requests(path: Path) -> Iterator[bytes]:
    """Give the requests of a file."""
    raw = path.read_bytes()
    place = 0
    while place < len(raw):
        length = int.from_bytes(raw[place : place + 4], "big")
        yield raw[place + 4 : place + 4 + length]
        place += 4 + length


def drive(ports: list[int], connections: int, requests: list[bytes]) -> Answered:
    """Send all requests, and return what came of it."""
    rest, statuses, latencies_ms = iter(requests), dict[str, int](), list[float]()
    selector = selectors.DefaultSelector()
    clock = time.perf_counter
    opened = [_Connection(ports[number % len(ports)]) for number in range(connections)]
    began = clock()
    under_way = 0
    for connection in opened:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        under_way += _ask(connection, rest, clock())
    while under_way:
        for key, _ in selector.select():
            connection = key.data
            status = _read(connection)
            if status is None:
                continue
            now = clock()
            latencies_ms.append(round((now - connection.asked) * 1000, 3))
            statuses[status] = statuses.get(status, 0) + 1
            under_way += _ask(connection, rest, now) - 1
    seconds = clock() - began
    for connection in opened:
        connection.socket.close()
    return Answered(seconds=seconds, statuses=statuses, latencies_ms=latencies_ms)


def _ask(connection: _Connection, rest: Iterator[bytes], now: float) -> int:
    """Send the next request; 0 when there is none."""
    request = next(rest, None)
    if request is None:
        return 0
    connection.asked, connection.received = now, b""
    connection.socket.sendall(request)
    return 1


def _read(connection: _Connection) -> str | None:
    """Read what is there; the status once the answer is whole."""
    read = connection.socket.recv(_READ_BYTES)
    if not read:
        raise ConnectionError("the origin closed a connection")
    connection.received += read
    head, found, body = connection.received.partition(_HEAD_END)
    if not found:
        return None
    length = head.lower().partition(_LENGTH)[2].partition(b"\r\n")[0]
    return head[9:12].decode() if len(body) >= int(length or b"0") else None


def main(arguments: list[str]) -> int:
    """Run the load that the arguments name."""
    connections, ports, path = arguments
    requests = list(read_requests(Path(path)))
    gc.disable()
    answered = drive([int(port) for port in ports.split(",")], int(connections), requests)
    sys.stdout.write(msgspec.json.encode(answered).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
