"""A node and its machine: what ends is started again, and of the node nothing is left, however it ends."""

import textwrap
from pathlib import Path

import pytest
import yaml

from hack.node import NodeCluster, missing_requirements
from hack.node.cluster import ensure_programs
from tests.support import workloads
from tests.support.clusters import Cluster
from tests.support.footprint import Footprint
from tests.support.waiting import eventually

PATIENCE = "--timeout=120s"
TIMEOUT = 30.0
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
    """A cache folder of one's own, with all programs at hand."""
    if missing := missing_requirements():
        pytest.skip(missing)
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, path in ensure_programs().items():
        (folder / name).symlink_to(path)
    monkeypatch.setenv("BINARIES_DIR", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "customer-instance-operator"


def run_something(cluster: Cluster, image: str) -> None:
    """Have a pod with a volume and an address."""
    main_container = workloads.container(image, "sleep", "3600", volumeMounts=[{"name": "data", "mountPath": "/data"}])
    pod = workloads.template("keeper", main_container)
    stateful_set = workloads.stateful_set("keeper", pod, claims=[workloads.claim("data")])
    cluster.kubectl("apply", "--filename", "-", input=yaml.safe_dump(stateful_set))
    cluster.kubectl("rollout", "status", "statefulset/keeper", PATIENCE)


async def nothing_is_left(before: Footprint, node: NodeCluster) -> None:
    """Wait a moment for the kernel, and fail with what is left."""

    def left() -> dict[str, list[str]]:
        return Footprint.take(node=node.files.directory).left_since(before)

    try:
        await eventually(lambda: not left())
    except TimeoutError:
        assert left() == {}
