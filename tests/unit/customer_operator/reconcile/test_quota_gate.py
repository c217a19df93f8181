"""When workloads may be applied, and how far a quota may be lowered."""

from typing import Any

import pytest

from customer_operator.components import stack
from customer_operator.model import plans
from customer_operator.model.instance import Plan
from customer_operator.naming import Manifest
from customer_operator.observed import drift
from customer_operator.observed.cache import ObjectCache
from customer_operator.reconcile.quota_gate import QuotaGate
from tests.support.generate import make_context, make_instance, with_plan
from tests.support.queues import Clock

NAME, WAIT = "acme", 2.0
READY = {
    "Deployment": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1},
    "StatefulSet": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1},
}


class Bench:
    """A gate over what has been applied."""

    def __init__(self) -> None:
        self.cache = ObjectCache()
        self.clock = Clock()
        self.gate = QuotaGate(cache=self.cache, wait=WAIT, clock=self.clock)
        self._version = 0

    def live(self, manifest: Manifest, **fields: Any) -> None:
        """Have an object applied and live."""
        self._version += 1
        metadata = {"resourceVersion": str(self._version), "uid": manifest["metadata"]["name"], "generation": 1}
        live = {**manifest, "metadata": {**manifest["metadata"], **metadata}, **fields}
        self.cache.record(NAME, live, verified=True)

    def quota(self, *, enforced: bool, hard: dict[str, str] | None = None) -> None:
        """Have a quota applied, and perhaps taken up by its controller."""
        manifest = {"kind": "ResourceQuota", "metadata": {"name": "quota"}, "spec": {"hard": hard or {"pods": "9"}}}
        self.live(manifest, **({"status": {"hard": hard or {"pods": "9"}}} if enforced else {}))

    def everything(self, desired: list[Manifest], *, ready: bool = True) -> None:
        """Have a stack applied."""
        for item in desired:
            status = READY.get(item["kind"]) if ready else None
            self.live(item, **({"status": status} if status else {}))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def desired(plan: Plan) -> list[Manifest]:
    return [drift.with_hash(item) for item in stack.objects(with_plan(make_context(), plan))]


def hard(manifests: list[Manifest]) -> dict[str, str]:
    (quota,) = (item for item in manifests if item["kind"] == "ResourceQuota")
    return dict(quota["spec"]["hard"])


def test_without_a_quota_nothing_is_waited_for(bench: Bench) -> None:
    assert bench.gate.enforced(NAME)
    assert bench.gate.remaining(NAME) == 0


def test_the_wait_begins_when_the_quota_is_applied(bench: Bench) -> None:
    bench.quota(enforced=False)
    bench.gate.quota_applied(NAME)
    bench.clock.now += 1.5
    assert bench.gate.remaining(NAME) == WAIT - 1.5


def test_a_quota_is_waited_for_until_it_is_in_force(bench: Bench) -> None:
    bench.quota(enforced=False)
    assert bench.gate.remaining(NAME) == WAIT
    bench.clock.now += 0.5
    assert bench.gate.remaining(NAME) == WAIT - 0.5

    bench.quota(enforced=True)
    assert bench.gate.remaining(NAME) == 0


def test_a_quota_controller_that_never_comes_does_not_hold_the_workloads_for_ever(bench: Bench) -> None:
    bench.quota(enforced=False)
    assert bench.gate.remaining(NAME) == WAIT
    bench.clock.now += WAIT + 1

    assert bench.gate.remaining(NAME) == 0
    assert not bench.gate.enforced(NAME)


def test_a_quota_that_is_changed_later_is_waited_for_anew(bench: Bench) -> None:
    bench.quota(enforced=False)
    bench.gate.remaining(NAME)
    bench.quota(enforced=True)
    bench.gate.remaining(NAME)
    bench.clock.now += 100

    bench.quota(enforced=False)
    assert bench.gate.remaining(NAME) == WAIT


def test_a_successor_of_the_same_name_waits_for_its_own_quota(bench: Bench) -> None:
    bench.quota(enforced=False)
    bench.gate.remaining(NAME)
    bench.clock.now += 100
    bench.gate.forget(NAME)

    assert bench.gate.remaining(NAME) == WAIT


def test_a_first_quota_is_applied_as_it_is_desired(bench: Bench) -> None:
    wanted = desired(Plan.STARTER)

    assert bench.gate.hold_up(NAME, wanted) == wanted


def test_a_smaller_quota_waits_until_the_workloads_have_settled(bench: Bench) -> None:
    large, small = desired(Plan.ENTERPRISE), desired(Plan.TRIAL)
    bench.everything(large)

    held = bench.gate.hold_up(NAME, small)
    assert hard(held) == hard(large) != hard(small)
    assert [item for item in held if item["kind"] != "ResourceQuota"] == [
        item for item in small if item["kind"] != "ResourceQuota"
    ]
    for item in (item for item in small if item["kind"] in READY):
        bench.live(item)
    assert hard(bench.gate.hold_up(NAME, small)) == hard(large), "applied, and still changing"
    bench.everything(small)
    assert hard(bench.gate.hold_up(NAME, small)) == hard(small)


def test_a_quota_that_is_held_up_is_applied_only_once(bench: Bench) -> None:
    bench.everything(desired(Plan.ENTERPRISE))
    (quota,) = (item for item in bench.gate.hold_up(NAME, desired(Plan.TRIAL)) if item["kind"] == "ResourceQuota")

    bench.live(quota)

    assert not bench.cache.needs_apply(NAME, quota)
    assert bench.gate.hold_up(NAME, desired(Plan.TRIAL)).count(quota) == 1
    (final,) = (item for item in desired(Plan.TRIAL) if item["kind"] == "ResourceQuota")
    assert bench.cache.needs_apply(NAME, final), "it is not taken for the smaller one, which follows"


def test_a_larger_quota_is_applied_at_once(bench: Bench) -> None:
    small, large = desired(Plan.TRIAL), desired(Plan.ENTERPRISE)
    bench.everything(small)

    assert hard(bench.gate.hold_up(NAME, large)) == hard(large)


def test_of_several_amounts_each_is_held_up_on_its_own(bench: Bench) -> None:
    wanted = desired(Plan.STARTER)
    amounts = plans.quota(Plan.STARTER, make_instance())
    more = {**amounts, "limits.cpu": "1000", "pods": "1"}
    bench.quota(enforced=True, hard=more)

    assert hard(bench.gate.hold_up(NAME, wanted)) == {**amounts, "limits.cpu": "1000"}
