"""Settlement over HTTP: real origin processes, real proofs of possession (made before the clock runs), a real wire."""

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import httpx
import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from scripts.benchmarks.figures import BenchError
from scripts.benchmarks.settle_load import Answered
from scripts.benchmarks.settle_rows import ISSUER, PUBLIC_URL, Rows, Run
from shared.claims.keys import parse_claim_keys
from shared.claims.tokens import hash_token, sign_claim
from shared.encoding import encode_base64url

CONNECTIONS: Final = 64
PROCESSES: Final = 2
CLAIM_KEYS: Final = "bench:" + encode_base64url(bytes(range(32)))
START_S: Final = 60.0
ROOT: Final = Path(__file__).resolve().parent.parent.parent
_HALF: Final = 32
_HEADER: Final = '{{"typ":"dpop+jwt","alg":"ES256","jwk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}}}'
_REQUEST: Final = (
    "POST /v1/settlements HTTP/1.1\r\nHost: till.example.com\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\n"
    "Origin: https://page.example.com\r\nAuthorization: DPoP {token}\r\nDPoP: {proof}\r\nContent-Length: 0\r\n\r\n"
)


class Origins:
    """Origin processes on one database, until the context ends."""

    def __init__(self, ports: list[int], processes: list[subprocess.Popen[bytes]]) -> None:
        self.ports = ports
        self._processes = processes

    def memory_mb(self) -> float:
        """Return the memory of the largest of them, in MB."""
        ids = ",".join(str(process.pid) for process in self._processes)
        said = subprocess.run(("ps", "-o", "rss=", "-p", ids), capture_output=True, text=True, check=True).stdout
        return round(max(map(int, said.split())) / 1024, 1)


@contextlib.contextmanager
def run_origins(conninfo: str, folder: Path) -> Iterator[Origins]:
    """Start origins as an operator does, wait until they are ready, and end them."""
    ports = [_free_port() for _ in range(PROCESSES)]
    environment = {
        **os.environ,
        "DATABASE_URL": conninfo,
        "CLIPTILL_DATA": str(folder),
        "CLIPTILL_PUBLIC_URL": PUBLIC_URL,
        "CLIPTILL_EDGE_URL": "https://edge.example.com",
        "CLIPTILL_ISSUER": ISSUER,
        "CLIPTILL_CLAIM_KEYS": CLAIM_KEYS,
        "CLIPTILL_PROVIDER_URL": "http://127.0.0.1:9",  # nobody is there: nothing but claims is measured
        "CLIPTILL_PROVIDER_ACCOUNT": "bench",
        "CLIPTILL_PROVIDER_TOKEN": "bench",
        "CLIPTILL_KV_NAMESPACE": "bench",
        "CLIPTILL_QUEUE": "bench",
        "CLIPTILL_INTAKE_INTERVAL_MS": "60000",
    }
    with (folder / "origins.log").open("ab") as log, contextlib.ExitStack() as started:
        processes = []
        for port in ports:
            process = subprocess.Popen(
                [sys.executable, "-m", "origin"],
                cwd=ROOT,
                env={**environment, "CLIPTILL_LISTEN": f"127.0.0.1:{port}"},
                stdout=log,
                stderr=log,
            )
            started.callback(_end, process)
            processes.append(process)
        for port in ports:
            _wait_until_ready(port)
        yield Origins(ports, processes)


def prepare(rows: Rows, count: int, drop: str) -> list[bytes]:
    """Make requests to settle claims of as many viewers, as a browser sends them, with proofs of this moment."""
    key = parse_claim_keys(CLAIM_KEYS)[0]
    requests = []
    for _ in range(count):
        private = ec.generate_private_key(ec.SECP256R1())
        numbers = private.public_key().public_numbers()
        x, y = (encode_base64url(number.to_bytes(_HALF, "big")) for number in (numbers.x, numbers.y))
        canonical = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
        viewer = encode_base64url(hashlib.sha256(canonical.encode()).digest())
        token = sign_claim(rows.claim(viewer, drop), key)
        proof = _prove(private, _HEADER.format(x=x, y=y), token)
        requests.append(_REQUEST.format(token=token, proof=proof).encode())
    return requests


async def settle_over_http(origins: Origins, requests: Sequence[bytes], folder: Path) -> Run:
    """Send requests over `CONNECTIONS` connections, shared out among the origins.

    Raises:
        BenchError: when one of them is not settled.
    """
    file = folder / "requests"
    file.write_bytes(b"".join(len(request).to_bytes(4, "big") + request for request in requests))
    ports = ",".join(map(str, origins.ports))
    command = (sys.executable, "-m", "scripts.benchmarks.settle_load", str(CONNECTIONS), ports, str(file))
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    answered = msgspec.json.decode(said, type=Answered)
    if answered.statuses != {"200": len(requests)}:
        raise BenchError(f"not all were settled: {answered.statuses}")
    return Run(len(requests) / answered.seconds, answered.latencies_ms)


def _prove(private: ec.EllipticCurvePrivateKey, header: str, token: str) -> str:
    said = {
        "htm": "POST",
        "htu": PUBLIC_URL + "/v1/settlements",
        "iat": int(time.time()),
        "jti": encode_base64url(os.urandom(12)),
        "ath": hash_token(token),
    }
    signed = f"{encode_base64url(header.encode())}.{encode_base64url(msgspec.json.encode(said))}"
    r, s = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encode_base64url(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", trust_env=False).is_success:
                return
        except httpx.TransportError:
            pass
        if time.monotonic() > deadline:
            raise BenchError("an origin does not start")
        time.sleep(0.05)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait()
