"""What a cluster is made of before any process runs: configuration, files, access, stages, settings."""

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.cluster import PROGRAMS, LocalCluster, Settings
from hack.cluster.__main__ import main
from hack.cluster.client import write_token_kubeconfig
from hack.cluster.configuration import (
    COMPONENTS,
    NODE_PORT_RANGE,
    PORTS_NEEDED,
    SERVICE_RANGE,
    build_configuration,
)
from hack.cluster.files import ClusterFiles
from hack.cluster.kwokctl import dead_components
from hack.cluster.launch import is_schedulable
from hack.cluster.stages import build_stages
from hack.cluster.status import ComponentStatus, component_statuses, format_table
from hack.errors import ClusterError
from hack.paths import cache_root

BINARIES = {name: Path("/programs") / name for name in PROGRAMS}
FREE_PORTS = list(range(41001, 41001 + PORTS_NEEDED))


@pytest.fixture
def files(tmp_path: Path) -> ClusterFiles:
    created = ClusterFiles(tmp_path, "cluster")
    created.create()
    return created


def configuration(files: ClusterFiles, **settings: Any) -> dict[str, Any]:
    return build_configuration(files.directory, programs=BINARIES, ports=FREE_PORTS, settings=Settings(**settings))


def arguments_of(configured: dict[str, Any], component: str) -> dict[str, str]:
    [patch] = [patch for patch in configured["componentsPatches"] if patch["name"] == component]
    return {argument["key"]: argument["value"] for argument in patch["extraArgs"]}


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_every_component_has_a_port_of_its_own_on_this_machine_only(files: ClusterFiles) -> None:
    options = configuration(files)["options"]
    assert options["bindAddress"] == "127.0.0.1"
    assert sorted(value for key, value in options.items() if key.endswith("Port") and key != "securePort") == FREE_PORTS


def test_kwokctl_is_given_every_program_and_has_nothing_to_download(files: ClusterFiles) -> None:
    options = configuration(files)["options"]
    given = {key: value for key, value in options.items() if key.endswith("Binary")}
    assert given == {
        "etcdBinary": "/programs/etcd",
        "kubeApiserverBinary": "/programs/kube-apiserver",
        "kubeControllerManagerBinary": "/programs/kube-controller-manager",
        "kubeSchedulerBinary": "/programs/kube-scheduler",
        "kwokControllerBinary": "/programs/kwok",
        "kubectlBinary": "/programs/kubectl",
    }


def test_the_database_is_open_to_nobody_without_a_certificate(files: ClusterFiles) -> None:
    arguments = arguments_of(configuration(files), "etcd")
    assert {value for key, value in arguments.items() if key.endswith("client-cert-auth")} == {"true"}
    assert all(value.startswith("https://") for key, value in arguments.items() if key.endswith("-urls"))


def test_there_are_addresses_and_node_ports_for_thousands_of_customers(files: ClusterFiles) -> None:
    arguments = arguments_of(configuration(files), "kube-apiserver")
    assert ipaddress.ip_network(arguments["service-cluster-ip-range"]).num_addresses > 50_000
    first, last = map(int, arguments["service-node-port-range"].split("-"))
    assert last - first >= 10_000
    assert (
        arguments["service-cluster-ip-range"],
        arguments["service-node-port-range"],
    ) == (SERVICE_RANGE, NODE_PORT_RANGE)


@pytest.mark.parametrize("audit", [True, False])
def test_the_audit_log_is_there_only_on_request(files: ClusterFiles, audit: bool) -> None:
    assert ("kubeAuditPolicy" in configuration(files, audit=audit)["options"]) is audit


def test_the_endpoints_are_read_from_what_kwokctl_was_told(files: ClusterFiles) -> None:
    assert files.endpoints() == {}
    files.configuration.write_text(json.dumps(configuration(files)), encoding="utf-8")
    assert files.endpoints() == {
        name: f"https://127.0.0.1:{port}" for name, port in zip(COMPONENTS, FREE_PORTS, strict=False)
    }


def test_beside_a_real_node_nothing_simulates_any(files: ClusterFiles) -> None:
    told = configuration(files, node_address="10.0.0.1")
    files.configuration.write_text(json.dumps(told), encoding="utf-8")
    assert told["options"]["disable"] == ["kwok-controller"]
    assert tuple(files.endpoints()) == tuple(name for name in COMPONENTS if name != "kwok-controller")


