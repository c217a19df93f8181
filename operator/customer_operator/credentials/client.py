"""What this room needs of the API server; kube.client.KubeClient has it, and a test's fake."""

from typing import Protocol

from customer_operator.naming import Manifest


class SecretReader(Protocol):
    """Reads objects."""

    async def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return a live object, or None when there is none."""


class SecretClient(SecretReader, Protocol):
    """Reads and writes objects."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; AlreadyExists when there is one."""

    async def apply(self, manifest: Manifest) -> Manifest:
        """Server-side apply an object by force; Conflict when it is not the one that the metadata name."""
