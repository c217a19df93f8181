"""The product on a real node, started in the order in which its parts are needed, and ended with the block."""

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.demo.errors import DemoError
from hack.errors import NodeError
from hack.files import log_tail
from hack.images import ensure_images
from hack.node import NodeCluster, ensure_programs, missing_requirements
from hack.platform import IMAGES, hand_over_keys, install
from hack.progress import Progress


@dataclass(frozen=True)
class NodeEnvironment:
    """What runs, and where it is reached."""

    node: NodeCluster
    billing_url: str

    def check(self) -> None:
        """Raise DemoError when the node has ended."""
        if not self.node.is_running():
            raise self._ended()

    def wait_ended(self) -> None:
        """Wait until the node ends by itself, and raise DemoError."""
        end = os.pidfd_open(self.node.holder)
        try:
            select.select([end], [], [])
        finally:
            os.close(end)
        raise self._ended()

    def suspect(self) -> str:
        """Return the pods of customers, and the last words of the operator."""
        pods = self.node.kubectl("get", "pods", "--all-namespaces")
        said = self.node.kubectl(
            "logs", "deployment/customer-operator", "--namespace", "iotistic-system", "--tail=20", "--prefix"
        )
        return f"{pods}\n{said}"

    def _ended(self) -> DemoError:
        return DemoError(f"the node has ended\n{log_tail(self.node.files.logs / 'keeper.log')}")


@contextmanager
def running_node(folder: Path) -> Iterator[NodeEnvironment]:
    """Start a node with its files in `folder`, and operator and billing API on it; images and programs as needed.

    Raises HackError, with the cure or the end of a log, when something does not start.
    """
    if missing := missing_requirements():
        raise NodeError(missing)
    images = ensure_images(IMAGES)  # shows its own progress, as the next line does
    ensure_programs()
    with ExitStack() as stack:
        with Progress() as progress:
            environment = _start(folder, images, stack=stack, progress=progress)
        yield environment


def _start(folder: Path, images: Mapping[str, Path], *, stack: ExitStack, progress: Progress) -> NodeEnvironment:
    # Its control group, which all nodes of the machine have in one place, is called like it.
    node = stack.enter_context(NodeCluster(f"demo-{os.getpid()}", base=folder, report=progress.step))
    for archive, reference in {path: name for name, path in images.items()}.items():
        progress.step(f"loading image {reference}")
        node.load_images([archive])
    install(node, report=progress.step)
    hand_over_keys(node, report=progress.step)
    host, port = stack.enter_context(node.reach("billing", "billing-api", 80))
    return NodeEnvironment(node=node, billing_url=f"http://{host}:{port}")
