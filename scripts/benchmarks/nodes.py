"""The edges that are measured: each a folder that plain workerd serves, in a process of its own, on loopback.

All have the same settings and surroundings, and read from the same origin. The JavaScript ones are served by the
program, and under the compatibility date, of the product's own node.
"""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from scripts.benchmarks.contexts import COUNTRY_HEADER
from scripts.benchmarks.figures import BenchError
from scripts.selfhosting import write_node
from shared.encoding import encode_base64url
from shared.overlay.texts import TEXTS

ROOT: Final = Path(__file__).resolve().parents[2]
WORKERS: Final = "benchmarks/workers"
RUNTIME: Final = "emulator/runtime"
START_S: Final = 30.0
GRACE_S: Final = 5.0
LOOK_EACH_S: Final = 0.002
SETTINGS: Final = {
    "CLAIM_KEYS": "bench:" + encode_base64url(bytes(range(32))),
    "EDGE_KEY": "the-key-of-a-bench",
    "ISSUER": "cliptill-edge",
    "COLO": "FRA",
    "COUNTRY_HEADER": COUNTRY_HEADER,
}
_IMPORTED: Final = re.compile(r'\bfrom "(\.{1,2}/[\w./-]+\.mjs)"')
_DATE: Final = re.compile(r'compatibilityDate = "([\d-]+)"')
_CONFIGURATION: Final = """\
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", service = "edge", http = ())],
);
const edge :Workerd.Worker = (
  compatibilityDate = "%(date)s",
  compatibilityFlags = ["nodejs_compat"],
  modules = [%(modules)s],
  bindings = [%(settings)s],
  globalOutbound = "internet",
);
"""
# The first module of a node's configuration is its entry.
_MODULES: Final = "  modules = [\n"
_MEASURED: Final = ("measured.mjs", "surroundings.mjs")


def write_product(folder: Path) -> Path:
    """Write the product's own node from the staged bundle, as an operator has it."""
    write_node(ROOT, folder)
    return folder


def write_bundle(folder: Path) -> Path:
    """Write a node of the staged bundle, in the surroundings that all compared edges have."""
    return _measured(write_product(folder))


def write_sdk_adapter(folder: Path) -> Path:
    """Write a node whose bundle is the product's, but for its main module: the SDK's adapter stands before the app."""
    bundle = folder.with_name(f"{folder.name}-bundle")
    shutil.copytree(ROOT / "build" / "bundle", bundle)
    shutil.copyfile(ROOT / "scripts" / WORKERS / "sdk_adapter.py", bundle / "worker.py")
    write_node(ROOT, folder, bundle)
    return _measured(folder)


def _measured(node: Path) -> Path:
    """Put the surroundings of the benchmark in the place of the node's own: no disk is waited for."""
    for name in _MEASURED:
        source = (ROOT / "scripts" / WORKERS / name).read_text()
        (node / "modules" / name).write_text(source.replace("../../emulator/runtime/", "./"))
    lines = "".join(f'    (name = "{name}", esModule = embed "modules/{name}"),\n' for name in _MEASURED)
    configuration = node / "config.capnp"
    configuration.write_text(configuration.read_text().replace(_MODULES, _MODULES + lines, 1))
    return node


def write_javascript(folder: Path, entry: str, product: Path) -> Path:
    """Write a node that is one of the JavaScript workers.

    Args:
        folder: is made.
        entry: name of the worker's first module.
        product: the folder of the product's node.
    """
    modules = _modules(f"{WORKERS}/{entry}")
    for name in modules:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "scripts" / name, target)
    (folder / WORKERS / "words.json").write_bytes(msgspec.json.encode(TEXTS))
    date = _DATE.search((product / "config.capnp").read_text())
    if date is None:
        raise AssertionError("the node's configuration has a compatibility date")
    lines = [f'(name = "{name}", esModule = embed "{name}"),' for name in modules]
    lines.append(f'(name = "{WORKERS}/words.json", json = embed "{WORKERS}/words.json"),')
    names = ("ORIGIN_URL", *SETTINGS)
    parts = {
        "date": date.group(1),
        "modules": "\n".join(lines),
        "settings": "\n".join(f'(name = "{name}", fromEnvironment = "{name}"),' for name in names),
    }
    (folder / "config.capnp").write_text(_CONFIGURATION % parts)
    return folder


