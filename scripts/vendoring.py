"""Vendor the edge's wheels into a `python_modules` folder, as the platform wants them.

The wheels are those of the interpreter in WebAssembly, with the hashes of the lock. Only what can be needed at run
time is kept: tools for tests, type stubs and installation records would be uploaded, and mounted at each cold start,
for nothing.

Standard library only: this runs while a clone is being set up.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

STAMP = ".cliptill-edge.stamp"
# Raised when other files are kept: it is part of the stamp.
KEEPING = 1
# Which wheels fit: those of CPython 3.14 in WebAssembly (PEP 783), and the pure ones.
TARGET = (
    *("--platform", "pyemscripten_2026_0_wasm32", "--python-version", "3.14", "--implementation", "cp"),
    *("--abi", "cp314", "--abi", "none", "--only-binary=:all:", "--no-deps", "--require-hashes"),
)
KEPT_SUFFIXES = frozenset({".py", ".so", ".pth"})
# Parts that serve tests, other event loops or the command line.
NOT_KEPT = frozenset(
    {
        "anyio/_backends/_trio.py",
        "anyio/pytest_plugin.py",
        "idna/__main__.py",
        "idna/cli.py",
        "starlette/testclient.py",
    }
)
NOT_KEPT_FOLDERS = frozenset({"bin", "tests", "test", "__pycache__"})


class BundleError(Exception):
    """The bundle cannot be staged; the message is one line that names the remedy."""


def vendor(lock: Path, target: Path, work: Path) -> bool:
    """Make `target` hold the wheels that `lock` names, unless its stamp says that it does.

    Args:
        lock: requirements with hashes.
        target: the folder.
        work: a folder on the same disk, where things are made aside.

    Returns:
        Whether anything was done.

    Raises:
        BundleError: the lock is missing, or its wheels cannot be had. `target` is as it was before.
    """
    if not lock.is_file():
        raise BundleError(f"{lock} is missing: run scripts/lock")
    wanted = hashlib.sha256(f"{KEEPING}\n".encode() + lock.read_bytes()).hexdigest()
    stamp = target / STAMP
    if stamp.is_file() and stamp.read_text() == wanted:
        return False
    with tempfile.TemporaryDirectory(prefix=".vendoring-", dir=work) as folder:
        fresh = Path(folder) / "fresh"
        _install(lock, fresh)
        _strip(fresh)
        (fresh / STAMP).write_text(wanted)
        replace(fresh, target)
    return True


def replace(fresh: Path, target: Path) -> None:
    """Put a finished folder in the place of another one, by renaming; the folder of `fresh` takes the old one."""
    if target.exists():
        target.rename(fresh.parent / "replaced")
    fresh.rename(target)


def _install(lock: Path, target: Path) -> None:
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-input",
        "--no-compile",
        "--disable-pip-version-check",
    ]
    # A pip of root's is what a container has; its advice about that would hide the lines that matter.
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [*pip, *TARGET, "--target", str(target), "--requirement", str(lock)]
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        raise BundleError(
            "the edge's wheels cannot be had (see above): check the network and the package index settings"
        )


def _strip(folder: Path) -> None:
    """Remove what is never needed at run time."""
    for path in sorted(folder.rglob("*"), reverse=True):
        name = path.relative_to(folder)
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif not _is_kept(name):
            path.unlink()
    for path in folder.iterdir():
        if path.is_dir() and path.name.endswith(".dist-info"):
            shutil.rmtree(path)


def _is_kept(name: Path) -> bool:
    folders = set(name.parts[:-1])
    if folders & NOT_KEPT_FOLDERS or any(part.endswith(".dist-info") for part in folders):
        return False
    return name.suffix in KEPT_SUFFIXES and name.as_posix() not in NOT_KEPT
