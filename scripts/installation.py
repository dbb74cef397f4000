"""Set a clone up, once: Python packages, Node packages, the staged bundle.

Rules:
1. Each part has a stamp, written last, inside what it speaks for. No stamp, or another one: the part is made anew.
2. What fails or is interrupted is removed, so that a later start repeats it: nothing half-made is ever used.
3. One set-up at a time in a clone: a lock file, released by the kernel whatever happens to the process.
4. What the user must know is one line with the remedy; the tools' own output goes to a log file that the line names.

There is one environment, `.venv`, with two stamps. Running needs `origin.txt`; tests and checks need `development.txt`,
which holds the same versions and more, so its stamp serves both. A second environment would cost 200 MB and a minute
for nothing.

Standard library only: this runs before anything is installed.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from scripts.progress import GIB, Progress, SetupError, describe_missing_room

NODE_MINIMUM = 20
FREE_BYTES_NEEDED = 2 * GIB
LEVELS = {"run": "origin.txt", "development": "development.txt"}
STAMP = ".cliptill-{}.stamp"
# What would lead the environment's Python, or pip, to other places than the environment.
FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_USER", "PIP_REQUIRE_VIRTUALENV")


def set_up(root: str, level: str) -> dict[str, str] | None:
    """Make the clone at `root` ready for `level` ("run" or "development").

    Returns:
        The environment variables to start the program with, or None after a one-line message on standard error.
    """
    clone = Path(root)
    environment = program_environment(clone, dict(os.environ))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        state = clone / ".cliptill"
        state.mkdir(exist_ok=True, mode=0o700)
        progress = Progress()
        with _only_one(state / "setup.lock", progress):
            check_node(progress)
            install_python_packages(clone, level, environment, progress)
            install_node_packages(clone, environment, progress)
            stage_bundle(clone, environment, progress)
    except SetupError as problem:
        print(f"cliptill: {problem}", file=sys.stderr)
        return None
    except KeyboardInterrupt:
        print("cliptill: interrupted; what was half-made is removed, the next start repeats it", file=sys.stderr)
        return None
    except OSError as problem:
        print(f"cliptill: set-up failed: {problem.strerror}: {problem.filename}", file=sys.stderr)
        return None
    return environment


def venv_python(root: str) -> str:
    """Return the path of the environment's interpreter."""
    return str(Path(root) / ".venv" / "bin" / "python")


def program_environment(clone: Path, inherited: dict[str, str]) -> dict[str, str]:
    """Return the variables for everything that is started: the environment's tools first, imports from the clone."""
    environment = {name: value for name, value in inherited.items() if name not in FOREIGN_VARIABLES}
    tools = [str(clone / ".venv" / "bin"), str(clone / "node_modules" / ".bin")]
    environment["PATH"] = os.pathsep.join([*tools, inherited.get("PATH", os.defpath)])
    environment["PYTHONPATH"] = str(clone)
    environment["VIRTUAL_ENV"] = str(clone / ".venv")
    return environment


def check_node(progress: Progress) -> None:
    """Refuse a missing or an old Node, and a Node without npm, each with its remedy."""
    remedy = f"install Node.js {NODE_MINIMUM} or newer with npm, then start again"
    if shutil.which("node") is None:
        raise SetupError(f"Node.js is needed, and there is no `node` on the PATH: {remedy}")
    if shutil.which("npm") is None:
        raise SetupError(f"npm is needed, and there is no `npm` on the PATH: {remedy}")
    version = progress.ask(["node", "--version"]).strip()
    major = re.match(r"v(\d+)\.", version)
    if major is None or int(major.group(1)) < NODE_MINIMUM:
        raise SetupError(f"Node.js {NODE_MINIMUM} or newer is needed, `node` is {version or 'broken'}: {remedy}")