def test_pods_of_a_real_node_reach_the_api_server_and_trust_it(files: ClusterFiles) -> None:
    told = configuration(files, node_address="10.0.0.1")
    arguments = arguments_of(told, "kube-apiserver")
    service_range = ipaddress.ip_network(arguments["service-cluster-ip-range"])
    assert (arguments["advertise-address"], arguments["bind-address"]) == ("10.0.0.1", "0.0.0.0")
    assert told["options"]["kubeApiserverCertSANs"] == ["10.0.0.1", str(service_range[1])]


@pytest.mark.parametrize("content", ["", "{", "null", '{"options": {}}'])
def test_a_damaged_configuration_counts_as_none(files: ClusterFiles, content: str) -> None:
    files.configuration.write_text(content, encoding="utf-8")
    assert files.endpoints() == {}


@pytest.mark.parametrize("content", ["", "{", "[]", "clusters: []", "clusters: [{cluster: {}}]", "clusters: 1"])
def test_a_cluster_with_a_damaged_kubeconfig_is_not_healthy(files: ClusterFiles, content: str) -> None:
    files.kubeconfig.write_text(content, encoding="utf-8")
    assert [status.healthy for status in component_statuses(files)] == [False] * len(COMPONENTS)


def test_a_component_that_was_started_and_does_not_run_is_dead(files: ClusterFiles) -> None:
    files.pids.mkdir()
    assert dead_components(files) == []
    (files.pids / "etcd.pid").write_text("1", encoding="ascii")  # runs, but is another program
    assert dead_components(files) == ["etcd"]


def test_a_kubeconfig_of_another_user_has_nothing_of_the_administrator(tmp_path: Path) -> None:
    administrator = tmp_path / "administrator"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority": "/pki/ca.crt"}}
    user = {"name": "admin", "user": {"client-certificate": "/pki/admin.crt", "client-key": "/pki/admin.key"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "admin"}}
    administrator.write_text(yaml.safe_dump({"clusters": [cluster], "users": [user], "contexts": [context]}))
    path = tmp_path / "robot"
    write_token_kubeconfig(path, administrator=administrator, user="robot", token="secret", namespace="here")
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert mode(path) == 0o600
    assert content["clusters"] == [cluster]
    assert content["users"] == [{"name": "robot", "user": {"token": "secret"}}]
    assert content["contexts"][0]["context"] == {"cluster": "c", "user": "robot", "namespace": "here"}


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
    ready: dict[str, Any] = {"spec": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_schedulable(ready)
    assert not is_schedulable({"spec": {}, "status": {}})
    assert not is_schedulable({**ready, "spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}})


def test_the_logs_of_the_time_before_are_kept_once(files: ClusterFiles) -> None:
    for text in ("first", "second", "third"):
        files.begin(BINARIES)
        (files.logs / "etcd.log").write_text(text, encoding="utf-8")
    assert (files.directory / "logs.previous" / "etcd.log").read_text(encoding="utf-8") == "second"


def test_a_start_keeps_objects_and_authority_and_nothing_else_of_the_time_before(files: ClusterFiles) -> None:
    for folder in (files.etcd, files.pki, files.pids):
        folder.mkdir()
    files.kubeconfig.touch()
    files.begin(BINARIES)
    assert sorted(entry.name for entry in files.directory.iterdir()) == ["bin", "etcd", "logs", "pki"]
    assert {mode(folder) for folder in (files.directory, files.programs, files.logs)} == {0o700}


def test_discarding_the_data_leaves_the_logs(files: ClusterFiles) -> None:
    files.begin(BINARIES)
    files.kubeconfig.touch()
    assert files.has_data()
    files.discard()
    assert not files.has_data()
    assert [entry.name for entry in files.directory.iterdir()] == ["logs"]


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


def test_the_status_table_says_what_is_wrong() -> None:
    statuses = [
        ComponentStatus("etcd", pid=12, endpoint="https://127.0.0.1:1", healthy=True),
        ComponentStatus("kwok", pid=None, endpoint="-", healthy=False),
    ]
    lines = [line.split() for line in format_table(statuses).splitlines()]
    assert lines == [
        ["COMPONENT", "PID", "ENDPOINT", "HEALTHY"],
        ["etcd", "12", "https://127.0.0.1:1", "yes"],
        ["kwok", "-", "-", "NO"],
    ]


def test_the_status_of_a_cluster_that_is_not_up_is_an_error_with_the_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["status", "--name", "absent"]) == 1
    assert "make cluster-up" in capsys.readouterr().out
    assert main(["down", "--name", "absent"]) == 0
    assert "was not up" in capsys.readouterr().out
