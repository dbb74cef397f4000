"""The README's commands for a self-hosted node, run as they stand there: built, copied, started, upgraded, rolled back.

The machine is a folder: `/opt`, `/etc` and `/var` are in it, and small programs stand for those that need more.
"""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.selfhosting import verify
from tests.emulator.edge_program import Clock
from tests.emulator.origin_double import EDGE_KEY, OriginDouble, serve_origin
from tests.emulator.program import ROOT
from tests.emulator.workerd_program import CLAIM_KEYS, Node, free_address

BUILD, INSTALL, HEALTH, UPGRADE, ROLLBACK = re.findall(
    r"<!-- node -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
)
STAND_INS = {
    "sudo": 'exec "$@"',
    # An editor that knows what to fill in.
    "sudoedit": 'cp "$FILLED_IN" "$1.new" && cat "$1.new" > "$1" && rm "$1.new"',
    "systemctl": 'echo "$*" >> "$MACHINE/systemctl.log"',
    "rsync": '[ "$1 $3" = "-a edge-1.example:" ] && cp -a "$2" "$MACHINE/home/"',
    # The real one has its own tests (tests/postgres/test_apikeys.py); here, there is no database.
    "python": '[ "$*" = "-m origin.keys create edge-1 --for edge" ] && echo "ct_key"',
}


class Machine:
    """A folder that is the machine of a node."""

    def __init__(self, folder: Path, origin: OriginDouble) -> None:
        self.folder, self.origin = folder, origin
        self.settings = {
            "ORIGIN_URL": origin.url, "CLAIM_KEYS": CLAIM_KEYS, "EDGE_KEY": EDGE_KEY,
            "LISTEN": free_address(), "STATUS": free_address(),
        }  # fmt: skip
        for name in ("bin", "home", "opt", "etc/systemd/system", "var/lib/cliptill-edge"):
            (folder / name).mkdir(parents=True)
        for name, does in STAND_INS.items():
            program = folder / "bin" / name
            program.write_text(f"#!/bin/sh\nset -e\n{does}\n")
            program.chmod(0o755)
        (folder / "filled-in").write_text("".join(f"{name}={value}\n" for name, value in self.settings.items()))

    def run(self, block: str, cwd: Path) -> str:
        """Run a block of the README."""
        here = re.sub(r"(?<![\w.])/(opt|etc)/", rf"{self.folder}/\1/", block)
        environment = {
            "PATH": os.pathsep.join([str(self.folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "MACHINE": str(self.folder),
            "FILLED_IN": str(self.folder / "filled-in"),
            **self.settings,
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", here], cwd=cwd, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def node(self) -> Node:
        """Return what the unit starts, with the settings that it reads."""
        unit = (self.folder / "etc/systemd/system/cliptill-edge.service").read_text()
        assert "EnvironmentFile=/etc/cliptill-edge.env\n" in unit
        assert "ExecStart=/opt/cliptill-edge/cliptill-edge serve\n" in unit
        lines = (self.folder / "etc/cliptill-edge.env").read_text().splitlines()
        settings = dict(line.split("=", 1) for line in lines)
        state = self.folder / "var/lib/cliptill-edge"
        node = Node(self.folder / "opt/cliptill-edge", self.origin.url, state)
        node.environment |= settings
        node.client.base_url = f"http://{settings['LISTEN']}"
        node.status_address = settings["STATUS"]
        return node


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with serve_origin(Clock().now_ms) as origin:
        yield Machine(tmp_path, origin)


def test_a_node_is_built_installed_upgraded_and_rolled_back(machine: Machine) -> None:
    home, opt = machine.folder / "home", machine.folder / "opt"
    # A clone of one's own: what lies in this one's `build` stays.
    clone = machine.folder / "clone"
    clone.mkdir()
    (clone / "scripts").symlink_to(ROOT / "scripts")
    machine.run(BUILD, clone)
    machine.run(INSTALL, home)
    assert verify(opt / "cliptill-edge") == []
    assert stat.S_IMODE((machine.folder / "etc/cliptill-edge.env").stat().st_mode) == 0o600
    node = machine.node()
    try:
        node.start()
        assert '"status":"ok"' in machine.run(HEALTH, home)
        machine.origin.events_status = 503
        node.beacon("clip-1")
        for block, release in ((UPGRADE, "cliptill-edge-2"), (ROLLBACK, "cliptill-edge-1")):
            machine.run(block, home)
            assert (opt / "cliptill-edge").resolve().name == release
            node.end()
            node.start()
            assert node.spool()["waiting"] == 1
    finally:
        node.end()
        node.client.close()
    told = (machine.folder / "systemctl.log").read_text().splitlines()
    restart = "restart cliptill-edge"
    assert told == ["enable --now cliptill-edge", "daemon-reload", restart, restart]
