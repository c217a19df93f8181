"""The platform's certificate authority: the Secret mqtt-ca of the operator's namespace, made once, renewed in time.

Devices trust the `ca.crt` of an instance's Secret mosquitto-tls, which is this certificate. A renewal asks nothing of
them before the old certificate ends, for both verify the same brokers. Where somebody puts another authority into the
Secret, every broker gets a certificate by it at its next pass: devices must trust both before that.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from customer_operator import naming
from customer_operator.credentials import certificates
from customer_operator.credentials.certificates import KeyPair
from customer_operator.credentials.client import SecretClient
from customer_operator.credentials.encoding import data_of, decode, encode
from customer_operator.errors import AlreadyExists, ClusterError, SecretBroken
from customer_operator.naming import Manifest

log = logging.getLogger(__name__)

_CURE = "restore it from a backup; if there is none, delete it, and have every device trust the new ca.crt"


class AuthorityStore:
    """Reads the authority, again from time to time, so that a replaced one is followed."""

    def __init__(
        self, client: SecretClient, namespace: str, *, reread: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the operator's own namespace, and for how long (seconds of the clock) an answer is good."""
        self._client = client
        self._namespace = namespace
        self._reread = reread
        self._clock = clock
        self._pair: KeyPair | None = None
        self._good_until = 0.0
        self._end = datetime.max.replace(tzinfo=UTC)
        self._lock = asyncio.Lock()  # one read, one creation for all that wait

    async def get(self, *, now: datetime) -> KeyPair:
        """Return the authority, created if there is none and renewed if it is due.

        Raises SecretBroken when the Secret does not hold one, and the errors of the cluster.
        """
        async with self._lock:
            if self._pair is None or self._clock() >= self._good_until or now >= self._end:
                self._pair = await self._current(now)
                self._good_until = self._clock() + self._reread
                self._end = certificates.expires_at(self._pair.certificate)
            return self._pair

    async def _current(self, now: datetime) -> KeyPair:
        live = await self._client.get("Secret", naming.AUTHORITY_SECRET, namespace=self._namespace)
        if live is None:
            return await self._create(now)
        pair = self._parse(live)
        return await self._renew(live, pair, now) if certificates.authority_is_due(pair, now=now) else pair

    async def _create(self, now: datetime) -> KeyPair:
        """Make an authority, or, deleted under a running operator, put back the one that devices trust."""
        pair = self._pair or certificates.create_authority(now=now)
        try:
            await self._client.create(self._manifest(pair))
        except AlreadyExists:
            return await self._current(now)
        return pair

    async def _renew(self, live: Manifest, pair: KeyPair, now: datetime) -> KeyPair:
        """Renew in the Secret; a refusal matters only once the authority has ended, for it comes again before that."""
        renewed = certificates.renew_authority(pair, now=now)
        try:
            await self._client.apply(self._manifest(renewed, live))
        except ClusterError as error:
            if now >= certificates.expires_at(pair.certificate):
                raise
            log.warning("the certificate authority is due, and cannot be renewed: %s", error)
            return pair
        log.info("the certificate authority has been renewed with the same key")
        return renewed

    def _parse(self, live: Manifest) -> KeyPair:
        try:
            values = {key: decode(value) for key, value in data_of(live).items() if key in ("tls.crt", "tls.key")}
            pair = KeyPair(certificate=values["tls.crt"], private_key=values["tls.key"])
            certificates.check_authority(pair)
            return certificates.normalized(pair)
        except KeyError as error:
            raise self._broken(f"it has no key {error.args[0]!r}") from None
        except ValueError as error:
            raise self._broken(str(error)) from None

    def _broken(self, problem: str) -> SecretBroken:
        return SecretBroken(naming.AUTHORITY_SECRET, namespace=self._namespace, problem=problem, cure=_CURE)

    def _manifest(self, pair: KeyPair, live: Manifest | None = None) -> Manifest:
        """Return the Secret; with `live`, to be applied to that very version of it, whose type cannot be changed."""
        metadata: Manifest = {"name": naming.AUTHORITY_SECRET, "namespace": self._namespace}
        if live is not None:
            metadata |= {key: live["metadata"][key] for key in ("uid", "resourceVersion")}
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": (live or {}).get("type", "kubernetes.io/tls"),
            "data": encode({"tls.crt": pair.certificate, "tls.key": pair.private_key}),
        }
