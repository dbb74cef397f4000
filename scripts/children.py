"""The processes of one run: started, listened to, and ended together.

Rules:
1. Each child leads a process group of its own, so that a Ctrl-C in the terminal reaches the supervisor alone, which
   then ends the groups in order: the last that was started first.
2. Each child's standard input is its lifeline (`scripts.lifeline`): when this process is killed, they end too.
3. What a child prints goes to its log file; only warnings and worse also go to the terminal, with the child's name.
4. A child that ends by itself ends the run, with its last lines as the reason.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

TAIL_LINES = 15
LINE_BYTES_MOST = 1024**2
DRAIN_S = 1.0
FOR_THE_USER = "cliptill: "  # how our programs begin the line that says why they cannot go on
WORRYING_LEVELS = ("warning", "error", "critical")
WORRYING_LINE = re.compile(
    r"\b(?:WARN|WARNING|ERROR|CRITICAL|FATAL|PANIC|Traceback|Uncaught)\b|^\w*(?:Error|Exception)\b"
)

T = TypeVar("T")
Document = dict[str, Any]


class RunError(Exception):
    """The run cannot go on; the message is what the user must know."""


class Child:
    """One running child; made by `Children.start`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path, grace_s: float) -> None:
        self.name, self.process, self.log, self.grace_s = name, process, log, grace_s
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._ready: asyncio.Future[Document] = asyncio.get_running_loop().create_future()
        self._listener = asyncio.create_task(self._listen())

    async def ready(self) -> Document:
        """Return the child's announcement: the JSON line that has `ready`."""
        return await self._ready

    async def ended(self) -> int:
        """Wait for the child's end and for all that it said before; return its exit code."""
        code = await self.process.wait()
        # Its own children may hold the pipe open for longer.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._listener), DRAIN_S)
        return code

    async def stop(self) -> None:
        """Ask the child to end, wait for as long as it may take, then end its whole group for certain."""
        # The child alone is asked: it knows in which order its own children end.
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), self.grace_s)
        self.kill()
        await self.process.wait()
        self._listener.cancel()

    def kill(self) -> None:
        """End the child's whole group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def obituary(self) -> str:
        """Return why the child ended: the one line that it left for the user, or else its last lines."""
        last = self.tail[-1] if self.tail else ""
        if last.startswith(FOR_THE_USER):
            return f"{last.removeprefix(FOR_THE_USER)} (whole log: {self.log})"
        said = "".join(f"\n  {self.name}: {line}" for line in self.tail)
        return f"{self.name} ended (exit code {self.process.returncode}):{said}\n  (whole log: {self.log})"

    async def _listen(self) -> None:
        stream = self.process.stdout
        if stream is None:
            raise AssertionError("every child is started with its output in a pipe")
        with self.log.open("ab") as file:
            while True:
                try:
                    line = await stream.readline()
                except ValueError:  # a line longer than the limit: dropped by asyncio
                    continue
                if not line:
                    return
                self._take(line, file)

    def _take(self, line: bytes, file: IO[bytes]) -> None:
        # A full disk loses lines; unread, the pipe would fill up too, and stop the child.
        with contextlib.suppress(OSError):
            file.write(line)
            file.flush()
        text = line.decode(errors="replace").rstrip()
        document = _document(text)
        if document is not None and document.get("ready") and not self._ready.done():
            self._ready.set_result(document)
            return
        self.tail.append(text)
        if is_worrying(text, document):
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)


class Children:
    """All children of this run."""

    def __init__(self, logs: Path, root: Path) -> None:
        self._logs, self._root = logs, root
        self._running: list[Child] = []
        self._watchers: set[asyncio.Task[None]] = set()
        self._spawning: set[asyncio.Task[Child]] = set()
        self._death: asyncio.Future[Child] = asyncio.get_running_loop().create_future()
        self._stopping = False
        logs.mkdir(parents=True, exist_ok=True)

    async def start(
        self, name: str, command: Sequence[str], environment: dict[str, str], *, grace_s: float = 8.0
    ) -> Child:
        """Start a child; from now on its end ends the run."""
        # Whole even when the caller is cancelled: what was started must be known, to be ended.
        spawning = asyncio.create_task(self._spawn(name, command, environment, grace_s))
        self._spawning.add(spawning)
        spawning.add_done_callback(self._spawning.discard)
        return await asyncio.shield(spawning)

    async def _spawn(self, name: str, command: Sequence[str], environment: dict[str, str], grace_s: float) -> Child:
        log = self._logs / f"{name}.log"
        log.write_bytes(b"")
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=self._root,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES_MOST,
            process_group=0,
        )
        child = Child(name, process, log, grace_s)
        self._running.append(child)
        watcher = asyncio.create_task(self._watch(child))
        self._watchers.add(watcher)
        watcher.add_done_callback(self._watchers.discard)
        return child

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work, unless a child ends before it is done.

        Raises:
            RunError: a child ended; the message has its last lines.
        """
        task = asyncio.ensure_future(work)
        try:
            awaited: set[asyncio.Future[Any]] = {task, self._death}
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            if not self._death.done():
                return task.result()
            raise RunError(self._death.result().obituary())
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """End every child, the last that was started first; nobody is left when this returns."""
        self._stopping = True
        await asyncio.gather(*self._spawning, return_exceptions=True)
        while self._running:
            await self._running[-1].stop()
            self._running.pop()

    def kill(self) -> None:
        """End every child at once; for a user who will not wait."""
        for child in self._running:
            child.kill()

    async def _watch(self, child: Child) -> None:
        await child.ended()
        if not self._stopping and not self._death.done():
            self._death.set_result(child)


def is_worrying(text: str, document: Document | None) -> bool:
    """Return whether a line of a child's output should be seen by who runs it."""
    if document is not None:
        return document.get("level") in WORRYING_LEVELS or "error" in document
    return WORRYING_LINE.search(text) is not None


def _document(text: str) -> Document | None:
    if not text.startswith("{"):
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
