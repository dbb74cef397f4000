"""Runs a self-hosted edge node as its operator would: the folder's own program, settings in the environment.

For tests, a copy of the node gets one more module, which moves its clock and breaks its store when it is told to.
"""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from scripts.bundling import stage
from scripts.selfhosting import write_node
from shared.encoding import encode_base64url
from tests import samples
from tests.emulator.edge_program import COLO, ProgramWorld
from tests.emulator.origin_double import EDGE_KEY
from tests.emulator.program import ROOT

START_S: Final = 30.0
CLAIM_KEYS: Final = ",".join(f"{key.kid}:{encode_base64url(key.secret)}" for key in ProgramWorld.claim_keys)
COUNTRY_HEADER: Final = "x-country"
TESTED: Final = """\
import { KvNamespace } from "./origin_manifests.mjs";
export * from "./selfhosted.mjs";
export { default } from "./selfhosted.mjs";

const now = Date.now.bind(Date);
const get = KvNamespace.prototype.get;
let faults = { store: "", clock_shift_ms: 0, clock_ms: null };
Date.now = () => faults.clock_ms ?? now() + faults.clock_shift_ms;
KvNamespace.prototype.get = function (...given) {
  return faults.store === "broken" ? Promise.resolve(1) : get.apply(this, given);
};
export const faulty = {
  async fetch(request) {
    faults = await request.json();
    return new Response();
  },
};
"""
ENTRY: Final = '(name = "selfhosted.mjs", esModule = embed "modules/selfhosted.mjs"),'
TESTED_ENTRY: Final = '(name = "tested.mjs", esModule = embed "modules/tested.mjs"),\n    ' + ENTRY
FAULTY_SOCKET: Final = '(name = "faulty", address = "{}", service = (name = "edge", entrypoint = "faulty"), http = ()),'


def free_address() -> str:
    """Return an address of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def make_node(folder: Path) -> Path:
    """Stage the bundle as it is now, and write a node of it."""
    stage(ROOT)
    write_node(ROOT, folder)
    return folder


def make_faulty(node: Path, folder: Path) -> str:
    """Copy a node into `folder`, with faults that can be set at the address that is returned."""
    shutil.copytree(node, folder, copy_function=os.link)
    address = free_address()
    (folder / "modules" / "tested.mjs").write_text(TESTED)
    # The contract's one viewer taps more often than any person.
    (folder / "modules" / "rate_limits.mjs").unlink()
    (folder / "modules" / "rate_limits.mjs").write_text("export const limits = {};\n")
    configuration = (folder / "config.capnp").read_text()
    (folder / "config.capnp").unlink()
    assert ENTRY in configuration
    with_module = configuration.replace(ENTRY, TESTED_ENTRY, 1)
    with_socket = with_module.replace("  sockets = [\n", f"  sockets = [\n    {FAULTY_SOCKET.format(address)}\n", 1)
    (folder / "config.capnp").write_text(with_socket)
    return address


class Node:
    """A node that runs, or that was ended and can be started again: its state folder stays."""

    def __init__(self, folder: Path, origin_url: str, state: Path, *, healthy: int = 200, **settings: str) -> None:
        self.folder = folder
        self.healthy = healthy
        self.address, self.status_address = free_address(), free_address()
        self.environment = {
            "PATH": os.environ["PATH"],
            "ORIGIN_URL": origin_url,
            "CLAIM_KEYS": CLAIM_KEYS,
            "EDGE_KEY": EDGE_KEY,
            "ISSUER": samples.ISSUER,
            "COLO": COLO,
            "COUNTRY_HEADER": COUNTRY_HEADER,
            "LISTEN": self.address,
            "STATUS": self.status_address,
            "STATE_DIRECTORY": str(state),
            **settings,
        }
        self.log = state.parent / f"{state.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=f"http://{self.address}", trust_env=False, timeout=20)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = str(self.folder / "cliptill-edge")
        with self.log.open("ab") as log:
            # Signals stay as they are here, so that a write beyond a limit fails, and does not kill (`limit_files`).
            self.process = subprocess.Popen(
                [program, "serve"], env=self.environment, stdout=log, stderr=log, restore_signals=False
            )
        until = time.monotonic() + START_S
        while not self._answers():
            assert time.monotonic() < until, self.log.read_text()
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)

    def limit_files(self, most_bytes: int) -> None:
        """Have every write fail that would make a file larger, as on a full disk; what is there can be read."""
        assert self.process is not None
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))

    def _answers(self) -> bool:
        try:
            return self.client.get("/health").status_code == self.healthy
        except httpx.TransportError:
            return False

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_S)
            self.process = None

    def run(self, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run the folder's program beside it."""
        program = str(self.folder / "cliptill-edge")
        environment = {**self.environment, **settings}
        return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, check=False)

    def status(self) -> dict[str, Any]:
        """Return what the node tells its operator."""
        told: dict[str, Any] = httpx.get(f"http://{self.status_address}/", trust_env=False).json()
        return told

    def spool(self) -> dict[str, Any]:
        """Return how its spool is."""
        told: dict[str, Any] = self.status()["spool"]
        return told

    def beacon(self, clip: str) -> None:
        """Report one view."""
        body = json.dumps({"clip": clip, "events": [{"type": "view", "at_ms": 1}]}).encode()
        answer = self.client.post("/v1/events", content=body, headers={"content-type": "text/plain"})
        assert answer.status_code == 202


@contextmanager
def running_node(folder: Path, origin_url: str, state: Path, *, healthy: int = 200, **settings: str) -> Iterator[Node]:
    """Run a node, once its health is answered with this status, and end it."""
    node = Node(folder, origin_url, state, healthy=healthy, **settings)
    try:
        node.start()
        yield node
    finally:
        node.end()
        node.client.close()
