"""What is asked of a cluster; it has the images already."""

from contextlib import AbstractContextManager
from typing import Protocol


class Cluster(Protocol):
    """A cluster that the product is installed into."""

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess.run calls it
        """Run kubectl as administrator; return its standard output."""


class RunningCluster(Cluster, Protocol):
    """One on which pods truly run, so that something answers."""

    def reach(self, namespace: str, service: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        """Return a block during which a Service is reached at a host and port of this machine."""

    @property
    def front_door(self) -> tuple[str, int]:
        """Host and port of this machine where the devices of all customers come in."""
