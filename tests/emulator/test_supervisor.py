"""`scripts/run` as a program: the whole loop works, and whatever ends the run ends everything that it started."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from scripts import stack
from scripts.children import Children, RunError
from scripts.progress import GIB
from scripts.settings import HOST, Options, is_free
from scripts.stack import start_stack
from tests.processes import find_processes, wait_until_gone

ROOT = Path(__file__).resolve().parents[2]
START_S = 120.0
END_S = 60.0


@contextmanager
def supervisor(data: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the supervisor, with its data folder's name in every command line of what it starts."""
    environment = {**os.environ, "CLIPTILL_DATA": str(data), "PYTHONPATH": str(ROOT)}
    environment.pop("DATABASE_URL", None)
    command = [sys.executable, "-m", "scripts.launch", "scripts.supervisor", *arguments]
    output = data.with_suffix(".out").open("w+")
    # Whoever runs these tests may have been told to ignore it (nohup), and what is ignored is inherited.
    inherited = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output, text=True)
    signal.signal(signal.SIGHUP, inherited)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        output.close()


def said(data: Path) -> str:
    return data.with_suffix(".out").read_text()


def wait_for(data: Path, text: str) -> None:
    until = time.monotonic() + START_S
    while text not in said(data):
        assert time.monotonic() < until, said(data)
        time.sleep(0.02)


def started_by(data: Path) -> list[int]:
    return find_processes(str(data))


def all_gone(pids: list[int]) -> bool:
    for pid in pids:
        wait_until_gone(pid)
    return True


