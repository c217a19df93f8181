"""A node and its machine: what ends is started again, and of the node nothing is left, however it ends."""

import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from signal import SIGKILL

import pytest
import yaml

from hack.errors import NodeError
from hack.node import NodeCluster, missing_requirements
from hack.node.__main__ import main
from hack.node.cluster import ensure_programs
from hack.node.images import BUSYBOX
from hack.node.namespaces import process_namespace, processes_in
from hack.node.programs import PROGRAMS
from hack.paths import PROJECT_ROOT
from hack.processes import ProcessIdentity, identify
from tests.support import workloads
from tests.support.failures import kill_daemon
from tests.support.footprint import Footprint
from tests.support.waiting import wait_until

PATIENCE = "--timeout=120s"
STARTER = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from hack.node import NodeCluster
    with NodeCluster("orphan", base=Path(sys.argv[1])) as node:
        print("up", flush=True)
        time.sleep(600)
""")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of one's own, with all programs at hand; return the part of it that is ours."""
    if missing := missing_requirements():
        pytest.skip(missing)
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, path in ensure_programs().items():
        (folder / name).symlink_to(path)
    monkeypatch.setenv("BINARIES_DIR", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "customer-instance-operator"


def run_something(node: NodeCluster) -> None:
    """Have a pod with a volume and an address."""
    mounted = [{"name": "data", "mountPath": "/data"}]
    pod = workloads.template("keeper", workloads.container(BUSYBOX, "sleep", "3600", volumeMounts=mounted))
    manifest = workloads.stateful_set("keeper", pod, claims=[workloads.claim("data")])
    node.kubectl("apply", "--filename", "-", input=yaml.safe_dump(manifest))
    node.kubectl("rollout", "status", "statefulset/keeper", PATIENCE)


def nothing_is_left(before: Footprint, node: NodeCluster, *, inside: str) -> None:
    """Wait a moment for those who clean up, and fail with what is left, also of the processes `inside` the node."""

    def left() -> dict[str, list[str]]:
        alive = [str(pid) for pid in processes_in(inside)]
        return Footprint.take(node.files).left_since(before) | ({"inside": alive} if alive else {})

    try:
        wait_until(lambda: not left())
    except TimeoutError:
        assert left() == {}


def keeper_of(node: NodeCluster) -> ProcessIdentity:
    """Return the process that holds the node from the outside: the parent of the one that holds its namespaces."""
    status = Path(f"/proc/{node.holder}/status").read_text(encoding="ascii")
    parent = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("PPid:"))
    process = identify(parent)
    assert process
    return process


@pytest.mark.parametrize("name", ["kubelet", "containerd", "kube-proxy", "kube-scheduler"])
def test_what_was_killed_is_started_again_and_pods_live_on(name: str, node: NodeCluster, namespace: str) -> None:
    def run(client: str) -> None:
        manifest = yaml.safe_dump(workloads.client(client, BUSYBOX))
        node.kubectl("apply", "--namespace", namespace, "--filename", "-", input=manifest)
        node.kubectl("rollout", "status", f"deployment/{client}", "--namespace", namespace, PATIENCE)

    container = "--output=jsonpath={.items[*].status.containerStatuses[*].containerID}"
    pods = ("get", "pods", "--selector=app=client", "--namespace", namespace, container)
    run("client")
    containers = node.kubectl(*pods)
    kill_daemon(node, name)
    run("another")  # so everything works again, and what the API server says of the first one is new
    assert node.kubectl(*pods) == containers


def test_nothing_is_left_of_a_node_that_was_taken_down_or_has_crashed(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node = NodeCluster("stays")
    before = Footprint.take(node.files)
    assert main(["up", "--name", "stays"]) == 0
    run_something(node)
    assert main(["status", "--name", "stays"]) == 0
    assert "keeper-0" in capsys.readouterr().out
    assert Footprint.take(node.files).left_since(before).keys() >= {"processes", "cgroups"}

    holder, inside = identify(node.holder), process_namespace(node.holder)
    assert holder
    assert len(processes_in(inside)) > len(PROGRAMS)
    holder.send_signal(SIGKILL)  # the node is gone with it, and its keeper cleans up
    nothing_is_left(before, node, inside=inside)
    assert main(["status", "--name", "stays"]) == 1

    assert main(["up", "--name", "stays"]) == 0  # what has crashed is no obstacle, and nothing of it is taken over
    assert "keeper-0" not in node.kubectl("get", "pods", "--all-namespaces")
    assert main(["up", "--name", "stays"]) == 0
    assert "was up already" in capsys.readouterr().out
    inside = process_namespace(node.holder)
    assert main(["down", "--name", "stays"]) == 0
    nothing_is_left(before, node, inside=inside)
    assert [entry.name for entry in node.files.directory.iterdir()] == ["logs"]


def test_nothing_is_left_of_a_node_whose_starter_or_keeper_was_killed(base: Path) -> None:
    node = NodeCluster("orphan", base=base)
    before = Footprint.take(node.files)
    for kill_keeper in (False, True):
        with subprocess.Popen(
            [sys.executable, "-c", STARTER, str(base)], stdout=subprocess.PIPE, cwd=PROJECT_ROOT
        ) as starter:
            assert starter.stdout is not None
            assert starter.stdout.readline() == b"up\n"
            run_something(node)
            inside = process_namespace(node.holder)
            if kill_keeper:
                keeper_of(node).send_signal(signal.SIGKILL)
            starter.kill()
        nothing_is_left(before, node, inside=inside)


def test_a_node_in_use_cannot_be_started_or_ended_by_another(node: NodeCluster) -> None:
    other = NodeCluster(node.name, base=node.files.base)
    for method in (other.start, other.up, other.down):
        with pytest.raises(NodeError, match=f"'{node.name}' is in use by another process"):
            method()
