"""Reads and keeps what is secret: an instance's generated credentials, its licence, the platform's authority."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials import generation as credentials
from customer_operator.credentials.certificates import KeyPair
from customer_operator.errors import AlreadyExists, CredentialsLost
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.model.credentials import Credentials
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest


class CredentialStore:
    """Credentials by instance, read once and then remembered; they never change but for a renewed certificate."""

    def __init__(self, client: KubeClient, *, platform: Platform, authority: "AuthorityStore") -> None:
        """Take the authority that signs the brokers' certificates (see `open_authority`)."""
        self._cluster = client
        self._platform = platform
        self._authority = authority
        self._known: dict[str, tuple[Credentials, datetime]] = {}

    def invalidate(self, name: str) -> None:
        """Read again."""

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._known.pop(name, None)

    async def get_or_create(self, instance: CustomerInstance, *, new_namespace: bool, now: datetime) -> Credentials:
        """Return the instance's credentials, generated if there are none yet.

        `new_namespace` says that there is nothing to read. Raises CredentialsLost when there are
        none although `has_data` says that there is a database that was set up with them.
        """
        known = self._known.get(instance.name)
        if known is not None and now < known[1] and not new_namespace:
            return known[0]
        live = None if new_namespace else await self._read(instance.name)
        if live is None and not new_namespace:
            raise CredentialsLost(naming.namespace_of(instance.name))
        existing = credentials.decode(live) if live else {}
        values = await asyncio.to_thread(
            credentials.complete,
            existing,
            authority=await self._authority.get(now=now),
            hosts=naming.broker_hosts(instance.name, self._platform.base_domain, self._platform.mqtt_host_template),
            now=now,
        )
        if values != existing:
            values = await self._write(instance.name, values, replace=live is not None)
        return self._remember(instance.name, values)

    async def restore(self, name: str) -> None:
        """Write the credentials Secret again when it was deleted under a running operator, which still knows them."""
        if (known := self._known.get(name)) is not None:
            await self._write(name, asdict(known[0]), replace=False)

    async def get(self, name: str) -> Credentials | None:
        """Return the instance's credentials if there are any; generates and writes nothing."""
        if (known := self._known.get(name)) is not None:
            return known[0]
        live = await self._read(name)
        return self._remember(name, credentials.decode(live)) if live else None

    async def _read(self, name: str) -> Manifest | None:
        namespace = naming.namespace_of(name)
        return await patiently(self._cluster.get, "Secret", naming.CREDENTIALS_SECRET, namespace=namespace)

    async def _write(self, name: str, values: dict[str, str], *, replace: bool) -> dict[str, str]:
        manifest = credentials.manifest(values, instance_name=name)
        if replace:
            await self._cluster.apply(manifest)
            return values
        try:
            await patiently(self._cluster.create, manifest)
        except AlreadyExists:
            # Another replica, just before it lost the lead: its values win, pods may have them already.
            live = await self._read(name)
            return credentials.decode(live) if live else values
        return values

    def _remember(self, name: str, values: dict[str, str]) -> Credentials:
        parsed = credentials.parse(values)
        self._known[name] = (parsed, certificates.renew_at(parsed.tls_certificate_pem))
        return parsed


async def open_authority(cluster: KubeClient, *, namespace: str) -> KeyPair:
    """Return the platform's certificate authority, created on first start, from the operator's namespace."""
    live = await cluster.get("Secret", naming.AUTHORITY_SECRET, namespace=namespace)
    if live is None:
        pair = await asyncio.to_thread(certificates.create_authority, now=datetime.now(UTC))
        try:
            live = await cluster.create(credentials.authority_manifest(pair, namespace=namespace))
        except AlreadyExists:
            return await open_authority(cluster, namespace=namespace)
    return credentials.authority(live)


class AuthorityStore:
    """The platform's authority."""

    def __init__(self, client: KubeClient, *, namespace: str, reread: float) -> None:
        """Take where."""
        self._client = client
        self._namespace = namespace
        self._known: KeyPair | None = None

    async def get(self, *, now: datetime) -> KeyPair:
        """Return it."""
        if self._known is None:
            self._known = await open_authority(self._client, namespace=self._namespace)
        return self._known
