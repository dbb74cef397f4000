"""A self-hosted node: what is in its folder, what it needs to start, and that no event is lost on its way."""

import configparser
import json
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from origin.insight.edges import MAX_MESSAGES
from scripts.selfhosting import verify, write_node
from scripts.vendoring import BundleError
from tests.contract.edge_driver import Edge, decode_batches
from tests.emulator.origin_double import EDGE_KEY, OriginDouble
from tests.emulator.program import ROOT
from tests.emulator.workerd_program import CLAIM_KEYS, Node, free_address, running_node


def test_the_folder_has_no_node_no_miniflare_and_no_code_generation(edge_node: Path) -> None:
    names = {path.relative_to(edge_node).as_posix() for path in edge_node.rglob("*") if path.is_file()}
    assert {"bin/workerd", "config.capnp", "snapshot.pack", "cliptill-edge", "cliptill-edge.service"} <= names
    assert not [name for name in names if "node_modules" in name or "miniflare" in name]
    configuration = (edge_node / "config.capnp").read_text()
    assert "unsafe" not in configuration.lower()
    embedded = set(re.findall(r'embed "([^"]+)"', configuration))
    assert embedded == {name for name in names if name.startswith("modules/")}
    # Modules that are text are read by people, and say nothing of where they were made.
    for name in names - {"bin/workerd", "snapshot.pack"}:
        assert str(ROOT).encode() not in (edge_node / name).read_bytes(), name


def test_the_manifest_has_the_hash_of_every_file(edge_node: Path, tmp_path: Path) -> None:
    assert verify(edge_node) == []
    copy = tmp_path / "copy"
    shutil.copytree(edge_node, copy)
    (copy / "config.capnp").write_text("changed")
    (copy / "modules" / "host.mjs").unlink()
    (copy / "modules" / "more.mjs").write_text("added")
    (copy / "cliptill-edge.env").write_text("ORIGIN_URL=https://origin.example\n")
    assert verify(copy) == ["config.capnp", "modules/host.mjs", "modules/more.mjs"]


def test_no_file_holds_a_secret_and_settings_are_their_owners(edge_node: Path) -> None:
    assert stat.S_IMODE((edge_node / "cliptill-edge.env.example").stat().st_mode) == 0o600
    assert stat.S_IMODE((edge_node / "bin" / "workerd").stat().st_mode) == 0o755
    configuration = (edge_node / "config.capnp").read_text()
    for name in ("CLAIM_KEYS", "EDGE_KEY"):
        assert f'(name = "{name}", fromEnvironment = "{name}")' in configuration


def test_the_unit_confines_the_node(edge_node: Path) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(edge_node / "cliptill-edge.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/cliptill-edge serve")
    assert (service["DynamicUser"], service["Restart"], service["StateDirectory"]) == ("yes", "always", "cliptill-edge")
    confined = ("NoNewPrivileges", "ProtectHome", "PrivateDevices", "PrivateTmp", "RestrictNamespaces")
    assert {service[name] for name in confined} == {"yes"}
    assert (service["ProtectSystem"], service["CapabilityBoundingSet"]) == ("strict", "")


def test_a_node_is_written_over_with_its_settings_and_state_kept(edge_node: Path, tmp_path: Path) -> None:
    target = tmp_path / "node"
    write_node(ROOT, target)
    (target / "cliptill-edge.env").write_text("ORIGIN_URL=https://origin.example\n")
    (target / "state").mkdir()
    (target / "state" / "kept").write_text("events")
    (target / "left-over").write_text("of an older one")
    first = (target / "manifest.json").read_bytes()
    write_node(ROOT, target)
    assert (target / "manifest.json").read_bytes() == first == (edge_node / "manifest.json").read_bytes()
    assert (target / "state" / "kept").read_text() == "events"
    assert (target / "cliptill-edge.env").read_text() == "ORIGIN_URL=https://origin.example\n"
    assert verify(target) == []


