"""The embedded server: found or started by whoever comes first, stopped by whoever leaves last."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from origin.embedded import FOLDER, hold_embedded, start_embedded
from shared.errors import ConfigurationError
from tests.postgres.world import ROOT, OriginProcess, origin_settings, together, until


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder with a short path: a socket lies in it."""
    made = Path(tempfile.mkdtemp(prefix="cliptill-data-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, **origin_settings("", str(folder))}


def migrate(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "origin.migrate"]
    return subprocess.run(command, cwd=ROOT, env=environment(folder), capture_output=True, text=True, check=False)


def is_running(folder: Path) -> bool:
    return (folder / FOLDER / "postmaster.pid").exists()


def test_processes_that_start_at_once_share_one_server_and_leave_none(folder: Path) -> None:
    done = together(lambda _: migrate(folder), range(4))
    assert [one.stderr for one in done] == [""] * 4
    assert sorted("nothing" in one.stdout for one in done) == [False, True, True, True]
    assert not is_running(folder)


def test_origin_that_is_told_to_stop_stops_its_server_and_keeps_its_data(folder: Path) -> None:
    migrate(folder)
    for _ in range(2):
        origin = OriginProcess(environment(folder), folder / "origin.log")
        try:
            origin.wait_until_ready()
            assert is_running(folder)
            assert origin.stop() == 0
        finally:
            origin.close()
        assert not is_running(folder)


def test_pid_file_of_a_dead_server_whose_pid_is_another_programs_is_no_obstacle(folder: Path) -> None:
    assert migrate(folder).returncode == 0
    left = [str(os.getpid()), str(folder / FOLDER), "1", "5432", str(folder / FOLDER), "", "1 1", "ready"]
    (folder / FOLDER / "postmaster.pid").write_text("\n".join(left) + "\n")
    done = migrate(folder)
    assert (done.returncode, done.stdout) == (0, "applied: nothing, the schema is up to date\n")


def test_files_whose_making_was_cut_off_are_made_anew(folder: Path) -> None:
    (folder / FOLDER).mkdir()
    (folder / FOLDER / "PG_VERSION").write_text("18\n")
    (folder / f"{FOLDER}.unfinished").touch()
    for expected in ("applied: 0001_foundation", "applied: nothing"):
        assert migrate(folder).stdout.startswith(expected)
    assert not (folder / f"{FOLDER}.unfinished").exists()


def test_killed_origin_leaves_a_server_that_the_next_one_finds(folder: Path) -> None:
    migrate(folder)
    origin = OriginProcess(environment(folder), folder / "origin.log")
    try:
        origin.wait_until_ready()
        origin.kill()
        assert is_running(folder)
        assert migrate(folder).returncode == 0
    finally:
        origin.close()
        # The killed process stays on the package's list of users for ever: nobody is the last one to leave.
        stop = f"""
from pathlib import Path
from origin.embedded import hold_embedded
with hold_embedded(Path({str(folder)!r})):
    pass
"""
        subprocess.run([sys.executable, "-c", stop], cwd=ROOT, check=True)
    until(lambda: not is_running(folder))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Läden & 'Märkte' $HOME", id="not plain"),
        pytest.param("long-" * 20, id="too long for a socket"),
    ],
)
def test_server_lives_in_a_folder_of_any_name(folder: Path, name: str) -> None:
    data = folder / name
    for expected in ("applied: 0001_foundation", "applied: nothing"):
        done = migrate(data)
        assert (done.stdout[: len(expected)], done.stderr) == (expected, "")
    assert not is_running(data)
    with hold_embedded(data) as first, psycopg.connect(first):
        # Another process finds the server that runs, and leaves it running.
        assert migrate(data).stdout.startswith("applied: nothing")
        with psycopg.connect(first) as connection:
            connection.execute("SELECT 1")
    assert not is_running(data)


def test_link_in_a_folder_that_others_can_write_to_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder))
    shared = folder / f"cliptill-{os.geteuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(ConfigurationError, match="only you can write to"):
        start_embedded(folder / "not plain")


def test_folder_that_the_server_cannot_live_in_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder / "not plain either"))
    with pytest.raises(ConfigurationError, match="plain path"):
        start_embedded(folder / "not plain")
    (folder / FOLDER).write_text("a file")
    with pytest.raises(ConfigurationError, match="cannot use"):
        start_embedded(folder)


def test_text_is_ordered_by_bytes_and_stored_as_unicode(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT 'a' < 'B' COLLATE \"C\", current_setting('server_encoding')").fetchone()
    assert row == (False, "UTF8")