def _modules(name: str) -> list[str]:
    """Return a module of the scripts and all that it imports, itself first."""
    found, waiting = [], [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.append(name)
            source = (ROOT / "scripts" / name).read_text()
            waiting += [os.path.normpath(f"{name}/../{imported}") for imported in _IMPORTED.findall(source)]
    return found


class Node:
    """A running edge.

    Attributes:
        port: of its address on the loopback interface.
        status_port: of the address where the product's node tells how it is; the others have none.
        listening_ms: from the start of the process until it took connections.
    """

    def __init__(self, process: asyncio.subprocess.Process, port: int, status_port: int, listening_ms: float) -> None:
        self.process, self.port, self.status_port, self.listening_ms = process, port, status_port, listening_ms

    def cpu_s(self) -> float | None:
        """Return the processor time that it has used so far; None where the system does not tell (only Linux does)."""
        try:
            fields = (self._facts() / "stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        """Return the memory that it has now.

        Raises:
            BenchError: where the system does not tell (only Linux does).
        """
        try:
            pages = (self._facts() / "statm").read_text().split()[1]
        except (OSError, IndexError) as error:
            raise BenchError("this system does not tell how much memory a process has: run it on Linux") from error
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _facts(self) -> Path:
        """Return the folder that has what Linux tells of the program; its parent is `scripts.lifeline`."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return Path("/proc") / children[0]

    async def ask(self, request: str, port: int = 0) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of the answer to a whole request, over a connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        try:
            writer.write(request.encode())
            head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), START_S)).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", "0"))), START_S)
            return int(first.split()[1]), headers, body
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def running(folder: Path, program: Path, origin_url: str) -> AsyncIterator[Node]:
    """Serve a folder, and end it.

    Args:
        folder: with a `config.capnp`.
        program: workerd.
        origin_url: where it reads manifests and stock, and posts events.
    """
    port, status_port = _free_port(), _free_port()
    command = [str(program), "serve", str(folder / "config.capnp"), "--socket-addr", f"http=127.0.0.1:{port}"]
    if (folder / "snapshot.pack").exists():
        state = folder / "state"
        state.mkdir(exist_ok=True)
        command += ["--directory-path", f"files={folder}", "--directory-path", f"state={state}"]
        command += ["--socket-addr", f"status=127.0.0.1:{status_port}"]
    began = time.perf_counter()
    with (folder / "log.txt").open("ab") as log:
        process = await _start(command, {"PATH": os.environ["PATH"], "ORIGIN_URL": origin_url, **SETTINGS}, log)
    try:
        await _until_listening(process, port, folder)
        yield Node(process, port, status_port, 1000 * (time.perf_counter() - began))
    finally:
        await _end(process)


async def _start(command: Sequence[str], environment: dict[str, str], log: Any) -> asyncio.subprocess.Process:  # noqa: ANN401 - a file
    """Start a program that ends with this process, however that ends (see `scripts.lifeline`)."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scripts.lifeline", "program", *command),
        cwd=ROOT,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        process_group=0,
    )


async def _until_listening(process: asyncio.subprocess.Process, port: int, folder: Path) -> None:
    until = time.monotonic() + START_S
    while process.returncode is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(LOOK_EACH_S)
    raise BenchError(f"{folder.name} does not listen: {(folder / 'log.txt').read_text()[-2000:]}")


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), GRACE_S)
    except TimeoutError:
        os.killpg(process.pid, 9)
        await process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
