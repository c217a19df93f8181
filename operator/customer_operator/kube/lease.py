"""The Lease as one replica knows it: taken when it is free, renewed while held, given back at the end.

The model is client-go's leader election (k8s.io/client-go/tools/leaderelection/leaderelection.go). Nothing here depends
on the time of day of any machine: how long a lease has not been renewed is measured by our own clock, from the moment
in which we saw it change, and a change is a new resourceVersion.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from customer_operator.errors import ClusterError, ClusterUnreachable
from customer_operator.kube.client import KubeClient
from customer_operator.kube.fence import now
from customer_operator.naming import Manifest

log = logging.getLogger(__name__)

_API_VERSION = "coordination.k8s.io/v1"
_TICK = timedelta(microseconds=1)  # the finest that metav1.MicroTime can tell apart


def _time_of_day() -> datetime:
    return datetime.now(UTC)


class LeaseLock:
    """Holds a Lease for one replica, or learns when another one's has run out."""

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration: int,
        deadline: float,
        clock: Callable[[], float] = now,
        time_of_day: Callable[[], datetime] = _time_of_day,
    ) -> None:
        """Take the Lease's name and ours, for how long it is to be ours, and how long one request may take (seconds).

        `time_of_day` is only written down, for people to read.
        """
        self._client = client
        self._collection = f"/apis/{_API_VERSION}/namespaces/{namespace}/leases"
        self._metadata = {"name": name, "namespace": namespace}
        self._identity = identity
        self._duration = duration
        self._deadline = deadline
        self._clock = clock
        self._time_of_day = time_of_day
        self._held: Manifest | None = None  # the Lease as our last write left it
        self._acquired: str | None = None  # acquireTime of all that we write from one acquisition to its end
        self._looked = False
        self._seen: tuple[str, str] | None = None  # uid and resourceVersion; None when there was none
        # Seconds for which whoever held it may rely on it, counted from when it was last seen to change. One that is
        # not there at our first look has been deleted, for the manifests create it: somebody may hold it all the same.
        self._claim = float(duration)
        self._free_at = 0.0

    async def acquire(self) -> float | None:
        """Take or renew the Lease; return when the request that did it was sent, None when the Lease is another's.

        Raises ClusterError when neither is known: no answer came, or somebody wrote at the same time.
        """
        if self._held is not None:
            try:
                return await self._write(self._held)
            except ClusterError as error:
                if error.status not in (404, 409):
                    raise
                self._held = None
        lease = await self._read()
        self._observe(lease)
        if self._clock() < self._free_at:
            self._acquired = None
            return None
        return await self._write(lease)

    async def release(self) -> None:
        """Give the Lease back if it is ours, so that another replica need not wait for it to run out."""
        self._held = None
        if self._acquired is None:
            return
        try:
            async with asyncio.timeout(self._deadline):
                lease = await self._read()
                spec = (lease or {}).get("spec") or {}
                if lease is not None and self._is_ours(spec):
                    await self._put(lease, {key: spec[key] for key in spec if key != "holderIdentity"})
            self._acquired = None
        except (ClusterError, TimeoutError) as error:
            log.info("the lease was not released (%s); it runs out by itself", error or "no answer")

    def _observe(self, lease: Manifest | None) -> None:
        """Note what the Lease looks like now, and from when on it is free."""
        seen = None if lease is None else _version(lease)
        if self._looked and seen == self._seen:
            return
        # One that has been deleted leaves its holder's claim behind: the holder may not know yet.
        if lease is not None:
            self._claim = self._claim_of(lease.get("spec") or {})
        self._free_at = self._clock() + self._claim
        self._looked, self._seen = True, seen

    def _claim_of(self, spec: Manifest) -> float:
        holder = spec.get("holderIdentity")
        if not holder or self._is_ours(spec):
            return 0.0
        if holder == self._identity:
            log.error("another replica goes by the name %s too; give each an IDENTITY of its own", holder)
        return float(spec.get("leaseDurationSeconds") or self._duration)

    def _is_ours(self, spec: Manifest) -> bool:
        """Tell whether we wrote a spec, even if we never got the answer.

        Our name alone proves it at our first look only: then a former process of this pod wrote it, and is dead. Later
        it is another process that goes by our name, and leads.
        """
        if spec.get("holderIdentity") != self._identity:
            return False
        return not self._looked or spec.get("acquireTime") == self._acquired

    async def _write(self, lease: Manifest | None) -> float:
        spec = self._next_spec((lease or {}).get("spec") or {})
        sent = self._clock()
        self._held = await (self._put(lease, spec) if lease else self._post(spec))
        self._seen, self._claim = _version(self._held), 0.0
        return sent

    def _next_spec(self, last: Manifest) -> Manifest:
        self._acquired = self._acquired or self._stamp(last.get("acquireTime"))
        kept = last.get("holderIdentity") == self._identity
        return {
            **last,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": self._acquired,
            "renewTime": self._stamp(last.get("renewTime")),
            "leaseTransitions": (last.get("leaseTransitions") or 0) + (bool(last) and not kept),
        }

    def _stamp(self, last: str | None) -> str:
        """Return the time of day, or a moment later when just that is written already, as when the clock stands.

        A write that changes nothing leaves the resourceVersion as it is, and so renews nothing.
        """
        stamp = _written(self._time_of_day())
        return stamp if stamp != last else _written(self._time_of_day() + _TICK)

    async def _read(self) -> Manifest | None:
        try:
            return await self._request("GET", f"/{self._metadata['name']}")
        except ClusterError as error:
            if error.status == 404:
                return None
            raise

    async def _post(self, spec: Manifest) -> Manifest:
        lease = {"apiVersion": _API_VERSION, "kind": "Lease", "metadata": self._metadata, "spec": spec}
        return await self._request("POST", "", body=lease)

    async def _put(self, lease: Manifest, spec: Manifest) -> Manifest:
        """Replace the Lease, unless somebody else has done so since (409, by its resourceVersion)."""
        return await self._request("PUT", f"/{self._metadata['name']}", body={**lease, "spec": spec})

    async def _request(self, method: str, path: str, *, body: Manifest | None = None) -> Manifest:
        try:
            async with asyncio.timeout(self._deadline):
                return await self._client.request(method, self._collection + path, body=body)
        except TimeoutError as error:
            raise ClusterUnreachable(f"{method} lease: no answer within {self._deadline:.1f} s") from error


def _version(lease: Manifest) -> tuple[str, str]:
    return lease["metadata"]["uid"], lease["metadata"]["resourceVersion"]


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
