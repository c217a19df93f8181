"""The local control plane itself: real components, simulated nodes, and processes that never outlive their purpose."""

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.binaries import ensure_binaries
from hack.binaries.catalogue import Download, Program, read_catalogue
from hack.binaries.store import BinaryStore
from hack.cluster import LocalCluster, Settings
from hack.cluster.__main__ import main
from hack.cluster.configuration import COMPONENTS
from hack.cluster.launch import PODS_PER_NODE, add_nodes, is_schedulable
from hack.errors import ClusterError
from hack.paths import PROJECT_ROOT
from hack.processes import ProcessIdentity, end_programs, find_programs

SETTINGS = Settings(nodes=2, start_delay=0.2, audit=True)
PATIENCE = "--timeout=30s"
TIMEOUT = 10.0


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LocalCluster, LocalCluster]]:
    base = tmp_path_factory.mktemp("clusters")
    left, right = (LocalCluster(name, base=base, settings=SETTINGS) for name in ("left", "right"))
    with ExitStack() as stack:
        with ThreadPoolExecutor() as pool:
            starts = [pool.submit(stack.enter_context, cluster) for cluster in (left, right)]
        for start in starts:
            start.result()
        yield left, right


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all programs, so that a test with a cache folder of its own need not fetch them."""
    folder = tmp_path_factory.mktemp("programs")
    for name, path in ensure_binaries(read_catalogue()).items():
        (folder / name).symlink_to(path)
    return folder


@pytest.fixture
def cluster(clusters: tuple[LocalCluster, LocalCluster]) -> LocalCluster:
    return clusters[0]


@pytest.fixture
def namespace(cluster: LocalCluster, request: pytest.FixtureRequest) -> str:
    """A namespace of one's own: it goes with the cluster, deleting it first would only take time."""
    name = f"test-{abs(hash(request.node.name)) % 10**8}"
    cluster.kubectl("create", "namespace", name)
    return name


def apply(cluster: LocalCluster, namespace: str, *objects: dict[str, Any]) -> None:
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", input=yaml.safe_dump_all(objects))


def pod_template(name: str, *, image: str = "example.test/program:1", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": image}], **spec},
    }


def deployment(name: str, template: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": template},
    }


def claim(size: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def stateful_set(name: str) -> dict[str, Any]:
    specification = deployment(name, pod_template(name))["spec"]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {**specification, "serviceName": name, "volumeClaimTemplates": [claim("10Gi")]},
    }


def processes_of(cluster: LocalCluster) -> list[ProcessIdentity]:
    running = find_programs(cluster.files.programs)
    assert sorted(running) == sorted(COMPONENTS)
    return sorted(running.values(), key=lambda process: process.pid)


def test_two_clusters_live_side_by_side(clusters: tuple[LocalCluster, LocalCluster]) -> None:
    left, right = clusters
    assert {status.endpoint for status in left.status()}.isdisjoint(status.endpoint for status in right.status())
    left.kubectl("create", "namespace", "only-left")
    with pytest.raises(ClusterError, match='"only-left" not found'):
        right.kubectl("get", "namespace", "only-left")


def test_a_deployment_and_a_stateful_set_with_a_claim_become_ready(cluster: LocalCluster, namespace: str) -> None:
    apply(cluster, namespace, deployment("web", pod_template("web")), stateful_set("database"))
    for workload in ("deployment/web", "statefulset/database"):
        cluster.kubectl("rollout", "status", workload, "--namespace", namespace, PATIENCE)
    claimed = json.loads(cluster.kubectl("get", "pvc", "--namespace", namespace, "--output", "json"))["items"]
    assert [(entry["status"]["phase"], entry["status"]["capacity"]["storage"]) for entry in claimed] == [
        ("Bound", "10Gi")
    ]


def test_a_claim_is_bound_grows_and_takes_its_volume_along(cluster: LocalCluster, namespace: str) -> None:
    apply(cluster, namespace, claim("1Gi"))
    wait = ("wait", "pvc/data", "--namespace", namespace, PATIENCE)
    cluster.kubectl(*wait, "--for=jsonpath={.status.phase}=Bound")
    apply(cluster, namespace, claim("2Gi"))
    cluster.kubectl(*wait, "--for=jsonpath={.status.capacity.storage}=2Gi")
    volume = cluster.kubectl("get", "pvc/data", "--namespace", namespace, "--output=jsonpath={.spec.volumeName}")
    cluster.kubectl("delete", "pvc/data", "--namespace", namespace)
    cluster.kubectl("wait", f"pv/{volume}", "--for=delete", PATIENCE)


