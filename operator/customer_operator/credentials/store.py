"""The generated credentials of instances: read or made once, then remembered, and written again if they get lost."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from customer_operator import naming
from customer_operator.components import postgres
from customer_operator.credentials import certificates, generation
from customer_operator.credentials.authority import AuthorityStore
from customer_operator.credentials.certificates import KeyPair
from customer_operator.credentials.client import SecretClient
from customer_operator.credentials.encoding import data_of, encode
from customer_operator.errors import AlreadyExists, CredentialsLost
from customer_operator.kube.client import patiently
from customer_operator.model.credentials import Credentials
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest

# The claim of the StatefulSet's first and only pod (<template>-<pod>).
_DATABASE_CLAIM = f"data-{postgres.NAME}-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is remembered: the Secret's data whole (base64), and the authority's certificate it was checked against.

    `checked` is None when it has only been read. `stale` says that the Secret is to be read again.
    """

    credentials: Credentials
    data: Mapping[str, str] = field(repr=False)
    checked: str | None = None
    renew_at: datetime | None = None
    stale: bool = False

    def holds(self, authority: KeyPair, *, now: datetime) -> bool:
        """Tell whether it may be used without another look."""
        in_time = self.renew_at is not None and now < self.renew_at
        return in_time and not self.stale and self.checked == authority.certificate


class CredentialStore:
    """Credentials by instance; they never change but for a renewed certificate."""

    def __init__(self, client: SecretClient, platform: Platform, authority: AuthorityStore) -> None:
        """Take the authority that signs the brokers' certificates."""
        self._client = client
        self._platform = platform
        self._authority = authority
        self._known: dict[str, _Known] = {}

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._known.pop(name, None)

    def invalidate(self, name: str) -> None:
        """Have the Secret read again; what is remembered of it is kept for the case that it was deleted."""
        if (known := self._known.get(name)) is not None:
            self._known[name] = replace(known, stale=True)

    async def get_or_create(self, instance: CustomerInstance, *, new_namespace: bool, now: datetime) -> Credentials:
        """Return the instance's credentials, generated if there are none yet, and completed if some are missing.

        `new_namespace` says that it is empty: nothing is read, and nothing remembered counts. Raises CredentialsLost
        when the password of a database that has data is gone, SecretBroken for values that cannot be used.
        """
        name = instance.name
        if new_namespace:
            self.forget(name)
        authority = await self._authority.get(now=now)
        known = self._known.get(name)
        if known is not None and known.holds(authority, now=now):
            return known.credentials
        live = None if new_namespace else await self._read(name)
        data = self._data(name, live)
        if live is not None:
            # A certificate that somebody has taken out is not to be used again: its key may have leaked.
            data = {key: value for key, value in data.items() if key not in generation.TLS or key in data_of(live)}
        values = generation.decode(data, instance_name=name)
        if generation.DATABASE_PASSWORD not in values and not new_namespace and await self._has_data(name):
            raise CredentialsLost(naming.namespace_of(name))
        hosts = naming.broker_hosts(name, self._platform.base_domain, self._platform.mqtt_host_template)
        # In a thread: the hashes take milliseconds even at the lowest cost.
        values = await asyncio.to_thread(generation.complete, values, authority=authority, hosts=hosts, now=now)
        data |= encode(values)
        try:
            await self._write(name, data, live=live)
        except AlreadyExists:
            # Another replica, just before it lost the lead: its values win, pods may have them already.
            return await self.get_or_create(instance, new_namespace=False, now=now)
        end = certificates.renew_at(values["tls_certificate_pem"], authority=authority)
        return self._remember(name, data, values, checked=authority.certificate, renew_at=end)

    def remembered(self, name: str) -> Credentials | None:
        """Return the credentials of the instance's last pass; None when there was none, or it got none."""
        known = self._known.get(name)
        return known.credentials if known else None

    async def get(self, name: str) -> Credentials | None:
        """Return the instance's credentials if all are there; generates and writes nothing.

        Raises SecretBroken for values that cannot be used.
        """
        known = self._known.get(name)
        if known is not None and not known.stale:
            return known.credentials
        live = await self._read(name)
        if live is None:
            return known.credentials if known else None
        data = self._data(name, live)
        values = generation.decode(data, instance_name=name)
        return self._remember(name, data, values) if generation.is_complete(values) else None

    async def restore(self, name: str) -> None:
        """Write the Secret again from memory if it was deleted; one that is there, or is not known, stays as it is."""
        known = self._known.get(name)
        if known is None:
            return
        try:
            await patiently(self._client.create, generation.manifest(known.data, instance_name=name))
        except AlreadyExists:
            self.invalidate(name)

    async def _read(self, name: str) -> Manifest | None:
        namespace = naming.namespace_of(name)
        return await patiently(self._client.get, "Secret", naming.CREDENTIALS_SECRET, namespace=namespace)

    def _data(self, name: str, live: Manifest | None) -> dict[str, str]:
        """Return the Secret's data, with what it lacks taken from memory; values of unknown names are kept, too.

        A newer version of the operator may have written them, and come back.
        """
        known = self._known.get(name)
        return {**(known.data if known else {}), **data_of(live)}

    async def _has_data(self, name: str) -> bool:
        """Tell whether the database has a volume that stays: a claim that was bound once, and is not being deleted."""
        namespace = naming.namespace_of(name)
        claim = await patiently(self._client.get, "PersistentVolumeClaim", _DATABASE_CLAIM, namespace=namespace)
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            return False
        phase = (claim.get("status") or {}).get("phase")
        return phase in ("Bound", "Lost") or bool((claim.get("spec") or {}).get("volumeName"))

    async def _write(self, name: str, data: Mapping[str, str], *, live: Manifest | None) -> None:
        """Write what differs from the live Secret. Raises Conflict when that has been changed since."""
        if live is None:
            await patiently(self._client.create, generation.manifest(data, instance_name=name))
        elif data != data_of(live):
            await self._client.apply(generation.manifest(data, instance_name=name, live=live))

    def _remember(
        self,
        name: str,
        data: Mapping[str, str],
        values: Mapping[str, str],
        *,
        checked: str | None = None,
        renew_at: datetime | None = None,
    ) -> Credentials:
        credentials = generation.parse(values)
        self._known[name] = _Known(credentials=credentials, data=data, checked=checked, renew_at=renew_at)
        return credentials