def test_a_folder_that_is_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(BundleError, match="is no edge node"):
        write_node(ROOT, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("missing", ["ORIGIN_URL", "CLAIM_KEYS", "EDGE_KEY"])
def test_without_a_setting_it_does_not_start_and_says_which(edge_node: Path, tmp_path: Path, missing: str) -> None:
    settings = {"ORIGIN_URL": "http://127.0.0.1:9", "CLAIM_KEYS": CLAIM_KEYS, "EDGE_KEY": EDGE_KEY}
    environment = {"PATH": "/usr/bin:/bin", "STATE_DIRECTORY": str(tmp_path / "state"), **settings, missing: ""}
    program = [str(edge_node / "cliptill-edge"), "serve"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert done.stderr.startswith(f"cliptill-edge: {missing} is not set")
    assert EDGE_KEY not in done.stderr


def test_settings_may_come_from_a_file_beside_it(edge_node: Path, origin: OriginDouble, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    shutil.copytree(edge_node, folder, symlinks=True)
    lines = {"ORIGIN_URL": origin.url, "COUNTRY": "JP", "CLAIM_KEYS": CLAIM_KEYS}
    (folder / "cliptill-edge.env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
    with running_node(folder, "http://127.0.0.1:9", tmp_path / "state") as node:
        node.beacon("clip-1")
        Edge.wait_for(lambda: len(origin.messages) == 1)
        assert decode_batches(origin.messages)[0].country == "JP"


def test_health_is_one_command(node: Node) -> None:
    done = node.run("health")
    assert done.returncode == 0, done.stderr
    health, status = (json.loads(line) for line in done.stdout.splitlines())
    assert health["status"] == "ok"
    assert status["spool"]["waiting"] == 0
    assert node.run("health", LISTEN=free_address()).returncode != 0
    assert node.run("nonsense").returncode == 64


def test_viewers_cannot_ask_how_the_node_is(node: Node) -> None:
    assert node.client.get("/").status_code == 404
    assert node.client.get("/status").status_code == 404


def test_an_asset_has_its_headers_and_is_not_sent_twice(node: Node) -> None:
    first = node.client.get("/cliptill-overlay.js")
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("text/javascript")
    assert first.headers["access-control-allow-origin"] == "*"
    assert first.headers["cache-control"].startswith("public, max-age=")
    again = node.client.get("/cliptill-overlay.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert node.client.get("/_headers").status_code == 404


def test_events_wait_for_an_origin_that_is_away_and_outlive_a_kill(node: Node, origin: OriginDouble) -> None:
    origin.events_status = 503
    clips = [f"clip-{number}" for number in range(40)]
    for clip in clips[:20]:
        node.beacon(clip)
    Edge.wait_for(lambda: node.spool()["waiting"] == 20)
    node.end(signal.SIGKILL)
    node.start()
    assert node.spool()["waiting"] == 20
    for clip in clips[20:]:
        node.beacon(clip)
    Edge.wait_for(lambda: node.spool()["waiting"] == 40)
    told = node.spool()
    assert told["problem"] == "the origin answers 503"
    assert told["waiting_bytes"] > 0
    assert origin.messages == []
    node.end(signal.SIGKILL)
    origin.events_status = 202
    node.start()
    node.status()
    Edge.wait_for(lambda: len(origin.messages) >= 40)
    arrived = Counter(event.clip for batch in decode_batches(origin.messages) for event in batch.events)
    assert arrived == Counter(clips)
    spool = node.spool()
    assert (spool["waiting"], spool["delivered"], spool["dropped"], spool["problem"]) == (0, 40, 0, "")


def test_a_spool_is_emptied_after_a_restart_without_any_request(
    edge_node: Path, origin: OriginDouble, tmp_path: Path
) -> None:
    origin.events_status = 503
    with running_node(edge_node, origin.url, tmp_path / "state") as node:
        node.beacon("clip-1")
        Edge.wait_for(lambda: node.spool()["waiting"] == 1)
        node.end(signal.SIGKILL)
        origin.events_status = 202
        node.start()
        Edge.wait_for(lambda: len(origin.messages) == 1)


@pytest.mark.parametrize(
    ("status", "problem"), [(401, "the origin answers 401"), (403, "the origin answers 403")], ids=["401", "403"]
)
def test_events_wait_while_the_key_is_refused(node: Node, origin: OriginDouble, status: int, problem: str) -> None:
    origin.events_status = status
    node.beacon("clip-1")
    Edge.wait_for(lambda: bool(node.spool()["problem"]))
    assert (node.spool()["waiting"], node.spool()["problem"]) == (1, problem)
    origin.events_status = 202
    Edge.wait_for(lambda: len(origin.messages) == 1)


def test_what_is_too_much_for_one_request_goes_in_several(node: Node, origin: OriginDouble) -> None:
    origin.events_status = 503
    for number in range(20):
        node.beacon(f"clip-{number}")
    Edge.wait_for(lambda: node.spool()["waiting"] == 20)
    origin.event_bytes_most = 1000
    origin.events_status = 202
    Edge.wait_for(lambda: node.spool()["waiting"] == 0)
    assert len(origin.messages) == 20
    assert node.spool()["dropped"] == 0


def test_what_waits_goes_in_the_largest_requests_that_the_origin_takes(node: Node, origin: OriginDouble) -> None:
    origin.events_status = 503
    for number in range(2 * MAX_MESSAGES + 1):
        node.beacon(f"clip-{number}")
    Edge.wait_for(lambda: node.spool()["waiting"] == 2 * MAX_MESSAGES + 1)
    origin.events_status = 202
    Edge.wait_for(lambda: node.spool()["waiting"] == 0)
    assert len(origin.messages) == 2 * MAX_MESSAGES + 1
    assert origin.accepted_at_once == [MAX_MESSAGES, MAX_MESSAGES, 1]


def test_what_the_origin_will_never_take_is_dropped_and_counted(node: Node, origin: OriginDouble) -> None:
    origin.events_status = 422
    for number in range(3):
        node.beacon(f"clip-{number}")
    Edge.wait_for(lambda: node.spool()["dropped"] == 3)
    assert node.spool()["waiting"] == 0
    assert "it is dropped" in node.log.read_text()
    origin.events_status = 202
    node.beacon("clip-4")
    Edge.wait_for(lambda: len(origin.messages) == 1)


def test_a_full_spool_drops_counts_and_says_so(edge_node: Path, origin: OriginDouble, tmp_path: Path) -> None:
    origin.events_status = 503
    with running_node(edge_node, origin.url, tmp_path / "state", SPOOL_BYTES="1000") as node:
        for number in range(20):
            node.beacon(f"clip-{number}")
        Edge.wait_for(lambda: node.spool()["waiting"] + node.spool()["dropped"] == 20)
        told = node.spool()
        assert told["dropped"] > 0
        assert told["full"]
        assert told["waiting_bytes"] <= told["bytes_most"] == 1000
        assert "the spool is full" in node.log.read_text()
        node.end(signal.SIGKILL)
        node.start()
        assert node.spool()["dropped"] == told["dropped"]
        origin.events_status = 202
        Edge.wait_for(lambda: node.spool()["waiting"] == 0)
        after = node.spool()
        assert (after["full"], after["dropped"], after["delivered"]) == (False, told["dropped"], 20 - told["dropped"])


def test_while_the_disk_takes_nothing_reports_wait_in_memory_and_go_once_it_does(
    edge_node: Path, origin: OriginDouble, tmp_path: Path
) -> None:
    """More wait than are handed to the spool at once: nobody is held up, nothing is lost, and no number is missing."""
    origin.events_status = 503
    with running_node(edge_node, origin.url, tmp_path / "state") as node:
        node.beacon("clip-0")
        Edge.wait_for(lambda: node.spool()["waiting"] == 1)
        node.limit_files(1)
        for number in range(1, 541):
            node.beacon(f"clip-{number}")
        told = node.status()
        assert (told["outbox"]["waiting"], told["outbox"]["lost"]) == (540, 0)
        node.limit_files(resource.RLIM_INFINITY)
        origin.events_status = 202
        node.beacon("clip-541")
        Edge.wait_for(lambda: len(origin.messages) >= 542)
        batches = decode_batches(origin.messages)
        assert {event.clip for batch in batches for event in batch.events} == {f"clip-{n}" for n in range(542)}
        assert sorted({batch.seq for batch in batches}) == list(range(1, 543))
        assert node.status()["outbox"] == {"waiting": 0, "lost": 0}


def test_manifests_are_asked_for_again_by_their_tag(node: Node, origin: OriginDouble) -> None:
    assert node.client.get("/v1/clips/none/overlay").status_code == 404
    assert node.client.get("/v1/clips/none/overlay").status_code == 404
    # Python asks once in five seconds, whatever comes in.
    assert origin.asked.count("/v1/edge/manifests/none") == 1


def test_keys_that_cannot_be_used_are_told_in_the_log_and_not_to_viewers(
    edge_node: Path, origin: OriginDouble, tmp_path: Path
) -> None:
    with running_node(edge_node, origin.url, tmp_path / "state", healthy=500, CLAIM_KEYS="k:short") as node:
        told = node.client.get("/health")
        assert (told.status_code, told.json()["code"]) == (500, "internal")
        assert "CLAIM_KEYS" not in told.text
        headers = {"cache-control": "no-store", "x-content-type-options": "nosniff", "access-control-allow-origin": "*"}
        assert told.headers.items() >= headers.items()
        assert "CLAIM_KEYS" in node.log.read_text()


def _cut_short(pack: bytes) -> bytes:
    return pack[: len(pack) // 2]


def _damaged(pack: bytes) -> bytes:
    return pack[:-1] + bytes([pack[-1] ^ 1])


def _of_another_build(pack: bytes) -> bytes:
    header, _, body = pack.partition(b"\n")
    key = json.loads(header)["key"].encode()
    return header.replace(key, key[::-1]) + b"\n" + body


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(_cut_short, "bytes of", id="cut-short"),
        pytest.param(_damaged, "its checksum is wrong", id="damaged"),
        pytest.param(_of_another_build, "it is of another build", id="of-another-build"),
        pytest.param(lambda _: b"", "its header is damaged", id="empty"),
        pytest.param(None, "it is gone", id="gone"),
    ],
)
def test_a_snapshot_that_cannot_be_used_is_done_without(
    edge_node: Path, origin: OriginDouble, tmp_path: Path, change: Callable[[bytes], bytes] | None, problem: str
) -> None:
    folder = tmp_path / "node"
    shutil.copytree(edge_node, folder, copy_function=os.link)
    kept = folder / "snapshot.pack"
    whole = kept.read_bytes()
    kept.unlink()
    if change is not None:
        kept.write_bytes(change(whole))
    with running_node(folder, origin.url, tmp_path / "state") as node:
        told = node.log.read_text()
        assert "the memory snapshot is not used" in told
        assert problem in told
        assert verify(folder) == ["snapshot.pack"]


def test_a_node_that_cannot_be_put_in_place_leaves_the_former_with_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "node"
    write_node(ROOT, target)
    (target / "state").mkdir()
    (target / "state" / "kept").write_text("events")

    def fail(_fresh: Path, _target: Path) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("scripts.selfhosting.replace", fail)
    with pytest.raises(OSError, match="no space left"):
        write_node(ROOT, target)
    assert (target / "state" / "kept").read_text() == "events"
    assert verify(target) == []