def test_init_containers_run_before_a_job_that_ends_well(cluster: LocalCluster, namespace: str) -> None:
    init = [{"name": name, "image": "example.test/init:1"} for name in ("first", "second")]
    sidecar = {"name": "sidecar", "image": "example.test/sidecar:1", "restartPolicy": "Always"}
    template = pod_template("job", restartPolicy="Never", initContainers=[*init, sidecar])
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": template}}
    apply(cluster, namespace, job)
    cluster.kubectl("wait", "job/job", "--for=condition=Complete", "--namespace", namespace, PATIENCE)
    pod = json.loads(cluster.kubectl("get", "pods", "--namespace", namespace, "--output", "json"))["items"][0]
    states = {entry["name"]: next(iter(entry["state"])) for entry in pod["status"]["initContainerStatuses"]}
    assert states == {"first": "terminated", "second": "terminated", "sidecar": "running"}
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_an_image_that_does_not_exist_keeps_its_pod_waiting(cluster: LocalCluster, namespace: str) -> None:
    apply(cluster, namespace, deployment("broken", pod_template("broken", image="example.test/web:does-not-exist")))
    reason = "{.status.containerStatuses[0].state.waiting.reason}"
    cluster.kubectl("wait", "deployment/broken", "--for=jsonpath={.status.unavailableReplicas}=1", "-n", namespace)
    cluster.kubectl(
        "wait", "pods", "--all", f"--for=jsonpath={reason}=ImagePullBackOff", "--namespace", namespace, PATIENCE
    )


def test_a_service_account_has_its_own_rights_only(cluster: LocalCluster, namespace: str, tmp_path: Path) -> None:
    path = cluster.service_account_kubeconfig(namespace, "default", tmp_path / "kubeconfig")
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"system:serviceaccount:{namespace}:default" in cluster.kubectl("auth", "whoami", "--kubeconfig", str(path))
    with pytest.raises(ClusterError, match="cannot list resource"):
        cluster.kubectl("get", "secrets", "--kubeconfig", str(path))


def test_an_unknown_service_account_is_an_error_with_its_name(cluster: LocalCluster, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match='"nobody" not found'):
        cluster.service_account_kubeconfig("default", "nobody", tmp_path / "kubeconfig")


def test_the_audit_log_tells_who_wrote_what_but_not_the_content(cluster: LocalCluster, namespace: str) -> None:
    cluster.kubectl("create", "secret", "generic", "hidden", "--from-literal=key=very-secret", "-n", namespace)
    log = cluster.audit_log.read_text(encoding="utf-8")
    entries = [entry for line in log.splitlines() if (entry := json.loads(line))["verb"] == "create"]
    writers = [entry["user"]["username"] for entry in entries if entry["objectRef"].get("name") == "hidden"]
    assert writers == ["kwok-admin"]
    assert "very-secret" not in log


def test_paused_components_do_nothing_until_they_are_resumed(cluster: LocalCluster, namespace: str) -> None:
    cluster.pause()
    try:
        healthy = {status.name for status in cluster.status() if status.healthy}
        assert healthy == {"etcd", "kube-apiserver"}
        apply(cluster, namespace, deployment("web", pod_template("web")))
    finally:
        cluster.resume()
    cluster.kubectl("rollout", "status", "deployment/web", "--namespace", namespace, PATIENCE)


def test_the_api_server_comes_back_on_the_same_port_with_the_same_objects(
    cluster: LocalCluster, namespace: str
) -> None:
    before = cluster.server
    cluster.stop_component("kube-apiserver")
    assert not next(status for status in cluster.status() if status.name == "kube-apiserver").healthy
    with pytest.raises(ClusterError, match="refused"):
        cluster.kubectl("get", "namespace", namespace)
    cluster.start_component("kube-apiserver")
    assert cluster.server == before
    assert namespace in cluster.kubectl("get", "namespace", namespace)


def test_a_cluster_in_use_cannot_be_started_or_ended_by_another(clusters: tuple[LocalCluster, LocalCluster]) -> None:
    other = LocalCluster("left", base=clusters[0].files.base)
    for method in (other.start, other.up, other.down):
        with pytest.raises(ClusterError, match="'left' is in use by another process"):
            method()


