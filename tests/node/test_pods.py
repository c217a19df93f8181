"""Pods truly run: under the restrictions of a customer's namespace, found by name, with volumes, behind an Ingress."""

import json
import shutil
import ssl
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml

from customer_operator.credentials.certificates import create_authority, issue
from customer_operator.naming import Manifest
from hack.errors import ClusterError
from hack.node.archive import Image, write_archive
from tests.support import workloads
from tests.support.clusters import Cluster
from tests.support.waiting import wait_until

PATIENCE = "--timeout=120s"
HOST = "shop.example.test"


def apply(cluster: Cluster, namespace: str, *manifests: Manifest) -> None:
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", input=yaml.safe_dump_all(manifests))


def await_ready(cluster: Cluster, namespace: str, *names: str) -> None:
    for name in names:
        cluster.kubectl("rollout", "status", name, "--namespace", namespace, PATIENCE)


def execute(cluster: Cluster, namespace: str, workload: str, *command: str) -> str:
    return cluster.kubectl("exec", "--namespace", namespace, workload, "--", *command)


def fetch(cluster: Cluster, namespace: str, workload: str, url: str) -> str:
    """Return what a Service answers a pod, once there is a way: kube-proxy's rules come after readiness."""
    answers: list[str] = []

    def is_there() -> bool:
        try:
            answers.append(execute(cluster, namespace, workload, "wget", "-qO-", url))
        except ClusterError as error:
            if "can't connect to remote host" not in str(error):
                raise
        return bool(answers)

    wait_until(is_there)
    return answers[0]


