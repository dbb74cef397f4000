"""Starts and ends the edge emulator as a program, as the supervisor does."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
END_S = 10.0


def configure(folder: Path, services_url: str, **changes: Any) -> dict[str, Any]:
    """Return a configuration for the bundle that lies in `folder`."""
    return {
        "nodes": [{"name": "fra", "port": 0, "country": "DE", "colo": "FRA"}],
        "vars": {},
        "secrets": {},
        "origin_url": services_url,
        "provider_url": services_url,
        "queue": "events",
        "bundle": str(folder / "bundle"),
        "python_modules": str(ROOT / "python_modules"),
        "assets": str(folder / "assets"),
        "cache_dir": str(folder / "cache"),
        "control_port": 0,
        **changes,
    }


class Program:
    """The running emulator: the facts that it printed, and clients of its addresses."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            ["node", str(ROOT / "scripts" / "emulator" / "edge.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(configuration) + "\n")
        self.process.stdin.flush()
        self.facts: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def until(self, name: str) -> dict[str, Any]:
        """Return the next fact of this name."""
        while (fact := self._lines.get(timeout=START_S)) is not None:
            self.facts.append(fact)
            if name in fact:
                return fact
        raise AssertionError(f"it ended without saying {name}: {self.facts}")

    def logs(self) -> str:
        """Return all that was logged, waiting a moment for what is under way."""
        try:
            while (fact := self._lines.get(timeout=0.5)) is not None:
                self.facts.append(fact)
        except queue.Empty:
            pass
        return "\n".join(fact["log"] for fact in self.facts if "log" in fact)

    def children(self) -> list[int]:
        """Return the ids of the processes that it started and that run now."""
        listing = subprocess.run(
            ["ps", "-o", "pid=,stat=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        ).stdout
        rows = [line.split() for line in listing.splitlines()]
        return [int(pid) for pid, state in rows if not state.startswith("Z")]

    def end(self, how: signal.Signals | None = signal.SIGTERM) -> int:
        """End it by a signal, or (None) by closing its standard input, and return its exit code."""
        assert self.process.stdin is not None
        if how is not None and self.process.poll() is None:
            self.process.send_signal(how)
        self.process.stdin.close()
        try:
            code = self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join()
            assert self.process.stdout is not None
            self.process.stdout.close()
        return code


class RunningEdge:
    """A started emulator with its first node's and its control's addresses."""

    def __init__(self, program: Program) -> None:
        ready = program.until("ready")
        self.program = program
        self.boot = next(fact["boot"] for fact in program.facts if "boot" in fact)
        # Directly, whatever proxy the environment names.
        self.node = httpx.Client(base_url=ready["nodes"][0]["url"], trust_env=False, timeout=20)
        self.control = httpx.Client(base_url=ready["control"], trust_env=False, timeout=60)

    def close(self) -> None:
        """Close the clients."""
        self.node.close()
        self.control.close()


@contextmanager
def running(configuration: dict[str, Any]) -> Iterator[RunningEdge]:
    """Run the emulator, and end it."""
    program = Program(configuration)
    try:
        edge = RunningEdge(program)
        try:
            yield edge
        finally:
            edge.close()
    finally:
        program.end()


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that ended and waits to be counted does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