def test_a_cluster_that_stays_is_repaired_with_its_objects_and_taken_down(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BINARIES_DIR", str(programs))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["up", "--name", "stays", "--nodes", "1"]) == 0
    cluster = LocalCluster("stays")
    cluster.kubectl("create", "namespace", "kept")
    assert main(["status", "--name", "stays"]) == 0

    scheduler = find_programs(cluster.files.programs)["kube-scheduler"]
    scheduler.send_signal(signal.SIGKILL)
    assert scheduler.wait(timeout=TIMEOUT)
    assert main(["status", "--name", "stays"]) == 1

    assert main(["up", "--name", "stays", "--nodes", "1"]) == 0
    assert "incomplete (kube-scheduler)" in capsys.readouterr().err
    processes = processes_of(cluster)
    assert "kept" in cluster.kubectl("get", "namespace", "kept")
    assert main(["up", "--name", "stays", "--nodes", "1"]) == 0
    assert "was up already" in capsys.readouterr().out
    assert processes_of(cluster) == processes

    assert main(["down", "--name", "stays"]) == 0
    assert [process for process in processes if process.is_alive()] == []
    assert main(["status", "--name", "stays"]) == 1
    assert sorted(entry.name for entry in cluster.files.directory.iterdir()) == ["logs", "logs.previous"]


@pytest.mark.parametrize("folder", ["etcd", "pki"])
def test_a_cluster_whose_data_is_damaged_starts_afresh(
    folder: str, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BINARIES_DIR", str(programs))
    reports: list[str] = []
    cluster = LocalCluster("damaged", base=tmp_path, settings=Settings(nodes=1), report=reports.append)
    try:
        assert cluster.up()
        cluster.kubectl("create", "namespace", "lost")
        end_programs(cluster.files.programs)
        for file in (cluster.files.directory / folder).rglob("*"):
            if file.is_file():
                file.write_bytes(b"damaged" * 1000)
        assert cluster.up()
        assert any("afresh, without the objects it had" in line for line in reports)
        with pytest.raises(ClusterError, match='"lost" not found'):
            cluster.kubectl("get", "namespace", "lost")
    finally:
        cluster.down()


def test_a_running_cluster_gets_the_nodes_it_lacks(cluster: LocalCluster) -> None:
    add_nodes(cluster.files, 12, report=print)
    nodes = json.loads(cluster.kubectl("get", "nodes", "--output", "json"))["items"]
    assert len(nodes) == 12
    assert all(is_schedulable(node) for node in nodes)
    assert sum(int(node["status"]["allocatable"]["pods"]) for node in nodes) == 12 * PODS_PER_NODE


def test_killing_the_starter_leaves_no_process(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from hack.cluster import LocalCluster, Settings
        with LocalCluster("orphan", base=Path(sys.argv[1]), settings=Settings(nodes=1)) as cluster:
            print("up", flush=True)
            time.sleep(600)
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, cwd=PROJECT_ROOT
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"up\n"
        processes = processes_of(LocalCluster("orphan", base=tmp_path))
        starter.kill()
    assert all(process.wait(timeout=TIMEOUT) for process in processes)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """A program of a few lines, built as the real ones are."""
    monkeypatch.setenv("BINARIES_SOURCE", "build")
    monkeypatch.delenv("BINARIES_DIR", raising=False)
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module stand.in\n\ngo 1.26.0\n", encoding="utf-8")
    (module / "go.sum").touch()
    source = 'package main\n\nimport "os"\n\nvar version string\n\nfunc main() { os.Stdout.WriteString(version) }\n'
    (module / "main.go").write_text(source, encoding="utf-8")
    return Program(
        name="stand-in",
        version="v1.2.3",
        module=module,
        package=".",
        linker_flags="-s -w -X main.version=v1.2.3",
        build_seconds=1,
        download=Download(url="https://example.test/none", checksum_url="https://example.test/none"),
    )


def test_a_damaged_or_outdated_binary_is_built_again(
    stand_in: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = BinaryStore(tmp_path / "bin")
    path = ensure_binaries(["stand-in"], catalogue={"stand-in": stand_in}, store=store)["stand-in"]
    built = path.read_bytes()
    path.write_bytes(built[: len(built) // 2])
    ensure_binaries(["stand-in"], catalogue={"stand-in": stand_in}, store=store)
    assert path.read_bytes() == built
    assert "stand-in v1.2.3 is damaged" in capsys.readouterr().err
    changed = replace(stand_in, linker_flags="-w -X main.version=v1.2.3")
    ensure_binaries(["stand-in"], catalogue={"stand-in": changed}, store=store)
    assert "built by an outdated recipe" in capsys.readouterr().err