def free_row() -> int:
    """Return the first of a row of ports that are free: the same addresses twice, so the same manifest twice."""
    return next(base for base in range(12_000, 20_000, 11) if all(is_free(base + offset) for offset in range(11)))


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that is not where pytest keeps its own: see `tests.real_stack`."""
    folder = Path(tempfile.mkdtemp(prefix="cliptill-run-"))
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture(scope="module", autouse=True)
def bundle() -> None:
    """Stage the bundle that the edge runs, unless it is staged."""
    subprocess.run([ROOT / "scripts" / "bundle"], cwd=ROOT, check=True, capture_output=True)


def test_the_whole_loop_works_once() -> None:
    command = [sys.executable, "-m", "scripts.supervisor", "--once", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=START_S)
    document = json.loads(done.stdout)
    assert document["ok"] is True, document
    assert done.returncode == 0
    names = [step["name"] for step in document["steps"]]
    assert names[0] == "start"
    assert names[-1] == "overlay with the new stock"
    assert all(step["ok"] and step["ms"] > 0 for step in document["steps"])


def test_a_run_serves_the_demo_and_a_second_one_finds_its_data_again(data: Path) -> None:
    base = free_row()
    for start in range(2):
        with supervisor(data, "--port", str(base)) as process:
            wait_for(data, "origin health")
            urls = dict(re.findall(r"^  (demo page|edge|origin) +(http\S+)$", said(data), re.MULTILINE))
            page = httpx.get(urls["demo page"], trust_env=False)
            assert urls["edge"] in page.text
            overlay = httpx.get(urls["edge"] + "/v1/clips/lantern-row/overlay", trust_env=False)
            assert overlay.status_code == 200
            refused = [sys.executable, "-m", "scripts.supervisor", "--port", "0"]
            environment = {**os.environ, "CLIPTILL_DATA": str(data)}
            second = subprocess.run(refused, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
            assert (second.returncode, second.stderr.count("\n")) == (1, 1)
            assert "another scripts/run uses the data folder" in second.stderr
            pids = started_by(data)
            process.send_signal(signal.SIGTERM if start else signal.SIGINT)
            assert process.wait(END_S) == 0
        assert len(pids) >= 4
        assert all_gone(pids)
        assert "published, version 1\n" in said(data)


@pytest.mark.parametrize(
    ("number", "after"),
    [
        pytest.param(signal.SIGINT, "", id="interrupted at the very beginning"),
        pytest.param(signal.SIGTERM, "database ready", id="told to end with a database"),
        pytest.param(signal.SIGHUP, "origin ready", id="terminal closed with an origin"),
        pytest.param(signal.SIGINT, "edge ready", id="interrupted with an edge"),
    ],
)
def test_a_signal_during_the_start_ends_everything(data: Path, number: signal.Signals, after: str) -> None:
    with supervisor(data, "--port", "0") as process:
        if after:
            wait_for(data, after)
        else:
            until = time.monotonic() + START_S
            while not started_by(data):
                assert time.monotonic() < until
        pids = started_by(data)
        process.send_signal(number)
        assert process.wait(END_S) in {0, 130}
    assert all_gone(pids)
    assert started_by(data) == []
    assert "Traceback" not in said(data)


def test_a_killed_supervisor_leaves_nobody_behind(data: Path) -> None:
    with supervisor(data, "--port", "0") as process:
        wait_for(data, "edge ready")
        pids = started_by(data)
        process.kill()
        process.wait()
    assert all_gone(pids)


def test_a_process_that_dies_ends_the_run_and_is_named(data: Path) -> None:
    with supervisor(data, "--port", "0") as process:
        wait_for(data, "origin health")
        pids = started_by(data)
        provider = next(pid for pid in find_processes("scripts.emulator.provider") if pid in pids)
        os.kill(provider, signal.SIGKILL)
        assert process.wait(END_S) == 1
    assert "cliptill: provider ended (exit code -9)" in said(data)
    assert all_gone(pids)


def test_a_busy_port_is_said_in_one_line(data: Path) -> None:
    with socket.socket() as busy:
        busy.bind((HOST, 0))
        busy.listen()
        port = busy.getsockname()[1]
        with supervisor(data, "--port", str(port)) as process:
            assert process.wait(START_S) == 1
    assert said(data).startswith(f"cliptill: port {port}, wanted for the demo site, is in use")
    assert said(data).count("\n") == 1


def test_several_nodes_run_with_the_faults_that_were_asked_for_and_the_page_tells_them(data: Path) -> None:
    arguments = ("--nodes", "3", "--lateness", "2000", "--fault", "nrt:latency=150")
    with supervisor(data, "--port", "0", *arguments) as process:
        wait_for(data, "origin health")
        page = re.findall(r"^  emulator +(http\S+)$", said(data), re.MULTILINE)[0]
        assert httpx.get(f"{page}/faults", trust_env=False).json() == {"fra": {}, "nrt": {"latency_ms": 150}, "iad": {}}
        state = httpx.get(f"{page}/state", trust_env=False).json()
        assert [(node["colo"], node["lateness_ms"]) for node in state["nodes"]] == [
            ("FRA", 0),
            ("NRT", 2000),
            ("IAD", 2000),
        ]
        cleared = httpx.delete(f"{page}/faults/all", trust_env=False).json()
        assert cleared == {"fra": {}, "nrt": {}, "iad": {}}
        process.send_signal(signal.SIGINT)
        assert process.wait(END_S) == 0


@pytest.mark.parametrize(
    ("surroundings", "expected"),
    [
        pytest.param({"CLIPTILL_DATA": "{file}"}, "{file} cannot be used: File exists", id="the data folder is a file"),
        pytest.param({"CLIPTILL_DATA": "/proc/none"}, "/proc/none cannot be used: No such file", id="no data folder"),
        pytest.param({"DATABASE_URL": "shop"}, "DATABASE_URL is no connection string", id="no connection string"),
        pytest.param(
            {"DATABASE_URL": "postgresql://127.0.0.1:9/shop"},
            'the database is away: connection failed: connection to server at "127.0.0.1", port 9 failed',
            id="no database",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path, surroundings: dict[str, str], expected: str) -> None:
    file = tmp_path / "file"
    file.touch()
    given = {name: value.format(file=file) for name, value in surroundings.items()}
    environment = {**os.environ, "CLIPTILL_DATA": str(tmp_path / "data"), **given}
    command = [sys.executable, "-m", "scripts.supervisor", "--port", "0"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "database ready" not in line]
    assert (done.returncode, len(said)) == (1, 1), done.stderr
    assert said[0].startswith("cliptill: ")
    assert expected.format(file=file) in said[0]


def test_a_disk_without_room_for_the_database_is_said_before_it_is_made(tmp_path: Path) -> None:
    options = Options(data=tmp_path, port=0)

    async def go() -> None:
        children = Children(tmp_path / "logs", ROOT)
        try:
            with pytest.raises(RunError, match=r"1e\+06 GiB of free disk are needed.*make room"):
                await start_stack(children, options, print)
        finally:
            await children.stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "DATABASE_ROOM_BYTES", 10**6 * GIB)
        asyncio.run(go())
    assert not (tmp_path / "postgres").exists()
