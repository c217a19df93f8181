"""What a cluster is made of before any process runs: certificates, arguments, nodes, stages, settings."""

import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from hack.cluster import LocalCluster, Settings
from hack.cluster.__main__ import main
from hack.cluster.certificates import write_pki
from hack.cluster.components import PORTS_NEEDED, PROGRAMS, SERVICE_RANGE, build_components
from hack.cluster.files import ClusterFiles
from hack.cluster.kubeconfig import certificate_credentials, write_kubeconfig
from hack.cluster.nodes import build_node, is_schedulable
from hack.cluster.stages import build_stages
from hack.cluster.status import ComponentStatus, format_duration, format_table
from hack.errors import ClusterError
from hack.paths import cache_root


@pytest.fixture
def files(tmp_path: Path) -> ClusterFiles:
    created = ClusterFiles(tmp_path / "cluster")
    created.create()
    return created


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_folders_and_every_file_in_them_are_for_their_owner_only(files: ClusterFiles) -> None:
    write_pki(files.pki)
    assert {mode(folder) for folder in (files.directory, files.pki, files.etcd, files.logs)} == {0o700}
    assert {mode(file) for file in files.pki.iterdir()} == {0o600}


def test_every_certificate_is_signed_by_its_own_authority_and_fits_its_key(files: ClusterFiles) -> None:
    write_pki(files.pki)
    for certificate in files.pki.glob("*.crt"):
        authority = "etcd-ca" if certificate.stem.startswith("etcd") else "ca"
        load(certificate).verify_directly_issued_by(load(files.pki / f"{authority}.crt"))
        ssl.create_default_context().load_cert_chain(certificate, certificate.with_suffix(".key"))


def test_a_client_of_the_cluster_is_no_client_of_its_database(files: ClusterFiles) -> None:
    write_pki(files.pki)
    assert load(files.pki / "admin.crt").issuer != load(files.pki / "etcd-client.crt").issuer


