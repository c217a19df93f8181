"""Reads and keeps what is secret: an instance's generated credentials, its license, the platform's authority."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials import generation as credentials
from customer_operator.credentials.certificates import KeyPair
from customer_operator.errors import AlreadyExists, CredentialsLost, InstanceInvalid
from customer_operator.kube.client import KubeClient, patiently
from customer_operator.model.credentials import Credentials, Login
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest


class CredentialStore:
    """Credentials by instance, read once and then remembered; they never change but for a renewed certificate."""

    def __init__(self, *, cluster: KubeClient, platform: Platform, authority: KeyPair) -> None:
        """Take the authority that signs the brokers' certificates (see `open_authority`)."""
        self._cluster = cluster
        self._platform = platform
        self._authority = authority
        self._known: dict[str, tuple[Credentials, datetime]] = {}

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._known.pop(name, None)

    async def get_or_create(
        self, instance: CustomerInstance, *, fresh: bool, has_data: bool, now: datetime
    ) -> Credentials:
        """Return the instance's credentials, generated if there are none yet.

        `fresh` says that the namespace is new, so that there is nothing to read. Raises CredentialsLost when there are
        none although `has_data` says that there is a database that was set up with them.
        """
        known = self._known.get(instance.name)
        if known is not None and now < known[1] and not fresh:
            return known[0]
        live = None if fresh else await self._read(instance.name)
        if live is None and has_data and not fresh:
            raise CredentialsLost(naming.namespace_of(instance.name))
        existing = credentials.decode(live) if live else {}
        values = await asyncio.to_thread(
            credentials.complete,
            existing,
            authority=self._authority,
            hosts=naming.broker_hosts(instance.name, self._platform.base_domain, self._platform.mqtt_host_template),
            now=now,
        )
        if values != existing:
            values = await self._write(instance.name, values, replace=live is not None)
        return self._remember(instance.name, values)

    async def keep(self, name: str) -> None:
        """Write the credentials Secret again when it was deleted under a running operator, which still knows them."""
        if (known := self._known.get(name)) is not None:
            await self._write(name, asdict(known[0]), replace=False)

    async def get(self, name: str) -> Credentials | None:
        """Return the instance's credentials if there are any; generates and writes nothing."""
        if (known := self._known.get(name)) is not None:
            return known[0]
        live = await self._read(name)
        return self._remember(name, credentials.decode(live)) if live else None

    async def license_key(self, instance: CustomerInstance) -> str | None:
        """Return the license, inline or from its Secret in the operator's namespace; None when there is none.

        Raises InstanceInvalid when the Secret does not have it.
        """
        given = instance.license
        if given is None or given.secret_name is None:
            return given.key if given else None
        values = await self._referred(given.secret_name, field="spec.license.secretRef")
        if given.secret_key not in values:
            raise InstanceInvalid(
                "spec.license.secretRef.key", f"Secret {given.secret_name} has no key {given.secret_key!r}"
            )
        return values[given.secret_key].strip()

    async def external_login(self, instance: CustomerInstance) -> Login | None:
        """Return the login to an external broker, from its Secret in the operator's namespace; None for anonymous.

        Raises InstanceInvalid when the Secret does not have it.
        """
        external = instance.mqtt.external
        if external is None or external.credentials_secret is None:
            return None
        field = "spec.mqtt.external.credentialsSecretRef"
        values = await self._referred(external.credentials_secret, field=field)
        missing = sorted({"username", "password"} - set(values))
        if missing:
            raise InstanceInvalid(field, f"Secret {external.credentials_secret} lacks {' and '.join(missing)}")
        return Login(username=values["username"], password=values["password"])

    async def _referred(self, secret: str, *, field: str) -> dict[str, str]:
        namespace = self._platform.operator_namespace
        live = await self._cluster.get("Secret", secret, namespace=namespace)
        if live is None:
            raise InstanceInvalid(field, f"there is no Secret {secret} in namespace {namespace}; create it there")
        return credentials.decode(live)

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
