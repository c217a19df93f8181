"""What tests ask of a cluster whose pods truly run, whatever it is made of: the node of hack/node, or kind."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol


class ControlPlane(Protocol):
    """An API server and access to it; of a cluster with simulated nodes there is no more."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        """Run kubectl as administrator, and return what it says; ClusterError when it fails."""

    def service_account_kubeconfig(self, namespace: str, name: str, path: Path) -> Path:
        """Write a ServiceAccount's kubeconfig to `path`, and return it."""


class Cluster(ControlPlane, Protocol):
    """A control plane, and nodes on which pods run.

    It has a default StorageClass whose volumes cannot grow, a default IngressClass served by the Service
    `ingress/traefik` (ports 80 and 443), and name resolution; it can fetch no image.
    """

    def load_images(self, archives: Iterable[Path]) -> None:
        """Give every node the images of docker-archives; pods find them by the names they are tagged with."""

    def reach(self, namespace: str, service: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """Return a block during which a Service is reached at a host and port of this machine."""

    @property
    def front_door(self) -> tuple[str, int]:
        """Host and port of this machine where the devices of all customers come in."""
