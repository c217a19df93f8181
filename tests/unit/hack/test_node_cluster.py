"""What a node's starter waits for, as far as that needs no node."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.node import NodeCluster


def test_a_node_is_down_when_its_keeper_has_ended_too(tmp_path: Path) -> None:
    """A late one would remove the control group of the node that is started next under the same name."""
    node, other = (NodeCluster(name, base=tmp_path) for name in ("dev", "dev2"))
    node.files.outside.mkdir(parents=True)
    folder = tmp_path / "hack" / "node"
    folder.mkdir(parents=True)
    for package in (folder.parent, folder):
        (package / "__init__.py").touch()
    (folder / "keeper.py").write_text(
        "import time; print('up', flush=True); input(); time.sleep(1)\n", encoding="ascii"
    )
    with started(tmp_path, node) as keeper, started(tmp_path, other) as stranger:
        assert keeper.stdin
        keeper.stdin.write(b"the node has ended\n")
        keeper.stdin.flush()
        assert node.down()
        assert keeper.poll() == 0
        assert stranger.poll() is None
    assert not node.files.outside.exists()


@contextmanager
def started(folder: Path, node: NodeCluster) -> Iterator["subprocess.Popen[bytes]"]:
    """Run what passes for the keeper of a node."""
    command = [sys.executable, "-m", "hack.node.keeper", str(node.files.base), node.name]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield process
