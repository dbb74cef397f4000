"""Importing the core and the edge touches neither clock, entropy, environment, files nor network (memory snapshot)."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.contract.import_rules import RUNTIME_FILES, imports_of, read_sources

HARMLESS = {
    "arithmetic": "x = 1 + 1",
    "a date of numbers": "from datetime import datetime, timezone\nd = datetime(2026, 1, 1, tzinfo=timezone.utc)",
    "compiled patterns": "import re\nre.compile('a+')",
    "another module": "import colorsys",
}
TOUCHING = {
    "time": "import time\ntime.time()",
    "time by name": "from time import time_ns\ntime_ns()",
    "monotonic": "import time\ntime.monotonic()",
    "a date of now": "from datetime import datetime\ndatetime.now()",
    "urandom": "import os\nos.urandom(1)",
    "secrets": "import secrets\nsecrets.token_hex()",
    "random": "import random\nrandom.random()",
    "a seeded generator": "import random\nrandom.Random()",
    "uuid4": "import uuid\nuuid.uuid4()",
    "uuid1": "import uuid\nuuid.uuid1()",
    "environ": "import os\nos.environ['HOME']",
    "environ.get": "import os\nos.environ.get('HOME')",
    "getenv": "import os\nos.getenv('HOME')",
    "a file": "open('/etc/hostname')",
    "a file by pathlib": "import pathlib\npathlib.Path('pyproject.toml').read_text()",
    "a file by os": "import os\nos.open('/etc/hostname', os.O_RDONLY)",
    "a socket": "import socket\nsocket.socket()",
    "a connection": "import socket\nsocket.create_connection(('127.0.0.1', 9))",
    "a host name": "import socket\nsocket.getaddrinfo('localhost', 80)",
    "a process": "import subprocess\nsubprocess.run(['true'])",
    "a shell": "import os\nos.system('true')",
    "a thread": "import threading\nthreading.Thread(target=print).start()",
}


def run_guard(arguments: Sequence[str], given: str = "") -> str:
    command = [sys.executable, "-B", "-W", "error", "-m", "tests.contract.import_guard", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_core_and_edge_touches_nothing() -> None:
    sources = [source for source in read_sources(["shared", "edge"]) if source.path not in RUNTIME_FILES]
    ours = [source.module for source in sources]
    assert {"edge.app", "shared.claims.tokens", "edge.isolate"} <= set(ours)
    theirs = {found.module for source in sources for found in imports_of(source)} - set(ours) - {"shared", "edge"}
    assert run_guard(["preload", *sorted(theirs), "guard", *ours]) == "imported\n"


@pytest.fixture(scope="module")
def verdicts() -> dict[str, str]:
    told: dict[str, str] = json.loads(run_guard(["try"], json.dumps(HARMLESS | TOUCHING)))
    return told


@pytest.mark.parametrize("name", TOUCHING)
def test_the_guard_catches(name: str, verdicts: dict[str, str]) -> None:
    assert verdicts[name].startswith("caught: ")


@pytest.mark.parametrize("name", HARMLESS)
def test_the_guard_lets_pass(name: str, verdicts: dict[str, str]) -> None:
    assert verdicts[name] == "passed"
