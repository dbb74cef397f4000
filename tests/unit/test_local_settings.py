"""What one run is made of: its ports, its private files, and who has to know what."""

import socket
import stat
from pathlib import Path

import pytest

from scripts import settings
from scripts.children import RunError
from scripts.settings import Options
from scripts.supervisor import hold_data_folder, read_arguments

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(data=tmp_path, port=0)


def test_any_free_ports_are_all_different_and_free(tmp_path: Path) -> None:
    chosen = settings.choose_addresses(Options(data=tmp_path, port=0, nodes=3))
    ports = [chosen.site, chosen.origin, chosen.provider, chosen.page, chosen.payments, *chosen.edges]
    assert len(set(ports)) == 8
    assert all(settings.is_free(port) for port in ports)


def test_a_row_of_ports_begins_with_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "is_free", lambda _port: True)
    chosen = settings.choose_addresses(Options(data=tmp_path, port=8780, nodes=3))
    assert (chosen.site, chosen.edges, chosen.origin, chosen.provider) == (8780, (8781, 8784, 8785), 8782, 8783)
    assert (chosen.page, chosen.payments) == (8790, 8791)


def test_a_busy_port_is_named_with_its_use_and_the_remedy(tmp_path: Path) -> None:
    base = settings.choose_addresses(Options(data=tmp_path, port=0)).site
    with socket.socket() as busy:
        busy.bind((settings.HOST, base + 2))
        busy.listen()
        with pytest.raises(RunError) as refused:
            settings.choose_addresses(Options(data=tmp_path, port=base))
    said = str(refused.value)
    assert said.startswith(f"port {base + 2}, wanted for the origin, is in use")
    assert "--port BASE" in said
    assert "\n" not in said


def test_secrets_are_made_once_and_are_private(tmp_path: Path) -> None:
    first = settings.keep_secrets(tmp_path)
    assert settings.keep_secrets(tmp_path) == first
    files = [file for file in (tmp_path / "secrets").iterdir() if file.is_file()]
    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_configuration_with_secrets_is_private(tmp_path: Path) -> None:
    settings.write_private(tmp_path / "file.json", {"a": 1})
    assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == 0o600


def test_edge_and_origin_are_told_the_same_keys_and_issuer(tmp_path: Path, options: Options) -> None:
    addresses, kept = settings.choose_addresses(options), settings.keep_secrets(tmp_path)
    edge = settings.edge_document(ROOT, addresses, kept)
    origin = settings.origin_environment({"HOME": "/"}, options, addresses, kept, "host=x")
    assert edge["secrets"]["CLAIM_KEYS"] == origin["CLIPTILL_CLAIM_KEYS"]
    assert edge["vars"]["ISSUER"] == origin["CLIPTILL_ISSUER"]
    assert edge["vars"]["ORIGIN_URL"] == origin["CLIPTILL_PUBLIC_URL"]
    assert edge["queue"] == origin["CLIPTILL_QUEUE"]
    assert origin["HOME"] == "/"


def test_the_origin_may_use_the_emulated_provider(tmp_path: Path, options: Options) -> None:
    addresses, kept = settings.choose_addresses(options), settings.keep_secrets(tmp_path)
    provider = settings.provider_document(options, addresses, kept)
    origin = settings.origin_environment({}, options, addresses, kept, "")
    assert provider["token"] == origin["CLIPTILL_PROVIDER_TOKEN"]
    assert provider["account"] == origin["CLIPTILL_PROVIDER_ACCOUNT"]
    assert provider["namespace"] == origin["CLIPTILL_KV_NAMESPACE"]
    assert origin["CLIPTILL_QUEUE"] in [queue["name"] for queue in provider["queues"]]
    assert origin["CLIPTILL_PROVIDER_URL"] == f"http://127.0.0.1:{provider['port']}"


def test_the_origin_and_the_sandbox_provider_know_each_other(tmp_path: Path, options: Options) -> None:
    addresses, kept = settings.choose_addresses(options), settings.keep_secrets(tmp_path)
    sandbox = settings.payments_document(options, addresses, kept)
    origin = settings.origin_environment({}, options, addresses, kept, "")
    assert (sandbox["key"], sandbox["webhook_secret"]) == (
        origin["CLIPTILL_CARDS_KEY"],
        origin["CLIPTILL_CARDS_WEBHOOK_SECRET"],
    )
    assert origin["CLIPTILL_CARDS_URL"] == f"http://127.0.0.1:{sandbox['port']}"
    assert sandbox["webhook_url"] == f"{origin['CLIPTILL_PUBLIC_URL']}/v1/payment-messages/{origin['CLIPTILL_CARDS']}"


def test_only_further_nodes_are_late(tmp_path: Path) -> None:
    fleet = settings.fleet_document(Options(data=tmp_path, nodes=3, lateness_ms=800), "http://control")
    assert [node["lateness_ms"] for node in fleet["nodes"]] == [0, 800, 800]


def test_two_runs_never_share_a_data_folder(tmp_path: Path) -> None:
    refused = pytest.raises(RunError, match="another scripts/run uses the data folder")
    with hold_data_folder(tmp_path), refused, hold_data_folder(tmp_path):
        pytest.fail("both hold it")
    with hold_data_folder(tmp_path):
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--json"], id="json without once"),
        pytest.param(["--port", "80"], id="a port of the system"),
        pytest.param(["--port", "65535"], id="no room for the row"),
        pytest.param(["--nodes", "0"], id="no node"),
        pytest.param(["--lateness", "-1"], id="from the future"),
        pytest.param(["--fault", "fra:weather=bad"], id="unknown fault"),
        pytest.param(["--fault", "nrt:queue=dead"], id="fault of a node that is not started"),
    ],
)
def test_wrong_use_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_arguments(arguments)
    assert ended.value.code == 2
    assert "usage: scripts/run" in capsys.readouterr().err
