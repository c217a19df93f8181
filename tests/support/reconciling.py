"""A reconciler over an API server in memory, with a cache that follows it and controllers that work when told to."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from prometheus_client import CollectorRegistry

from customer_operator import naming
from customer_operator.credentials.authority import AuthorityStore
from customer_operator.credentials.issued import DeviceTrust, IssuedCertificates
from customer_operator.credentials.references import ReferencedSecrets
from customer_operator.credentials.store import CredentialStore
from customer_operator.kube.client import KubeClient
from customer_operator.kube.kinds import KINDS, WATCHED, WORKLOADS
from customer_operator.licensing.keys import KeySet
from customer_operator.metrics import Metrics
from customer_operator.model.platform import Platform
from customer_operator.naming import Manifest
from customer_operator.observed.cache import ObjectCache
from customer_operator.reachability.book import ReachabilityBook
from customer_operator.reconcile.applier import Applier
from customer_operator.reconcile.comparer import Comparer
from customer_operator.reconcile.convergence import Convergence
from customer_operator.reconcile.deletion import Deletion
from customer_operator.reconcile.desired import ContextBuilder
from customer_operator.reconcile.front_door import FrontDoor
from customer_operator.reconcile.quota_gate import QuotaGate
from customer_operator.reconcile.reconciler import LicensePolicy, Outcome, Reconciler
from customer_operator.reconcile.reporter import Reporter
from customer_operator.reconcile.retry import Retry
from customer_operator.routing.book import RouteBook
from customer_operator.scheduling.intake import instance_of
from tests.support.fake_kube import Call, FakeKube
from tests.support.generate import make_platform, make_resource
from tests.support.licenses import ISSUER

HOME = naming.OPERATOR_NAMESPACE
NODE_PORT = {"exposure": "NodePort"}
GRACE = timedelta(days=3)
QUOTA_WAIT = 2.0


class World:
    """The cluster, what the operator knows of it, and the time; nothing happens unless a test has it happen."""

    def __init__(self, *, keys: KeySet | None = None, platform: Platform | None = None) -> None:
        self.kube = FakeKube({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}})
        self.now = datetime(2026, 11, 21, 12, 1, tzinfo=UTC)
        self.seconds = 1000.0
        self._keys = keys or KeySet(None)
        self._platform = platform or make_platform()
        self.has_cert_manager = False
        self.start_operator()

    @property
    def client(self) -> KubeClient:
        """The API server with the interface of the operator's client."""
        return cast("KubeClient", self.kube)

    def start_operator(self) -> None:
        """Start the operator (again): it knows nothing but what is in the cluster."""
        self.cache = ObjectCache()
        self.routes = RouteBook(cache=self.cache, platform=self._platform)
        self.reachability = ReachabilityBook(interval=600.0, places=8, clock=self._monotonic, random=lambda: 0.5)
        references = ReferencedSecrets(self.client, HOME)
        authority = AuthorityStore(self.client, HOME, reread=600, clock=self._monotonic)
        credentials = CredentialStore(self.client, platform=self._platform, authority=authority)
        trust = DeviceTrust(self.client, cache=self.cache, credentials=credentials)
        self.reconciler = Reconciler(
            cache=self.cache,
            convergence=self._convergence(references, credentials),
            deletion=Deletion(client=self.client, platform=self._platform),
            reporter=Reporter(
                client=self.client, cache=self.cache, metrics=Metrics(CollectorRegistry()), clock=self._clock
            ),
            references=references,
            licenses=LicensePolicy(keys=self._keys, issuer=ISSUER, grace=GRACE),
            retry=Retry(tries=3, delay=60.0),
            front_door=FrontDoor(self.routes, self.reachability, trust=trust, platform=self._platform),
            platform=self._platform,
            clock=self._clock,
        )
        self.watch()

    def _convergence(self, references: ReferencedSecrets, credentials: CredentialStore) -> Convergence:
        client, cache = self.client, self.cache
        gate = QuotaGate(cache=cache, wait=QUOTA_WAIT, clock=self._monotonic)
        certificates = IssuedCertificates(cache=cache, platform=self._platform, available=lambda: self.has_cert_manager)
        return Convergence(
            client=client,
            cache=cache,
            applier=Applier(client=client, cache=cache, gate=gate, concurrency=16),
            credentials=credentials,
            contexts=ContextBuilder(
                platform=self._platform, keys=self._keys, references=references, certificates=certificates
            ),
            comparer=Comparer(client=client, cache=cache, credentials=credentials),
            gate=gate,
        )

    def _clock(self) -> datetime:
        return self.now

    def _monotonic(self) -> float:
        return self.seconds

    # -- what others do ------------------------------------------------------------------------------------------------

    def order(self, name: str = "acme", **spec: Any) -> Manifest:
        """Create an instance, or change its spec, as a user would; its devices come by node port unless it says."""
        body = make_resource(name, **{"mqtt": NODE_PORT, **spec})
        live = self.kube.find(naming.KIND, name)
        if live is None:
            body["metadata"] |= {"uid": f"uid-of-{name}"}
        else:
            generation = live["metadata"]["generation"] + (live["spec"] != body["spec"])
            body = {**live, "spec": body["spec"], "metadata": {**live["metadata"], "generation": generation}}
        self.kube.put(body)
        self.watch()
        return self.instance(name)

    def ask_for_deletion(self, name: str = "acme") -> None:
        """Have a user delete an instance now."""
        live = self.instance(name)
        moment = self.now.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.kube.put({**live, "metadata": {**live["metadata"], "deletionTimestamp": moment}})
        self.watch()

    def settle(self) -> None:
        """Have the controllers do all their work."""
        for live in self._all("ResourceQuota"):
            self.kube.put({**live, "status": {"hard": live["spec"]["hard"]}})
        for kind in WORKLOADS:
            for live in self._all(kind):
                self.kube.put({**live, "status": _settled(live)})
        self.watch()

    def watch(self) -> None:
        """Let the cache see all that there is, and that what there is no more is gone."""
        for live in self._all(naming.KIND):
            self.cache.upsert_instance(live)
        version = self.kube.put({"kind": "Namespace", "metadata": {"name": HOME}})["metadata"]["resourceVersion"]
        self.cache.prune_instances(uids=_uids(self._all(naming.KIND)), version=int(version))
        optional = [kind for kind, entry in KINDS.items() if entry.optional and self.has_cert_manager]
        for kind in (*WATCHED, *optional):
            seen = [live for live in self._all(kind) if instance_of(live)]
            for live in seen:
                self.cache.upsert(str(instance_of(live)), live)
            self.cache.prune(kind, uids=_uids(seen), version=int(version))
        for live in self._all(naming.KIND):
            self.routes.refresh(live["metadata"]["name"])

    def _all(self, kind: str) -> list[Manifest]:
        return self.kube.all(kind)

    # -- what the operator does ----------------------------------------------------------------------------------------

    async def reconcile(self, name: str = "acme", *, resync: bool = False) -> Outcome:
        """Make one pass, and let the cache see what has come of it; the calls before it are forgotten."""
        self.kube.calls.clear()
        try:
            return await self.reconciler.reconcile(name, resync=resync)
        finally:
            self.watch()

    async def bring_up(self, name: str = "acme", **spec: Any) -> None:
        """Have an instance ordered, built and ready, and every follow-up done."""
        self.order(name, **spec)
        await self.until_steady(name)

    async def until_steady(self, name: str = "acme") -> None:
        """Make passes, with the controllers at work between them, until one sends nothing."""
        for _ in range(10):
            await self.reconcile(name)
            if not self.kube.writes:
                return
            self.settle()
        raise AssertionError(f"still writing: {self.kube.writes}")

    def later(self, **time: float) -> None:
        """Let time go by."""
        step = timedelta(**time)
        self.now += step
        self.seconds += step.total_seconds()

    # -- what there is -------------------------------------------------------------------------------------------------

    def instance(self, name: str = "acme") -> Manifest:
        """Return an instance as it is."""
        live = self.kube.find(naming.KIND, name)
        assert live is not None
        return live

    def status(self, name: str = "acme") -> dict[str, Any]:
        """Return an instance's status as it is."""
        return dict(self.instance(name).get("status") or {})

    def condition(self, kind: str, name: str = "acme") -> tuple[str, str]:
        """Return status and reason of a condition."""
        found = next(item for item in self.status(name)["conditions"] if item["type"] == kind)
        return found["status"], found["reason"]

    def find(self, kind: str, name: str, *, instance: str = "acme") -> Manifest | None:
        """Return an object in an instance's namespace."""
        return self.kube.find(kind, name, namespace=naming.namespace_of(instance))

    def namespace(self, instance: str = "acme") -> Manifest | None:
        """Return an instance's namespace."""
        return self.kube.find("Namespace", naming.namespace_of(instance))

    def applied(self) -> list[tuple[str, str]]:
        """Return kind and name of all objects that the last pass applied, but the instance's own status."""
        return [(call.kind, call.name) for call in self.kube.calls if call.verb == "apply" and call.kind != naming.KIND]

    def writes(self, *, status: bool = False) -> list[Call]:
        """Return the writes of the last pass; those of the status only when asked for."""
        return [call for call in self.kube.writes if status or call.subresource != "status"]


def edited(live: Manifest | None, **spec: Any) -> Manifest:
    """Return an object as somebody leaves it who changes its spec by hand."""
    assert live is not None
    return {**live, "spec": {**live["spec"], **spec}}


def with_metadata(live: Manifest | None, **metadata: Any) -> Manifest:
    """Return an object with other metadata; None removes a field."""
    assert live is not None
    values = {key: value for key, value in {**live["metadata"], **metadata}.items() if value is not None}
    return {**live, "metadata": values}


def _settled(live: Manifest) -> Manifest:
    replicas = live["spec"].get("replicas", 1)
    counts = ("replicas", "updatedReplicas", "availableReplicas", "readyReplicas")
    return {"observedGeneration": live["metadata"]["generation"], **dict.fromkeys(counts, replicas)}


def _uids(items: list[Manifest]) -> set[str]:
    return {item["metadata"]["uid"] for item in items}