def test_no_certificate_of_a_server_identifies_a_user(files: ClusterFiles) -> None:
    write_pki(files.pki)
    for name in ("kube-apiserver", "component"):
        usage = load(files.pki / f"{name}.crt").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_the_api_server_is_named_by_the_first_address_of_the_service_range(files: ClusterFiles) -> None:
    write_pki(files.pki)
    extension = load(files.pki / "kube-apiserver.crt").extensions
    names = extension.get_extension_for_class(x509.SubjectAlternativeName).value
    first = SERVICE_RANGE.replace("0.0/12", "0.1")
    assert first in [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def test_a_restart_keeps_the_authorities_and_the_token_key_and_renews_the_rest(files: ClusterFiles) -> None:
    write_pki(files.pki)
    before = {file.name: file.read_bytes() for file in files.pki.iterdir()}
    write_pki(files.pki)
    kept = {name for name, content in before.items() if (files.pki / name).read_bytes() == content}
    authorities = {f"{name}.{suffix}" for name in ("ca", "etcd-ca") for suffix in ("crt", "key")}
    assert kept == authorities | {"service-account.key", "service-account.pub"}


def test_the_keys_are_elliptic_curves_of_256_bits(files: ClusterFiles) -> None:
    write_pki(files.pki)
    key = load(files.pki / "ca.crt").public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.key_size == 256


def test_a_kubeconfig_is_private_and_complete_in_itself(files: ClusterFiles) -> None:
    write_pki(files.pki)
    path = write_kubeconfig(
        files.kubeconfig,
        server="https://127.0.0.1:6443",
        ca=files.pki / "ca.crt",
        user="admin",
        credentials=certificate_credentials(files.pki, "admin"),
    )
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert mode(path) == 0o600
    assert content["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert set(content["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}


def test_every_component_listens_on_this_machine_only_and_on_a_port_of_its_own(files: ClusterFiles) -> None:
    programs = {name: Path("/bin") / name for name in PROGRAMS}
    ports = list(range(40001, 40001 + PORTS_NEEDED))
    components = build_components(files, programs=programs, ports=ports, audit=True)
    used = set()
    for component in components.values():
        arguments = [argument for argument in component.arguments if not argument.startswith("--service-cluster")]
        used |= {int(port) for argument in arguments for port in re.findall(r"\b400\d\d\b", argument)}
        assert "0.0.0.0" not in " ".join(arguments)
        assert "127.0.0.1" in " ".join(arguments)
    assert used == set(ports)


def test_no_secret_is_part_of_an_argument(files: ClusterFiles) -> None:
    programs = {name: Path("/bin") / name for name in PROGRAMS}
    components = build_components(files, programs=programs, ports=list(range(PORTS_NEEDED)), audit=False)
    arguments = " ".join(argument for component in components.values() for argument in component.arguments)
    assert not re.search("token=|password|BEGIN", arguments)


@pytest.mark.parametrize("audit", [True, False])
def test_the_audit_log_is_there_only_on_request(files: ClusterFiles, audit: bool) -> None:
    programs = {name: Path("/bin") / name for name in PROGRAMS}
    components = build_components(files, programs=programs, ports=list(range(PORTS_NEEDED)), audit=audit)
    assert any(argument.startswith("--audit") for argument in components["kube-apiserver"].arguments) is audit


def total_delay(stages: list[dict[str, Any]], *names: str) -> tuple[int, int]:
    delays = [stage["spec"]["delay"] for stage in stages if stage["metadata"]["name"] in names]
    low, high = ([delay[f"{kind}Milliseconds"] for delay in delays] for kind in ("duration", "jitterDuration"))
    return sum(low), sum(high)


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
def test_a_pod_takes_the_start_delay_on_average(seconds: float) -> None:
    low, high = total_delay(build_stages(start_delay=seconds), "pod-create", "pod-start", "pod-ready")
    assert low < seconds * 1000 < high
    assert (low + high) / 2 == pytest.approx(seconds * 1000, rel=0.05)


def test_the_heartbeat_of_a_node_is_not_scaled() -> None:
    quick, slow = (build_stages(start_delay=seconds) for seconds in (0.1, 10.0))
    assert total_delay(quick, "node-heartbeat") == total_delay(slow, "node-heartbeat")


def test_only_a_ready_node_without_taints_is_schedulable() -> None:
    node = build_node(1)
    assert not is_schedulable({**node, "spec": {}})
    ready = {**node, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_schedulable({**ready, "spec": {}})
    assert not is_schedulable({**ready, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}})


def test_every_node_has_a_name_and_an_address_of_its_own() -> None:
    nodes = [build_node(number) for number in range(1, 600)]
    assert len({node["metadata"]["name"] for node in nodes}) == len(nodes)
    assert len({node["status"]["addresses"][0]["address"] for node in nodes}) == len(nodes)


def test_the_logs_of_the_time_before_are_kept_once(files: ClusterFiles) -> None:
    log = files.logs / "etcd.log"
    for text in ("first", "second"):
        log.write_text(text, encoding="utf-8")
        files.rotate_logs()
    assert [file.name for file in files.logs.iterdir()] == ["etcd.log.previous"]
    assert (files.logs / "etcd.log.previous").read_text(encoding="utf-8") == "second"


def test_discarding_the_data_leaves_the_logs(files: ClusterFiles) -> None:
    (files.logs / "etcd.log").touch()
    write_pki(files.pki)
    files.kubeconfig.touch()
    assert files.has_data()
    files.discard_data()
    assert not files.has_data()
    assert [file.name for file in files.directory.iterdir()] == ["logs"]


@pytest.mark.parametrize("name", ["", "Dev", "-dev", "dev-", "a/b", "..", "x" * 41])
def test_a_cluster_name_that_is_no_label_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"cluster name .*: use at most 40 lower-case letters"):
        LocalCluster(name, base=tmp_path)


@pytest.mark.parametrize("settings", [{"nodes": 0}, {"start_delay": -1.0}])
def test_settings_that_make_no_cluster_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ClusterError, match=next(iter(settings))):
        Settings(**settings)


@pytest.mark.parametrize(
    ("configured", "expected"), [("/somewhere", Path("/somewhere")), ("", None), ("relative/folder", None)]
)
def test_the_cache_folder_follows_the_xdg_convention(
    configured: str, expected: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", configured)
    assert cache_root() == (expected or Path.home() / ".cache") / "customer-instance-operator"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "-"), (42.9, "42s"), (185.0, "3m05s"), (7620.0, "2h07m"), (356400.0, "4d03h")],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_status_table_says_what_is_wrong() -> None:
    statuses = [
        ComponentStatus("etcd", pid=12, uptime=61.0, endpoint="https://127.0.0.1:1", healthy=True),
        ComponentStatus("kwok", pid=None, uptime=0.0, endpoint="-", healthy=False),
    ]
    lines = [line.split() for line in format_table(statuses).splitlines()]
    assert lines == [
        ["COMPONENT", "PID", "UP", "ENDPOINT", "HEALTHY"],
        ["etcd", "12", "1m01s", "https://127.0.0.1:1", "yes"],
        ["kwok", "-", "-", "-", "NO"],
    ]


def test_the_status_of_a_cluster_that_is_not_up_is_an_error_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["status", "--name", "absent"]) == 1
    assert "make cluster-up" in capsys.readouterr().out
    assert main(["down", "--name", "absent"]) == 0
    assert "was not up" in capsys.readouterr().out
