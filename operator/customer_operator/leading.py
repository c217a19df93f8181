"""Puts together what a leader works with, anew each time that it leads: passes, and tries to reach the brokers."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from customer_operator.credentials.authority import AuthorityStore
from customer_operator.credentials.issued import DeviceTrust, IssuedCertificates
from customer_operator.credentials.references import ReferencedSecrets
from customer_operator.credentials.store import CredentialStore
from customer_operator.kube.client import KubeClient
from customer_operator.licensing.keys import KeySet
from customer_operator.metrics import Metrics
from customer_operator.observed.cache import ObjectCache
from customer_operator.reachability.book import ReachabilityBook
from customer_operator.reachability.prober import Prober
from customer_operator.reachability.wiring import prober_of
from customer_operator.reconcile.applier import Applier
from customer_operator.reconcile.comparer import Comparer
from customer_operator.reconcile.convergence import Convergence
from customer_operator.reconcile.deletion import Deletion
from customer_operator.reconcile.desired import ContextBuilder
from customer_operator.reconcile.front_door import FrontDoor
from customer_operator.reconcile.quota_gate import QuotaGate
from customer_operator.reconcile.reconciler import LicensePolicy, Reconciler
from customer_operator.reconcile.reporter import Reporter
from customer_operator.reconcile.retry import Retry
from customer_operator.routing.book import RouteBook
from customer_operator.settings import Settings


def now() -> datetime:
    """Return the time of day."""
    return datetime.now(UTC)


class Leader:
    """What knows the instances' credentials, and who needs them."""

    def __init__(
        self,
        client: KubeClient,
        *,
        settings: Settings,
        metrics: Metrics,
        cache: ObjectCache,
        keys: KeySet,
        routes: RouteBook,
        reachability: ReachabilityBook | None,
        knows_certificates: Callable[[], bool],
    ) -> None:
        """Take what goes on while nobody leads; `knows_certificates` tells whether the cluster has that kind."""
        self._client = client
        self._settings = settings
        self._platform = settings.platform()
        self._metrics = metrics
        self._cache = cache
        self._keys = keys
        self._routes = routes
        self._reachability = reachability
        self._knows_certificates = knows_certificates
        authority = AuthorityStore(client, namespace=settings.operator_namespace, reread=settings.resync_interval)
        self._credentials = CredentialStore(client, platform=self._platform, authority=authority)
        self._trust = DeviceTrust(client, cache=cache, credentials=self._credentials)

    def prober(self) -> Prober | None:
        """Return what tries to reach the brokers; None when nobody does."""
        if self._reachability is None:
            return None
        return prober_of(
            self._settings,
            self._reachability,
            credentials=self._credentials.remembered,
            trust=self._trust.of,
            metrics=self._metrics,
        )

    def reconciler(self) -> Reconciler:
        """Return what makes a pass."""
        settings = self._settings
        references = ReferencedSecrets(self._client, settings.operator_namespace)
        return Reconciler(
            cache=self._cache,
            convergence=self._convergence(references),
            deletion=Deletion(client=self._client, platform=self._platform),
            reporter=Reporter(client=self._client, cache=self._cache, metrics=self._metrics, clock=now),
            references=references,
            licenses=LicensePolicy(
                keys=self._keys, issuer=settings.license_issuer, grace=timedelta(seconds=settings.license_grace)
            ),
            retry=Retry(tries=settings.queue_max_retries, delay=settings.queue_retry_delay),
            front_door=FrontDoor(self._routes, self._reachability, trust=self._trust, platform=self._platform),
            platform=self._platform,
            clock=now,
        )

    def _convergence(self, references: ReferencedSecrets) -> Convergence:
        client, cache, settings = self._client, self._cache, self._settings
        certificates = IssuedCertificates(cache=cache, platform=self._platform, available=self._knows_certificates)
        gate = QuotaGate(cache=cache, wait=settings.quota_wait, clock=time.monotonic)
        return Convergence(
            client=client,
            cache=cache,
            applier=Applier(client=client, cache=cache, gate=gate, concurrency=settings.apply_concurrency),
            credentials=self._credentials,
            contexts=ContextBuilder(
                platform=self._platform, keys=self._keys, references=references, certificates=certificates
            ),
            comparer=Comparer(client=client, cache=cache, credentials=self._credentials),
            gate=gate,
        )
