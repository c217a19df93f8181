"""When workloads may be applied, and how far a quota may be lowered: the ResourceQuota is enforced asynchronously."""

from collections.abc import Callable, Sequence

from customer_operator.components import guardrails
from customer_operator.kube.kinds import WORKLOADS
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import ObjectCache, key_of


class QuotaGate:
    """Holds workloads back until the quota is in force, and the quota up until the workloads have settled."""

    def __init__(self, *, cache: ObjectCache, wait: float, clock: Callable[[], float]) -> None:
        """Take the cache; `wait` is how long (seconds) workloads wait for a quota before they are applied all the same.

        `clock` returns seconds and never goes back.
        """
        self._cache = cache
        self._wait = wait
        self._clock = clock
        self._deadlines: dict[str, float] = {}

    def enforced(self, name: str) -> bool:
        """Tell whether the quota controller has taken up every quota of the instance."""
        objects = self._cache.objects(name)
        return all(known.enforced for key, known in objects.items() if key.kind == "ResourceQuota")

    def quota_applied(self, name: str) -> None:
        """Begin to wait: from now on the quota controller can take it up, while all the rest is still being applied."""
        self.remaining(name)

    def remaining(self, name: str) -> float:
        """Return the seconds for which workloads still wait for the quota to be in force; 0 for no longer."""
        if self.enforced(name):
            self._deadlines.pop(name, None)
            return 0.0
        now = self._clock()
        return max(0.0, self._deadlines.setdefault(name, now + self._wait) - now)

    def forget(self, name: str) -> None:
        """Drop what is remembered of an instance that is gone."""
        self._deadlines.pop(name, None)

    def hold_up(self, name: str, desired: Sequence[Manifest]) -> list[Manifest]:
        """Return the objects with a quota that is not lowered before the workloads have settled (see never_shrink)."""
        if self._settled(name, desired):
            return list(desired)
        return [self._held_up(name, item) if item["kind"] == "ResourceQuota" else item for item in desired]

    def _settled(self, name: str, desired: Sequence[Manifest]) -> bool:
        workloads = [item for item in desired if item["kind"] in WORKLOADS]
        known = [self._cache.object(name, key_of(item)) for item in workloads]
        ready = all(item is not None and item.readiness.ready for item in known)
        return ready and not any(self._cache.needs_apply(name, item) for item in workloads)

    def _held_up(self, name: str, quota: Manifest) -> Manifest:
        known = self._cache.object(name, key_of(quota))
        held = guardrails.never_shrink(quota, dict(known.hard)) if known else quota
        return quota if held["spec"] == quota["spec"] else drift.with_hash(held)
