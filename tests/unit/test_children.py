"""The processes of a run: heard, watched, and ended together with whatever they started."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from scripts.children import Child, Children, RunError, is_worrying
from tests.processes import runs, wait_until_gone

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(Path.cwd())}


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def start(children: Children, code: str, name: str = "it") -> Child:
    return await children.start(name, python(code), ENVIRONMENT, grace_s=0.5)


async def never() -> None:
    await asyncio.Event().wait()


def test_a_child_announces_itself(tmp_path: Path) -> None:
    async def go() -> None:
        children = Children(tmp_path, tmp_path)
        child = await start(
            children, "import time; print('hello'); print('{\"ready\": true, \"n\": 1}'); time.sleep(60)"
        )
        assert await children.guard(child.ready()) == {"ready": True, "n": 1}
        await children.stop()
        assert "hello" in child.log.read_text()

    asyncio.run(go())


def test_a_child_that_ends_by_itself_ends_the_run_with_its_last_words(tmp_path: Path) -> None:
    async def go() -> None:
        children = Children(tmp_path, tmp_path)
        await start(children, "print('no such table'); raise SystemExit(7)", "origin")
        with pytest.raises(RunError, match="origin ended") as ended:
            await children.guard(never())
        await children.stop()
        assert "exit code 7" in str(ended.value)
        assert "origin: no such table" in str(ended.value)
        assert str(tmp_path / "origin.log") in str(ended.value)

    asyncio.run(go())


def test_what_a_child_says_to_the_user_before_it_ends_is_all_that_the_user_is_told(tmp_path: Path) -> None:
    async def go() -> None:
        children = Children(tmp_path, tmp_path)
        await start(children, "print('chatter'); print('cliptill: the key is missing: set it'); raise SystemExit(1)")
        with pytest.raises(RunError) as ended:
            await children.guard(never())
        await children.stop()
        assert str(ended.value) == f"the key is missing: set it (whole log: {tmp_path / 'it.log'})"

    asyncio.run(go())


def test_a_child_is_heard_out_when_the_disk_of_its_log_is_full(tmp_path: Path) -> None:
    async def go() -> None:
        children = Children(tmp_path, tmp_path)
        full = tmp_path / "it.log"
        full.symlink_to("/dev/full")
        child = await start(children, "print('x' * 200_000); print('{\"ready\": true}', flush=True); input()")
        assert await children.guard(child.ready()) == {"ready": True}
        await children.stop()

    asyncio.run(go())


def test_a_child_that_will_not_end_is_killed_with_its_own_children(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess, time, json\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "print(json.dumps({'ready': True, 'pid': child.pid}))\n"
        "time.sleep(60)"
    )

    async def go() -> None:
        children = Children(tmp_path, tmp_path)
        child = await start(children, code)
        grandchild = (await child.ready())["pid"]
        assert runs(grandchild)
        began = time.monotonic()
        await children.stop()
        assert 0.4 < time.monotonic() - began < 10
        wait_until_gone(child.process.pid)
        wait_until_gone(grandchild)

    asyncio.run(go())


def test_the_last_started_ends_first(tmp_path: Path) -> None:
    notes = tmp_path / "order"
    code = (
        "import signal, sys, time, json\n"
        "def end(*_):\n"
        "    with open({notes!r}, 'a') as file: file.write({name!r})\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print(json.dumps({{'ready': True}}))\n"
        "time.sleep(60)"
    )

    async def go() -> None:
        children = Children(tmp_path / "logs", tmp_path)
        for name in "abc":
            child = await start(children, code.format(notes=str(notes), name=name), name)
            await child.ready()
        await children.stop()

    asyncio.run(go())
    assert notes.read_text() == "cba"


def test_a_child_whose_start_was_cancelled_is_ended_too(tmp_path: Path) -> None:
    async def go() -> None:
        children = Children(tmp_path, tmp_path)
        starting = asyncio.create_task(start(children, "import time; time.sleep(60)"))
        await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await children.stop()
        assert not children._running
        assert not children._spawning

    asyncio.run(go())


@pytest.mark.parametrize(
    ("line", "document", "worrying"),
    [
        pytest.param("INFO started", None, False, id="information"),
        pytest.param("WARNING:  slow", None, True, id="warning"),
        pytest.param("ValueError: no", None, True, id="exception"),
        pytest.param("Traceback (most recent call last):", None, True, id="traceback"),
        pytest.param("0 errors", None, False, id="a word that only looks like it"),
        pytest.param("", {"level": "info"}, False, id="structured information"),
        pytest.param("", {"level": "error"}, True, id="structured error"),
        pytest.param("", {"error": "port_busy"}, True, id="emulator's error"),
    ],
)
def test_only_what_a_person_should_see_is_shown(line: str, document: dict[str, str] | None, worrying: bool) -> None:  # noqa: FBT001 - a table
    assert is_worrying(line, document) is worrying
