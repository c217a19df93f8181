"""What a container uses is read from the control groups of both versions."""

from pathlib import Path

import pytest

from hack.errors import NodeError
from hack.node.usage import read_usage

GROUP, CONTAINER = "/node-dev", "4f2a"
MEBI = 1 << 20


def write(folder: Path, **files: str) -> None:
    """Make a control group; a name's double underscore stands for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_of_version_2(tmp_path: Path) -> None:
    write(tmp_path, cgroup__controllers="cpu memory")
    write(
        tmp_path / "node-dev/kubepods/burstable/pod1/4f2a",
        memory__current=f"{50 * MEBI}\n",
        memory__peak=f"{70 * MEBI}\n",
        memory__stat=f"anon {30 * MEBI}\ninactive_file {10 * MEBI}\n",
        cpu__stat="usage_usec 2500000\nnr_throttled 3\nthrottled_usec 500000\n",
    )

    usage = read_usage(GROUP, CONTAINER, mount=tmp_path)

    assert (usage.memory, usage.peak, usage.cpu, usage.throttled) == (40 * MEBI, 70 * MEBI, 2.5, 0.5)


def test_of_version_2_without_a_peak(tmp_path: Path) -> None:
    write(tmp_path, cgroup__controllers="cpu memory")
    group = tmp_path / "node-dev/kubepods.slice/cri-containerd-4f2a.scope"
    write(group, memory__current="9", memory__stat="inactive_file 10", cpu__stat="usage_usec 0")

    usage = read_usage(GROUP, CONTAINER, mount=tmp_path)

    assert (usage.memory, usage.peak, usage.throttled) == (0, 0, 0.0)


def test_of_version_1(tmp_path: Path) -> None:
    below = "node-dev/kubepods/burstable/pod1/4f2a"
    write(
        tmp_path / "memory" / below,
        memory__usage_in_bytes=f"{50 * MEBI}\n",
        memory__max_usage_in_bytes=f"{70 * MEBI}\n",
        memory__stat=f"inactive_file 1\ntotal_inactive_file {10 * MEBI}\n",
    )
    write(tmp_path / "cpu" / below, cpu__stat="nr_periods 9\nnr_throttled 3\nthrottled_time 500000000\n")
    write(tmp_path / "cpuacct" / below, cpuacct__usage="2500000000\n")

    usage = read_usage(GROUP, CONTAINER, mount=tmp_path)

    assert (usage.memory, usage.peak, usage.cpu, usage.throttled) == (40 * MEBI, 70 * MEBI, 2.5, 0.5)


@pytest.mark.parametrize("version", [1, 2])
def test_a_container_that_does_not_run_is_told(tmp_path: Path, version: int) -> None:
    if version == 2:
        write(tmp_path, cgroup__controllers="cpu memory")

    with pytest.raises(NodeError, match="container 4f2a has no control group below /node-dev"):
        read_usage(GROUP, CONTAINER, mount=tmp_path)
