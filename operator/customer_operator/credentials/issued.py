"""Which certificate a broker uses, where cert-manager issues one, and what devices have to trust."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final

from customer_operator import naming
from customer_operator.components import certificate, mosquitto
from customer_operator.credentials.client import SecretReader
from customer_operator.credentials.encoding import data_of, decode
from customer_operator.credentials.store import CredentialStore
from customer_operator.errors import SecretBroken
from customer_operator.kube.client import patiently
from customer_operator.model.instance import CustomerInstance
from customer_operator.model.platform import Platform
from customer_operator.observed.cache import Key, ObjectCache
from customer_operator.observed.certificates import IssuedCertificate

_BROKER: Final = Key("StatefulSet", mosquitto.NAME)


class IssuedCertificates:
    """Follows the object cache: the Certificates in it, and what the brokers mount."""

    def __init__(self, *, cache: ObjectCache, platform: Platform, available: Callable[[], bool]) -> None:
        """Take what tells whether the cluster knows Certificates at all."""
        self._cache = cache
        self._platform = platform
        self._available = available

    @property
    def available(self) -> bool:
        """Whether the cluster knows Certificates."""
        return self._available()

    def for_broker(self, instance: CustomerInstance, *, now: datetime) -> IssuedCertificate | None:
        """Return the certificate that the broker is to use; None for that of the platform's own authority.

        One that is Ready, or else the one that it has, as long as that is valid: no broker changes its authority
        because a renewal fails, or a Certificate is deleted or replaced by another.
        """
        if not certificate.is_wanted(instance, self._platform):
            return None
        asked = Key("Certificate", certificate.name_of(instance, self._platform))
        for key in (asked, _BROKER):
            known = self._cache.object(instance.name, key)
            if known is not None and known.certificate is not None and known.certificate.holds(now):
                return known.certificate
        return None


class DeviceTrust:
    """Tells what a device has to trust to believe a broker, as the broker is now."""

    def __init__(self, client: SecretReader, *, cache: ObjectCache, credentials: CredentialStore) -> None:
        """Take what reads the Secret of an issued certificate, and what knows the platform's own authority."""
        self._client = client
        self._cache = cache
        self._credentials = credentials
        self._known: dict[str, tuple[IssuedCertificate, str | None]] = {}

    async def of(self, name: str) -> str | None:
        """Return the certificates (PEM) that devices of an instance have to trust; None for those of every system.

        Raises SecretBroken, and the errors of the cluster. A certificate is read once.
        """
        broker = self._cache.object(name, _BROKER)
        mounted = broker.certificate if broker else None
        if mounted is None:
            own = await self._credentials.get(name)
            return own.tls_ca_pem if own else None
        known = self._known.get(name)
        if known is None or known[0] != mounted:
            known = self._known[name] = (mounted, await self._authority(name, mounted))
        return known[1]

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._known.pop(name, None)

    async def _authority(self, name: str, mounted: IssuedCertificate) -> str | None:
        """Return what a private issuer has put beside the certificate; a public one puts nothing there."""
        namespace = naming.namespace_of(name)
        live = await patiently(self._client.get, "Secret", mounted.secret, namespace=namespace)
        broken = partial(SecretBroken, mounted.secret, namespace=namespace, cure="have cert-manager issue it again")
        if live is None:
            raise broken(problem="is gone")
        try:
            return decode(data_of(live).get("ca.crt", "")) or None
        except ValueError as error:
            raise broken(problem=f"ca.crt {error}") from None