def install_python_packages(clone: Path, level: str, environment: dict[str, str], progress: Progress) -> None:
    """Make `.venv` hold exactly what the lock of `level` names, unless its stamp says that it does."""
    venv = clone / ".venv"
    wanted = {name: python_stamp(clone, name) for name in LEVELS}
    have = {name: _read(venv / STAMP.format(name)) for name in LEVELS}
    serves = ("run", "development") if level == "run" else ("development",)
    if any(have[name] == wanted[name] for name in serves):
        return
    _check_room(clone)
    with _removed_on_failure(venv):
        if have["run"] == wanted["run"]:
            (venv / STAMP.format("run")).unlink()
        else:
            _create_venv(clone, venv, progress)
        lock = clone / "scripts" / "requirements" / LEVELS[level]
        command = [venv_python(str(clone)), "-m", "pip", "install", "--require-hashes", "--no-deps", "--no-input"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--progress-bar=off", "-r", str(lock)]
        progress.run("installing Python packages", command, clone, environment, _log(clone, "setup-python.log"))
        (venv / STAMP.format(level)).write_text(wanted[level])


def install_node_packages(clone: Path, environment: dict[str, str], progress: Progress) -> None:
    """Make `node_modules` hold exactly what `package-lock.json` names, unless its stamp says that it does."""
    modules = clone / "node_modules"
    stamp = modules / STAMP.format("node")
    wanted = _digest(clone, clone / "package-lock.json", clone / "package.json")
    if _read(stamp) == wanted:
        return
    _check_room(clone)
    with _removed_on_failure(modules):
        command = ["npm", "ci", "--no-audit", "--no-fund", "--no-progress"]
        progress.run("installing Node packages", command, clone, environment, _log(clone, "setup-node.log"))
        stamp.write_text(wanted)


def stage_bundle(clone: Path, environment: dict[str, str], progress: Progress) -> None:
    """Vendor the edge's wheels and stage the bundle; `scripts/bundle` knows itself what is still good."""
    progress.run(
        "staging the edge bundle",
        [str(clone / "scripts" / "bundle")],
        clone,
        environment,
        _log(clone, "setup-bundle.log"),
    )


def python_stamp(clone: Path, level: str) -> str:
    """Return what the stamp of a good environment says: its lock, its Python, its place (a venv cannot be moved)."""
    return _digest(clone, clone / "scripts" / "requirements" / LEVELS[level])


def _digest(clone: Path, *files: Path) -> str:
    """Hash the files that a part is made from, with the machine and place that it is made for."""
    interpreter = os.path.realpath(sys.executable)
    facts = [str(clone.resolve()), platform.machine(), platform.system(), interpreter, platform.python_version()]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for file in files:
        try:
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        except FileNotFoundError:
            raise SetupError(f"{file.relative_to(clone)} is missing: this clone is not whole, clone it again") from None
    return digest.hexdigest()


def _create_venv(clone: Path, venv: Path, progress: Progress) -> None:
    """Put an empty environment in the place of whatever is there."""
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            raise SetupError(
                f"this Python lacks the standard module {module}: install it "
                f"(on Debian or Ubuntu: apt-get install python3-venv), then start again"
            )
    shutil.rmtree(venv, ignore_errors=True)
    # The base interpreter: the one at hand may live in the environment that was just removed.
    base = getattr(sys, "_base_executable", sys.executable)
    environment = {name: value for name, value in os.environ.items() if name not in FOREIGN_VARIABLES}
    command = [base, "-m", "venv", str(venv)]
    progress.run("creating the Python environment", command, clone, environment, _log(clone, "setup-venv.log"))


def _log(clone: Path, name: str) -> Path:
    return clone / ".cliptill" / "logs" / name


def _check_room(clone: Path) -> None:
    if missing := describe_missing_room(clone, FREE_BYTES_NEEDED):
        raise SetupError(missing)


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    """Remove the folder when the block does not reach its end, for whatever reason."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


@contextmanager
def _only_one(lock_file: Path, progress: Progress) -> Iterator[None]:
    """Hold the clone's set-up lock; the kernel releases it when this process ends or becomes the program."""
    with lock_file.open("w") as handle:
        if not _try_lock(handle):
            progress.say("waiting for another start that is setting this clone up")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _try_lock(handle: IO[str]) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(file: Path) -> str | None:
    return file.read_text() if file.exists() else None


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
