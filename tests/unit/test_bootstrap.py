"""Setting a clone up: what is refused with which words, what is made once, and that nothing half-made stays."""

import ast
import fcntl
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts import bootstrap, installation
from scripts.progress import Progress, SetupError, last_words
from tests.processes import wait_until_gone

ROOT = Path(__file__).resolve().parents[2]


class FakeProgress(Progress):
    """Does what pip, npm and venv would do to the disk, in no time; the step named by `failing` fails half-way."""

    def __init__(self, failing: str = "") -> None:
        super().__init__()
        self.steps: list[str] = []
        self.failing = failing

    def run(self, what: str, command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        assert environment is not None
        assert log.parent.name == "logs"
        self.steps.append(what)
        made = Path(command[-1]) if "venv" in command else folder / "node_modules"
        if "Node" in what or "environment" in what:
            (made / "half").mkdir(parents=True, exist_ok=True)
        if self.failing and self.failing in what:
            raise SetupError(f"{what} failed")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    requirements = tmp_path / "scripts" / "requirements"
    requirements.mkdir(parents=True)
    for name in installation.LEVELS.values():
        (requirements / name).write_text(f"{name}==1 --hash=sha256:00\n")
    for name in ("package.json", "package-lock.json"):
        (tmp_path / name).write_text("{}")
    return tmp_path


def install(clone: Path, level: str = "run", failing: str = "") -> list[str]:
    progress = FakeProgress(failing)
    installation.install_python_packages(clone, level, {}, progress)
    installation.install_node_packages(clone, {}, progress)
    return progress.steps


PYTHON_STEPS = ["creating the Python environment", "installing Python packages"]
ALL_STEPS = [*PYTHON_STEPS, "installing Node packages"]


def test_a_second_start_installs_nothing(clone: Path) -> None:
    assert install(clone) == ALL_STEPS
    assert install(clone) == []


def test_a_development_environment_serves_running_too(clone: Path) -> None:
    install(clone, "development")
    assert install(clone, "run") == []


def test_development_tools_are_added_to_what_running_has(clone: Path) -> None:
    install(clone, "run")
    assert install(clone, "development") == ["installing Python packages"]
    assert install(clone, "development") == []
    assert install(clone, "run") == []


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        pytest.param("scripts/requirements/origin.txt", PYTHON_STEPS, id="Python lock"),
        pytest.param("package-lock.json", ["installing Node packages"], id="Node lock"),
    ],
)
def test_a_changed_lock_is_installed_anew(clone: Path, file: str, steps: list[str]) -> None:
    install(clone)
    (clone / file).write_text("changed")
    assert install(clone) == steps


def test_a_moved_clone_is_set_up_anew(clone: Path, tmp_path: Path) -> None:
    install(clone)
    moved = tmp_path / "moved"
    moved.mkdir()
    for entry in list(clone.iterdir()):
        if entry != moved:
            shutil.move(entry, moved / entry.name)
    assert install(moved) == ALL_STEPS


@pytest.mark.parametrize(("failing", "half_made"), [("Python packages", ".venv"), ("Node packages", "node_modules")])
def test_what_fails_is_removed_and_repeated(clone: Path, failing: str, half_made: str) -> None:
    with pytest.raises(SetupError):
        install(clone, failing=failing)
    assert not (clone / half_made).exists()
    assert f"installing {failing}" in install(clone)
    assert (clone / half_made).exists()


def test_what_was_killed_half_way_is_made_anew(clone: Path) -> None:
    (clone / ".venv" / "bin").mkdir(parents=True)
    assert install(clone) == ALL_STEPS


def test_a_missing_lock_is_said_in_one_line(clone: Path) -> None:
    (clone / "package-lock.json").unlink()
    with pytest.raises(SetupError, match=r"package-lock\.json is missing"):
        install(clone)


def test_too_little_room_is_said_before_anything_is_made(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(clone)._replace(free=300 * 1024**2)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(SetupError, match=r"2 GiB of free disk are needed, and there are 0\.3 GiB in .*: make room"):
        install(clone)
    assert not (clone / ".venv").exists()


class NodeCase(NamedTuple):
    """What is on the PATH, and what is said about it."""

    programs: dict[str, str]
    said: str


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(NodeCase({}, "Node.js is needed"), id="no node"),
        pytest.param(NodeCase({"node": "echo v20.1.0"}, "npm is needed"), id="no npm"),
        pytest.param(NodeCase({"node": "echo v18.20.0", "npm": ""}, "`node` is v18.20.0"), id="old node"),
        pytest.param(NodeCase({"node": "exit 1", "npm": ""}, "`node` is broken"), id="broken node"),
    ],
)
def test_a_node_that_will_not_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: NodeCase) -> None:
    for name, command in case.programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{command}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"install Node\.js 20 or newer") as refused:
        installation.check_node(Progress())
    assert case.said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_starts_in_one_clone_take_turns(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    order = []
    lock_file = clone / "setup.lock"

    def second() -> None:
        with installation._only_one(lock_file, Progress()):
            order.append("second")

    with lock_file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        other = threading.Thread(target=second)
        other.start()
        while "waiting for another start" not in capsys.readouterr().err:
            other.join(0.01)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]


def test_the_gate_parses_on_python_3_6() -> None:
    for name in ("bootstrap.py", "__init__.py", "run", "test", "check", "lock"):
        ast.parse((ROOT / "scripts" / name).read_text(), feature_version=(3, 6))


def test_an_old_python_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert bootstrap.start("run", "scripts.supervisor", []) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Python 3.11 or newer is needed, and `python3` is 3.9.2" in said


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        pytest.param(
            "Collecting\nERROR: Could not find it\nERROR: No matching distribution found for a==1\n[notice] x\n",
            "No matching distribution found for a==1",
            id="pip",
        ),
        pytest.param(
            "npm warn old\nnpm error code ENOTFOUND\nnpm error network request failed\nnpm error A complete log\n",
            "network request failed",
            id="npm",
        ),
        pytest.param("something\nlast line\n", "last line", id="another tool"),
        pytest.param("", "no output", id="nothing"),
        pytest.param("x" * 1000, "x" * 159 + "…", id="endless"),
    ],
)
def test_the_telling_line_of_a_failure_is_found(log: str, expected: str) -> None:
    assert last_words(log) == expected


def test_a_failing_step_names_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "step.log"
    command = [sys.executable, "-c", "import sys; print('ERROR: no route to host'); sys.exit(3)"]
    with pytest.raises(SetupError, match="fetching failed: no route to host") as failed:
        Progress().run("fetching", command, tmp_path, {}, log)
    assert str(log) in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_step_ends_with_all_its_children_when_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file = tmp_path / "pid"

    def interrupted(_self: Progress, _what: str, _process: subprocess.Popen[bytes]) -> int:
        while not pid_file.exists() or not pid_file.read_text().endswith("\n"):
            pass
        raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "_wait", interrupted)
    command = ["sh", "-c", f"sleep 60 & echo $! > {pid_file}; wait"]
    with pytest.raises(KeyboardInterrupt):
        Progress().run("working", command, tmp_path, {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    wait_until_gone(int(pid_file.read_text()))