def test_every_node_is_ready_and_a_real_one(cluster: Cluster) -> None:
    nodes = json.loads(cluster.kubectl("get", "nodes", "--output=json"))["items"]
    conditions = [entry for node in nodes for entry in node["status"]["conditions"] if entry["type"] == "Ready"]
    assert [entry["status"] for entry in conditions] == ["True"] * len(nodes)
    assert all(node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://") for node in nodes)


def test_a_restricted_deployment_is_reached_by_address_and_by_name_from_a_pod_and_from_outside(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    apply(cluster, namespace, *workloads.web("web", busybox, replicas=2), workloads.client("client", busybox))
    await_ready(cluster, namespace, "deployment/web", "deployment/client")
    address = cluster.kubectl("get", "service/web", "--namespace", namespace, "--output=jsonpath={.spec.clusterIP}")
    for host in (address, "web", f"web.{namespace}.svc.cluster.local"):
        assert fetch(cluster, namespace, "deployment/client", f"http://{host}/") == "hello from web"
    with cluster.reach(namespace, "web", 80) as (host, port):
        assert httpx.get(f"http://{host}:{port}/").text == "hello from web"


def test_a_pod_reaches_itself_by_its_service(cluster: Cluster, namespace: str, busybox: str) -> None:
    apply(cluster, namespace, *workloads.web("web", busybox))
    await_ready(cluster, namespace, "deployment/web")
    assert fetch(cluster, namespace, "deployment/web", "http://web/") == "hello from web"


def test_a_name_that_is_not_of_the_cluster_does_not_exist(cluster: Cluster, namespace: str, busybox: str) -> None:
    apply(cluster, namespace, workloads.client("client", busybox))
    await_ready(cluster, namespace, "deployment/client")
    said = execute(cluster, namespace, "deployment/client", "sh", "-c", "nslookup example.test || true")
    assert "can't find example.test: NXDOMAIN" in said


def test_an_image_is_what_its_archive_holds_and_nothing_is_fetched(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "message").write_text("from an archive", encoding="ascii")
    files = {"/bin/busybox": Path(shutil.which("busybox") or ""), "/message": tmp_path / "message"}
    image = Image("example.test/loaded:1", files=files, entrypoint=["/bin/busybox", "sleep", "3600"])
    cluster.load_images([write_archive(image, tmp_path / "image.tar")])
    loaded, missing = (workloads.container(f"example.test/{name}:1") for name in ("loaded", "missing"))
    for name, main in (("loaded", loaded), ("missing", missing)):
        del main["command"]
        apply(cluster, namespace, workloads.deployment(name, workloads.template(name, main)))
    await_ready(cluster, namespace, "deployment/loaded")
    assert execute(cluster, namespace, "deployment/loaded", "/bin/busybox", "cat", "/message") == "from an archive"
    reason = "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff"
    cluster.kubectl("wait", "pods", "--selector=app=missing", "--namespace", namespace, reason, PATIENCE)


def test_a_container_runs_as_nobody_who_could_do_harm(cluster: Cluster, namespace: str, busybox: str) -> None:
    apply(cluster, namespace, workloads.client("client", busybox))
    await_ready(cluster, namespace, "deployment/client")
    status = execute(cluster, namespace, "deployment/client", "cat", "/proc/1/status")
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert facts["Uid"].split() == [str(workloads.USER)] * 4
    assert int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    assert facts["Seccomp"] == "2"  # by a filter
    with pytest.raises(ClusterError, match="Read-only file system"):
        execute(cluster, namespace, "deployment/client", "touch", "/file")


def test_a_container_that_takes_more_memory_than_its_limit_is_killed(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    greedy = workloads.container(busybox, "sh", "-c", "x=x; while true; do x=$x$x; done")
    apply(cluster, namespace, workloads.deployment("greedy", workloads.template("greedy", greedy)))
    reason = "{.status.containerStatuses[0].lastState.terminated.reason}"
    wait = ("wait", "pods", "--selector=app=greedy", f"--for=jsonpath={reason}=OOMKilled", "--namespace", namespace)
    cluster.kubectl("wait", "deployment/greedy", "--for=condition=Progressing", "--namespace", namespace, PATIENCE)
    cluster.kubectl(*wait, PATIENCE)


def test_a_volume_is_bound_and_keeps_its_data_when_its_pod_is_replaced(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    writer = workloads.container(
        busybox,
        *("sh", "-c", "[ -e /data/mark ] || cat /proc/sys/kernel/random/uuid > /data/mark; exec sleep 3600"),
        volumeMounts=[{"name": "data", "mountPath": "/data"}],
        readinessProbe={"exec": {"command": ["test", "-s", "/data/mark"]}, "periodSeconds": 1},
    )
    pod = workloads.template("keeper", writer)
    apply(cluster, namespace, workloads.stateful_set("keeper", pod, claims=[workloads.claim("data")]))
    await_ready(cluster, namespace, "statefulset/keeper")
    before = execute(cluster, namespace, "keeper-0", "cat", "/data/mark")
    cluster.kubectl("delete", "pod", "keeper-0", "--namespace", namespace)
    await_ready(cluster, namespace, "statefulset/keeper")
    assert execute(cluster, namespace, "keeper-0", "cat", "/data/mark") == before
    with pytest.raises(ClusterError, match="only dynamically provisioned pvc can be resized"):
        apply(cluster, namespace, workloads.claim("data-keeper-0", "32Mi"))


def test_an_ingress_with_tls_answers_for_its_host_and_for_no_other(
    cluster: Cluster, namespace: str, busybox: str
) -> None:
    authority = create_authority(now=datetime.now(UTC))
    pair = issue(authority, hosts=[HOST], now=datetime.now(UTC))
    secret = {"tls.crt": pair.certificate, "tls.key": pair.private_key}
    apply(cluster, namespace, *workloads.web("web", busybox), _tls_secret(secret), _ingress())
    await_ready(cluster, namespace, "deployment/web")
    trusting = ssl.create_default_context(cadata=authority.certificate)

    with cluster.reach("ingress", "traefik", 443) as (host, port):

        def answer(name: str) -> httpx.Response:
            with httpx.Client(verify=trusting) as browser:
                extensions = {"sni_hostname": HOST}
                return browser.get(f"https://{host}:{port}/", headers={"Host": name}, extensions=extensions)

        def answers() -> bool:
            try:
                return answer(HOST).status_code == httpx.codes.OK
            except httpx.TransportError:  # with the certificate of nobody, before ours is there
                return False

        wait_until(answers)
        assert answer(HOST).text == "hello from web"
        assert answer("other.example.test").status_code == httpx.codes.NOT_FOUND


def _tls_secret(data: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "web-tls"},
        "stringData": data,
    }


def _ingress() -> Manifest:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {"rules": [rule], "tls": [{"hosts": [HOST], "secretName": "web-tls"}]},
    }
